"""Pages to scores file by file: duplicates left out, what is done kept, and what cannot be scored refused."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_tables import flip

from mining.audits import Audit, write_audits
from mining.classifier import Classifier, ClassifierConfig, fasttext_line, train
from mining.errors import ConfigError, ShardError, StoreError
from mining.page import PAGES_SCHEMA
from mining.score_shards import scoring_of_pages, scoring_of_round
from mining.scoring import SCORES_SCHEMA
from mining.store import Store

MATH = [f"the integral of f over the interval [{number}, {number + 1}] converges" for number in range(12)]
OTHER = [f"the shop opens at {number} and sells bread, cheese and flowers" for number in range(12)]
PAGES = [("a", MATH[0]), ("b", OTHER[0]), ("c", MATH[1]), ("d", "x" * 50), ("e", OTHER[1])]


def write_pages(path: Path, rows: list[tuple[str, str]]) -> None:
    columns = {name: [None] * len(rows) for name in PAGES_SCHEMA.names}
    columns["page_id"] = [page_id for page_id, _ in rows]
    columns["url"] = [f"http://h.org/{page_id}" for page_id, _ in rows]
    columns["text"] = [text for _, text in rows]
    columns["n_tokens"] = [len(text) for _, text in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, schema=PAGES_SCHEMA), path, write_page_checksum=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    lines = [("math", fasttext_line(text)) for text in MATH] + [("other", fasttext_line(text)) for text in OTHER]
    train(lines, folder / "classifier.bin", cfg=ClassifierConfig(dim=8, min_updates=500), work_dir=folder)
    (folder / "classifier.json").write_text(json.dumps({"max_chars": 40}))
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Store:
    """A run directory as mine.py leaves it when round 1 has been trained: two files of pages, b a duplicate of a."""
    path = tmp_path / "run"
    write_pages(path / "pages" / "part-1.parquet", PAGES[:3])
    write_pages(path / "pages" / "part-2.parquet", PAGES[3:])
    (path / "duplicates").mkdir()
    pq.write_table(pa.table({"page_id": ["b"], "kept_id": ["a"]}), path / "duplicates" / "part-0.parquet")
    shutil.copytree(trained, path / "rounds" / "01")
    (path / "manifest.json").write_text(json.dumps({"version": 1, "stages": {}}))
    store = Store(path)
    store.open()
    return store


def score_all(scoring: object) -> dict[str, int]:
    files = scoring.files()  # type: ignore[attr-defined]
    scoring.prepare()  # type: ignore[attr-defined]
    removed = scoring.removed_among(list(files.values()))  # type: ignore[attr-defined]
    for file in files.values():
        scoring.score(file, scoring.classifier(), removed)  # type: ignore[attr-defined]
    return scoring.publish()  # type: ignore[attr-defined, no-any-return]


def test_scores_are_those_of_the_first_characters_of_pages_that_stay(run: Store) -> None:
    assert score_all(scoring_of_round(run, 0)) == {"files": 2, "pages": 4}
    here = run.round_dir(1)
    table = pq.read_table(here / "scores")
    model = Classifier(here / "classifier.bin")
    expected = {page: model.score(fasttext_line(text[:40])) for page, text in PAGES if page != "b"}
    assert dict(zip(table["page_id"].to_pylist(), table["score"].to_pylist(), strict=True)) == expected
    assert table.schema.names == SCORES_SCHEMA.names and expected["a"] > 0 > expected["e"]
    assert json.loads((here / "calibration.json").read_text()) == {}
    assert sorted(path.name for path in here.iterdir()) == [
        "calibration.json", "classifier.bin", "classifier.json", "scores",
    ]  # fmt: skip
    assert scoring_of_round(run, 1).is_done()


def test_scored_files_are_kept_and_the_others_are_named(run: Store) -> None:
    scoring = scoring_of_round(run, 1)
    scoring.prepare()
    first, second = scoring.files().values()
    assert scoring.score(first, scoring.classifier(), frozenset("b")) == {"pages": 2, "duplicates": 1}
    with pytest.raises(ShardError, match=r"1 of 2 files of pages have no scores \(\./part-2.parquet\); run the same"):
        scoring.publish()
    scoring.prepare()
    assert scoring.pending(scoring.files()) == [second.name]
    assert scoring.score(first, scoring.classifier(), frozenset()) == {"pages": 2, "duplicates": 1}  # not read again


def test_other_pages_or_another_model_begin_anew(run: Store) -> None:
    scoring = scoring_of_round(run, 1)
    scoring.prepare()
    scoring.score(next(iter(scoring.files().values())), scoring.classifier(), frozenset())
    write_pages(run.path / "pages" / "part-3.parquet", [("f", MATH[2])])
    changed = scoring_of_round(run, 1)
    changed.prepare()
    assert len(changed.pending(changed.files())) == 3
    with pytest.raises(ShardError, match="another pass was started here since"):  # a worker that outlived its pass
        scoring.score(next(iter(scoring.files().values())), scoring.classifier(), frozenset())
    (run.round_dir(1) / "classifier.bin").write_bytes(b"another")
    with pytest.raises(ConfigError, match="trained again since this pass began"):
        changed.classifier()


def test_pages_of_additions_before_the_round_are_scored_with_their_own_duplicates_left_out(run: Store) -> None:
    from mining.store import Addition

    for number, after_round in ((1, 0), (2, 1)):
        addition = Addition(number, run.addition_dir(number), after_round)
        write_pages(addition.path / "pages" / "part-1.parquet", [(f"n{number}", MATH[3]), (f"m{number}", MATH[4])])
        (addition.path / "duplicates").mkdir()
        gone = pa.table({"page_id": [f"m{number}"]})
        pq.write_table(gone, addition.path / "duplicates" / "part-0.parquet")
        run.add(addition)
    score_all(scoring_of_round(run, 1))
    found = pq.read_table(run.round_dir(1) / "scores")["page_id"].to_pylist()
    assert sorted(found) == ["a", "c", "d", "e", "n1"]  # the second addition came after round 1


def test_a_folder_of_pages_is_scored_whole_and_a_run_directory_without_its_duplicates(run: Store) -> None:
    out = run.path.parent / "scores"
    score_all(scoring_of_pages(run, 1, pages=run.path / "pages", out=out))
    assert sorted(pq.read_table(out)["page_id"].to_pylist()) == ["a", "b", "c", "d", "e"]
    of_run = run.path.parent / "scores-of-run"
    score_all(scoring_of_pages(run, 1, pages=run.path, out=of_run))
    assert sorted(pq.read_table(of_run)["page_id"].to_pylist()) == ["a", "c", "d", "e"]
    assert not (run.round_dir(1) / "scores").exists() and not (out.parent / "calibration.json").exists()


def test_wrong_inputs_are_refused_with_the_remedy(run: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"round 2 has no trained classifier; run mine\.py first"):
        scoring_of_round(run, 2)
    seed = tmp_path / "seed"
    seed.mkdir()
    with pytest.raises(ConfigError, match="no Parquet file there; name a folder of pages"):
        scoring_of_pages(run, 1, pages=seed, out=tmp_path / "out")
    pq.write_table(pa.table({"text": ["a"], "url": ["b"]}), seed / "x.parquet")
    with pytest.raises(ConfigError, match="no column page_id, host, domain, language, n_tokens"):
        scoring_of_pages(run, 1, pages=seed, out=tmp_path / "out")
    with pytest.raises(ConfigError, match="is there and holds no scores"):
        scoring_of_pages(run, 1, pages=run.path, out=seed)
    shutil.rmtree(run.path / "duplicates")
    with pytest.raises(ConfigError, match=r"not deduplicated yet; run mine\.py --stages ingest,dedup"):
        scoring_of_round(run, 1)


def test_a_round_whose_scores_are_calibrated_is_left_to_mine_py(run: Store, tmp_path: Path) -> None:
    audits = [Audit(f"http://h{number}.org/", ("math", "not_math")[number % 2]) for number in range(200)]
    write_audits(run.round_dir(1) / "audits.csv", audits)
    with pytest.raises(ConfigError, match=r"calibrated on 200 audited pages, which only mine\.py does"):
        scoring_of_round(run, 1)
    write_audits(run.round_dir(1) / "audits.csv", audits[:4])  # too few: mine.py does not calibrate either
    assert scoring_of_round(run, 1).in_round
    (run.round_dir(1) / "calibration.json").write_text('{"weights": [1.0]}')
    with pytest.raises(ConfigError, match="calibrated on audited pages; choose another --round"):
        scoring_of_pages(run, 1, pages=run.path, out=tmp_path / "out")


def test_a_damaged_file_of_pages_is_named(run: Store) -> None:
    scoring = scoring_of_round(run, 1)
    scoring.prepare()
    file = next(iter(scoring.files().values()))
    chunk = pq.read_metadata(file.path).row_group(0).column(PAGES_SCHEMA.get_field_index("page_id"))
    flip(file.path, at=(chunk.data_page_offset + chunk.total_compressed_size // 2) / file.path.stat().st_size)
    with pytest.raises(
        StoreError, match=r"part-1.parquet: damaged Parquet .* delete its table and run its stage again"
    ):
        scoring.score(file, scoring.classifier(), scoring.removed_among([file]))
    assert not list((scoring.work_dir / "scores").iterdir())
