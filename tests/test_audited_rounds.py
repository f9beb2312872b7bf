"""Pages labelled one by one, through whole rounds: they calibrate scores, measure the rounds and stop a bad one."""

import json
import shutil
from pathlib import Path

import duckdb
import pytest
from run_tables import mine

from mining.audits import Audit, read_audits, write_audits
from mining.calibration import FEATURES
from mining.inspect.evaluate import wilson
from mining.url import canonical_url


@pytest.fixture(scope="session")
def audited_run(mini_web: Path, finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rounds with 200 audited pages on the tables of the finished run; no drop of precision is small enough."""
    folder = tmp_path_factory.mktemp("audited")
    shutil.copytree(finished_run, folder / "run")
    truth = [json.loads(line) for line in (mini_web / "web" / "truth.jsonl").read_text().splitlines()]
    truth.sort(key=lambda row: row["url"][::-1])
    labels = {"math": "math", "nonmath": "not_math"}
    rows = [
        Audit(url=one["url"], label=labels[one["label"]], held_out=place % 2 == 0) for place, one in enumerate(truth)
    ]
    write_audits(folder / "audits.csv", rows[:400])
    result = mine(
        "--data_dir", str(mini_web), "--run_dir", str(folder / "run"), "--labels.pages", str(folder / "audits.csv"),
        "--rounds.max_precision_drop", "-1", "--rerun", "true",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    (folder / "run" / "stderr").write_text(result.stderr)
    return folder / "run"


def query(text: str) -> list[tuple]:
    return sorted(duckdb.sql(text).fetchall())


@pytest.mark.spark
def test_scores_are_weighed_by_the_audited_pages_that_are_not_held_out(audited_run: Path) -> None:
    here = audited_run / "rounds" / "01"
    audits = read_audits(here / "audits.csv")
    values = json.loads((here / "calibration.json").read_text())
    assert tuple(values["features"]) == FEATURES
    known = {canonical_url(row[0]) for row in query(f"select url from '{here}/scores/*.parquet'")}
    labels = {canonical_url(audit.url): audit.label == "math" for audit in audits if not audit.held_out}
    training = {url: is_math for url, is_math in labels.items() if url in known}
    assert (values["pages"], values["positives"]) == (len(training), sum(training.values()))


@pytest.mark.spark
def test_no_audited_page_teaches_the_classifier(audited_run: Path) -> None:
    for here in sorted((audited_run / "rounds").glob("[0-9][0-9]")):
        urls = {audit.url for audit in read_audits(here / "audits.csv")}
        learned = {
            row[0] for row in query(f"select url from '{here}/seed.parquet/*.parquet' where page_id is not null")
        }
        assert urls and learned and not urls & learned


@pytest.mark.spark
def test_every_round_is_measured_on_the_held_out_pages(audited_run: Path) -> None:
    for here in sorted((audited_run / "rounds").glob("[0-9][0-9]")):
        found = json.loads((here / "metrics.json").read_text())["audit"]
        truth = {audit.url: audit.label == "math" for audit in read_audits(here / "audits.csv") if audit.held_out}
        scored = dict(query(f"select url, page_id from '{here}/scores/*.parquet'"))
        taken = {row[0] for row in query(f"select page_id from '{here}/collected/*.parquet'")}
        pages = {url: scored[url] in taken for url in truth if url in scored}
        hits = sum(truth[url] for url, is_taken in pages.items() if is_taken)
        assert (found["pages"], found["collected"]) == (len(pages), sum(pages.values()))
        assert found["precision"] == pytest.approx(hits / sum(pages.values()))
        assert found["recall"] == pytest.approx(hits / sum(truth[url] for url in pages))
        assert sum(one["pages"] for one in found["by_language"].values()) == found["pages"]
        assert wilson(hits, found["collected"])[1] > 0.9  # a working calibration is precise on the mini web


@pytest.mark.spark
def test_a_round_that_does_not_land_is_not_the_corpus(audited_run: Path) -> None:
    stages = json.loads((audited_run / "manifest.json").read_text())["stages"]
    assert (stages["round-01"]["landed"], stages["round-02"]["landed"]) == (True, False)
    stderr = (audited_run / "stderr").read_text()
    assert "the round does not land" in stderr and "domains that gained most" in stderr
    corpus = {row[0] for row in query(f"select page_id from '{audited_run}/corpus/*.parquet'")}
    first = {row[0] for row in query(f"select page_id from '{audited_run}/rounds/01/collected/*.parquet'")}
    second = {row[0] for row in query(f"select page_id from '{audited_run}/rounds/02/collected/*.parquet'")}
    # Were it the second round's, it would hold a page that the first has not, or lack all that only the first has.
    assert corpus <= first and ((second - first) or (first - second) & corpus)
