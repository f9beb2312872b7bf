"""The bench of the recall loop: shared tables, figures over seeds, the truth that subject.py takes from hosts.tsv."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def bench(repository: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The scripts as modules: each imports those beside it by their bare names, as when it is run."""
    monkeypatch.syspath_prepend(str(repository / "tests" / "bench"))
    return {name: importlib.import_module(name) for name in ("recall", "rounds", "subject")}


def test_a_clone_shares_tables_and_nothing_that_is_written_into(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    source, target = tmp_path / "full-0", tmp_path / "raw-0"
    for name in ("manifest.json", "pages/0.parquet", "rounds/01/classifier.bin", "rounds/01/labels.csv", ".lock"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (tmp_path / "raw-0.partial").mkdir()
    (tmp_path / "raw-0.partial" / "left").write_text("by a killed run")
    bench["rounds"].clone(source, target)
    names = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert names == {"manifest.json", "pages/0.parquet", "rounds/01/classifier.bin", "rounds/01/labels.csv"}
    shared = {name for name in names if (source / name).samefile(target / name)}
    assert shared == {"pages/0.parquet", "rounds/01/classifier.bin"}
    (target / "manifest.json").write_text("further")
    bench["rounds"].clone(source, target)
    assert (target / "manifest.json").read_text() == "further"  # what stands is gone on with


def test_recall_is_that_of_the_longest_list_that_is_pure_enough(bench: dict[str, ModuleType]) -> None:
    # From the top 1 1 0 1 0: precision 1, 1, 2/3, 3/4, 3/5 at recall 1/4, 2/4, 2/4, 3/4, 3/4; one more is never scored.
    scored = [(5.0, True), (4.0, True), (3.0, False), (2.0, True), (1.0, False), (None, True)]
    recall = bench["recall"].recall_at_precision
    assert recall(scored, 0.75) == 0.75
    assert recall(scored, 0.9) == 0.5
    assert recall([(1.0, False), (0.0, True)], 0.9) == 0.0
    assert recall([(1.0, False)], 0.9) is None


def test_figures_over_seeds_leave_out_those_that_are_undefined(bench: dict[str, ModuleType]) -> None:
    runs = [
        {"variant": "full", "parts": {"zh": {"last round": {"f1": f1, "precision": precision}}}}
        for f1, precision in ((0.5, None), (0.7, 0.8), (0.9, 1.0))
    ]
    found = {row.metric: row for row in bench["rounds"].summaries(runs)}
    assert (found["f1"].mean, found["f1"].low, found["f1"].high, found["f1"].seeds) == (pytest.approx(0.7), 0.5, 0.9, 3)
    assert (found["precision"].mean, found["precision"].seeds) == (pytest.approx(0.9), 2)


def test_a_host_of_a_manual_and_a_blog_counts_as_neither(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    rows = ["host\tkind", "a.org\tsoftware-manual", "b.org\tblog", "c.org\tsoftware-manual", "c.org\tblog"]
    (tmp_path / "hosts.tsv").write_text("\n".join(rows) + "\n")
    kinds = bench["subject"].kinds_of(tmp_path / "hosts.tsv")
    assert kinds["a.org"] in bench["subject"].WANTED and kinds["c.org"] in bench["subject"].OPEN
    assert kinds["b.org"] not in (*bench["subject"].WANTED, *bench["subject"].OPEN)
