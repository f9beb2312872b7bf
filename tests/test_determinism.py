"""The same inputs give the same tables, whatever the cores, the partitions and the order of the input files."""

import gzip
import json
import shutil
from pathlib import Path

import pytest
from run_tables import mine, run_hashes

OTHER_CUTS = {
    "spark.sql.shuffle.partitions": "7",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "37",
    "spark.sql.files.maxPartitionBytes": "60k",
    "spark.sql.files.openCostInBytes": "1",
}


@pytest.mark.spark
def test_one_core_and_other_partitions_give_the_tables_of_two(
    finished_run: Path, mini_web: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    result = mine(
        "--data_dir", str(mini_web), "--run_dir", str(run_dir), "--rounds.max_rounds", "1",
        "--stages", "ingest,dedup,rounds", "--spark.master", "local[1]", "--spark.extra", json.dumps(OTHER_CUTS),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    found, expected = run_hashes(run_dir), run_hashes(finished_run)
    assert "rounds/01/scores" in found and "rounds/01/classifier.bin" in found
    # The last round asks the rules for labels like any other: one round or two, round 1 is the same.
    assert found == {name: value for name, value in expected.items() if name in found}


@pytest.mark.slow
@pytest.mark.spark
def test_input_files_in_any_order_and_number_of_cores_give_the_same_tables(mini_web: Path, tmp_path: Path) -> None:
    web = tmp_path / "web"
    shutil.copytree(mini_web, web)
    split_warc(web / "web" / "part-00000.warc.gz", parts=3)
    split_lines(web / "seed" / "positive.jsonl.gz")
    names = [f"web/part-{number}.warc.gz" for number in range(3)]
    seeds = ["seed/second.jsonl.gz", "seed/first.jsonl.gz"]
    whole = ["seed/positive.jsonl.gz"]
    runs = {}
    for label, master, warcs, seed, extra in (
        ("forth", "local[2]", names, whole, {}),
        ("back", "local[4]", names[::-1], seeds, OTHER_CUTS),
        ("alone", "local[1]", names[1:] + names[:1], seeds[::-1], {"spark.sql.shuffle.partitions": "1"}),
    ):
        result = mine(
            "--data_dir", str(web), "--run_dir", str(tmp_path / label), "--spark.master", master,
            "--ingest.warcs", json.dumps(warcs), "--seed.positive", json.dumps(seed),
            "--spark.extra", json.dumps(extra),
        )  # fmt: skip
        assert result.returncode == 0, result.stderr[-3000:]
        runs[label] = run_hashes(tmp_path / label)
    assert runs["back"] == runs["forth"]
    assert runs["alone"] == runs["forth"]


@pytest.mark.spark
def test_training_with_threads_is_named_inexact_and_one_thread_exact(finished_run: Path) -> None:
    for number in ("01", "02"):
        training = json.loads((finished_run / "manifest.json").read_text())["stages"][f"round-{number}"]["training"]
        assert training == {"seed": 0, "threads": 1, "exact": True}
        facts = json.loads((finished_run / "rounds" / number / "classifier.json").read_text())
        assert facts["exact"] is True and facts["seed"] == 0 and facts["threads"] == 1


def split_warc(path: Path, *, parts: int) -> None:
    """Cut a WARC file between records into part-0, part-1 ... beside it, which it is replaced by."""
    from mining.warc import read_responses

    offsets = [record.warc_offset for record in read_responses(str(path), max_payload_bytes=4_000_000)]
    data = path.read_bytes()
    cuts = [0, *(offsets[len(offsets) * number // parts] for number in range(1, parts)), len(data)]
    for number in range(parts):
        (path.parent / f"part-{number}.warc.gz").write_bytes(data[cuts[number] : cuts[number + 1]])
    path.unlink()


def split_lines(path: Path) -> None:
    """Copy the two halves of a JSON-lines file to first.jsonl.gz and second.jsonl.gz beside it."""
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    for name, half in (("first", lines[: len(lines) // 2]), ("second", lines[len(lines) // 2 :])):
        (path.parent / f"{name}.jsonl.gz").write_bytes(gzip.compress(b"".join(half)))
