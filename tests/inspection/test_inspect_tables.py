"""tables.py: a run directory opened for reading."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mining.errors import ConfigError, StoreError
from mining.inspect import tables
from mining.inspect.tables import open_run

Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def test_rounds_are_those_with_metrics_that_the_manifest_names(run_dir: Path, edit_manifest: Edit) -> None:
    assert open_run(run_dir).rounds == [1, 2]
    edit_manifest(run_dir, lambda manifest: manifest["stages"].pop("round-02"))
    assert open_run(run_dir).rounds == [1]


def test_round_whose_tables_stand_is_open_while_it_waits_for_labels(run_dir: Path, edit_manifest: Edit) -> None:
    edit_manifest(run_dir, lambda manifest: [manifest["stages"].pop(f"round-0{n}") for n in (1, 2)])
    run = open_run(run_dir)
    assert (run.rounds, run.open_round(), run.round_number()) == ([], 1, 1)
    assert run.stages_left() == ["round-01"]
    assert len(tables.prefixes(run, 1)) == 3
    with pytest.raises(ConfigError, match=r"--round 2: .*it has 1$"):
        run.round_number(2)
    (run_dir / "rounds" / "01" / "prefixes.parquet").unlink()
    assert open_run(run_dir).open_round() is None


def test_stages_left_names_a_round_that_waits_and_what_follows(run_dir: Path, edit_manifest: Edit) -> None:
    def change(manifest: dict[str, Any]) -> None:
        del manifest["stages"]["round-02"], manifest["stages"]["decontaminate"], manifest["stages"]["export"]

    edit_manifest(run_dir, change)
    assert open_run(run_dir).stages_left() == ["round-02", "decontaminate", "export"]


def test_table_of_a_stage_that_is_not_done_counts_as_empty(run_dir: Path, edit_manifest: Edit) -> None:
    edit_manifest(run_dir, lambda manifest: manifest["stages"].pop("export"))
    run = open_run(run_dir)
    assert run.rows(f"SELECT count(*) AS n FROM {run.relation('corpus')}") == [{"n": 0}]


def test_domains_are_ordered_by_any_column(run_dir: Path) -> None:
    run = open_run(run_dir)
    # collected 3, 2, 1, 1; the tie falls to the host's name
    assert [row["host"] for row in tables.domains(run, 2)] == [
        "math.example",
        "blog.example",
        "shop.example",
        "zh.example",
    ]
    # uncollected 3-3, 3-2, 2-1, 1-1
    left = tables.domains(run, 2, sort="uncollected")
    assert [(row["host"], row["uncollected"]) for row in left] == [
        ("blog.example", 1),
        ("shop.example", 1),
        ("math.example", 0),
        ("zh.example", 0),
    ]
    assert [row["change"] for row in tables.domains(run, 2, sort="host")] == [1, 1, 1, 1]
    for order in tables.DOMAIN_ORDERS:
        assert len(tables.domains(run, 1, sort=order)) == 4


def test_domains_can_be_limited_and_be_candidates_only(run_dir: Path) -> None:
    run = open_run(run_dir)
    assert [row["host"] for row in tables.domains(run, 1, candidates=True)] == ["math.example", "blog.example"]
    assert [row["host"] for row in tables.domains(run, 1, limit=1)] == ["math.example"]
    assert [row["change"] for row in tables.domains(run, 1)] == [None] * 4


def test_prefixes_of_a_domain_are_its_own(run_dir: Path) -> None:
    run = open_run(run_dir)
    rows = tables.prefixes(run, 1, domain="blog.example")
    assert [(row["prefix"], row["uncollected"]) for row in rows] == [("blog.example/food", 1), ("blog.example/math", 1)]
    assert [row["prefix"] for row in tables.prefixes(run, 1, proposed=True, sort="prefix")] == [
        "blog.example/math",
        "math.example",
    ]
    for order in tables.PREFIX_ORDERS:
        assert len(tables.prefixes(run, 1, sort=order)) == 3


def test_unknown_domain_is_refused_with_the_nearest_names(run_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"--domain blgo\.example: .*nearest: blog\.example"):
        tables.prefixes(open_run(run_dir), 1, domain="blgo.example")


def test_sample_draws_only_what_was_asked_for_and_the_same_again(run_dir: Path) -> None:
    run = open_run(run_dir)
    assert {row["page_id"] for row in tables.sample(run, 1, n=10)} == {"p1", "p2", "p4"}
    assert {row["page_id"] for row in tables.sample(run, 1, n=10, collected=False)} == {
        "p3",
        "p5",
        "p6",
        "p7",
        "p8",
        "p12",
    }
    left = tables.sample(run, 1, n=10, host="blog.example", collected=False)
    assert {row["page_id"] for row in left} == {"p5", "p6"}
    draws = [[row["page_id"] for row in tables.sample(run, 2, n=2, seed=seed)] for seed in (1, 1, 2, 3, 4)]
    assert draws[0] == draws[1]
    assert any(draw != draws[0] for draw in draws[2:])
    assert tables.sample(run, 1, host="no.example") == []


def test_kept_pages_follows_duplicates_to_the_end(run_dir: Path) -> None:
    urls = [
        "https://mirror.example/x/print",  # p11 -> p10 -> p4
        "https://math.example/a/1?utm_source=x",  # p9 -> p1
        "https://math.example/a/2",
        "https://math.example/paper.pdf",  # dropped
    ]
    assert tables.kept_pages(open_run(run_dir), urls) == {urls[0]: {"p4"}, urls[1]: {"p1"}, urls[2]: {"p2"}}


def test_duplicates_in_a_circle_are_damage(run_dir: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    circle = {"page_id": ["p1", "p2"], "kept_id": ["p2", "p1"], "kind": ["near"] * 2, "jaccard": [0.9] * 2}
    pq.write_table(pa.table(circle), run_dir / "duplicates" / "0.parquet")
    with pytest.raises(StoreError, match="in a circle"):
        tables.kept_pages(open_run(run_dir), ["https://math.example/a/1"])


def test_missing_directory_and_missing_manifest_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such directory"):
        open_run(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"no manifest\.json"):
        open_run(tmp_path)


def test_round_that_does_not_exist_is_refused_with_those_that_do(run_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"--round 9: .*it has 1, 2$"):
        open_run(run_dir).round_number(9)


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_damaged_parquet_is_a_store_error_that_names_the_file(run_dir: Path, damage: str) -> None:
    file = run_dir / "rounds" / "02" / "domains.parquet"
    whole = file.read_bytes()
    middle = len(whole) // 3
    file.write_bytes(
        {"cut": whole[:-40], "garbage": whole[:4] + b"\xff" * middle + whole[4 + middle :], "empty": b""}[damage]
    )
    with pytest.raises(StoreError, match="cannot be read") as caught:
        tables.domains(open_run(run_dir), 2)
    assert "\n" not in str(caught.value)
    assert str(run_dir) in str(caught.value)


def test_table_that_a_finished_round_lost_is_named(run_dir: Path) -> None:
    (run_dir / "rounds" / "01" / "scores" / "0.parquet").unlink()
    with pytest.raises(StoreError, match=r"rounds/01/scores: no Parquet table there"):
        tables.sample(open_run(run_dir), 1)


def test_pages_before_ingest_is_done_are_no_damage(run_dir: Path, edit_manifest: Edit) -> None:
    edit_manifest(run_dir, lambda manifest: manifest.update(stages={}))
    with pytest.raises(StoreError, match=r"pages: stage ingest is not done; run pipelines/mine\.py on"):
        open_run(run_dir).relation("pages")


def test_broken_metrics_say_line_and_column(run_dir: Path) -> None:
    (run_dir / "rounds" / "01" / "metrics.json").write_text('{"round": 1,\n "pages": }', encoding="utf-8")
    with pytest.raises(StoreError, match=r"metrics\.json: broken JSON at line 2, column 11"):
        open_run(run_dir)


def test_broken_labels_file_says_which_line(run_dir: Path) -> None:
    (run_dir / "rounds" / "01" / "labels.csv").write_text("prefix,label\nmath.example,maybe\n", encoding="utf-8")
    with pytest.raises(StoreError, match=r"labels\.csv: .*line 2"):
        tables.labels(open_run(run_dir), 1)


def test_text_is_not_read_for_domain_tables(run_dir: Path) -> None:
    for file in (run_dir / "pages").iterdir():
        file.write_bytes(b"not read")
    assert len(tables.domains(open_run(run_dir), 1)) == 4
