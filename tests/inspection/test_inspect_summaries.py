"""summaries.py: sums worked by hand on the small run of conftest.py."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mining.inspect import summaries
from mining.inspect.tables import open_run


def test_new_hosts_are_those_the_last_round_had_no_page_of(run_dir: Path) -> None:
    run = open_run(run_dir)
    assert [row["host"] for row in summaries.new_hosts(run, 1, limit=9)] == ["math.example", "blog.example"]
    second = summaries.new_hosts(run, 2, limit=9)
    assert [(row["host"], row["collected"], row["pages"]) for row in second] == [
        ("shop.example", 1, 2),
        ("zh.example", 1, 1),
    ]
    assert len(summaries.new_hosts(run, 2, limit=1)) == 1


def test_other_cuts_keep_what_scores_at_least_as_high(run_dir: Path) -> None:
    rows = summaries.other_cuts(open_run(run_dir), 2)
    # scores of round 2: 4 3 2.5 2 1.5 1.2 1.1 | -1 -5; logit(.9) = 2.2, logit(.1) = -2.2
    kept = {round(row["probability"], 3): (row["pages"], row["tokens"]) for row in rows}
    assert kept[0.1] == (8, 4000)  # all but p8
    assert kept[0.731] == (7, 3400)
    assert kept[0.9] == (3, 700)  # p1, p2 and p4
    assert kept[0.99] == (0, 0)
    assert [row["is_made"] for row in rows] == [False] * 4 + [True] + [False] * 4
    assert rows[4]["share"] == pytest.approx(7 / 9)


def test_a_round_without_a_cut_has_the_other_cuts_alone(run_dir: Path) -> None:
    file = run_dir / "rounds" / "02" / "metrics.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "cut": {"rule": "token_budget", "threshold": None}}))
    rows = summaries.other_cuts(open_run(run_dir), 2)
    assert len(rows) == len(summaries.CUTS) and not any(row["is_made"] for row in rows)


def test_languages_and_formulas_are_of_the_pages_after_dedup(run_dir: Path) -> None:
    run = open_run(run_dir)
    en, zh = summaries.languages(run, 1, limit=9)
    assert (en["pages"], en["collected"], en["tokens"], en["collected_tokens"]) == (8, 3, 3600, 700)  # p1 p2 p4
    assert (zh["language"], zh["pages"], zh["collected"], zh["collected_tokens"]) == ("zh", 1, 0, 0)
    taken, left = summaries.formula_shares(run, 1)
    assert (taken["collected"], taken["pages"], taken["found"], taken["kept"]) == (True, 3, 6, 3)
    assert (left["pages"], left["with_formulas"], left["found"]) == (6, 6, 12)
    assert summaries.formula_kinds(run, 1) == [
        {"kind": "delimiters", "pages": 9, "found": 18, "kept": 9, "collected_found": 6, "collected_kept": 3}
    ]


def test_kinds_of_formulas_are_none_where_the_pages_do_not_have_them(run_dir: Path) -> None:
    file = run_dir / "pages" / "0.parquet"
    pq.write_table(pq.read_table(file).drop_columns("formulas_by_kind"), file)
    assert summaries.formula_kinds(open_run(run_dir), 1) is None


def test_duplicates_are_summed_by_kind_and_similarity(run_dir: Path) -> None:
    run = open_run(run_dir)
    kinds = {row["kind"]: (row["n"], row["kept"], row["tokens"]) for row in summaries.duplicate_kinds(run)}
    assert kinds == {"url": (1, 1, 900), "exact": (1, 1, 1100), "near": (1, 1, 1000)}
    edges, counts = summaries.jaccard_bars(run)
    assert (edges[0], edges[-1]) == (0.5, 1.0)
    assert counts == [0, 0, 0, 0, 0, 0, 0, 0, 1, 0]  # from .90 on


def test_steps_of_a_round_leave_the_rest_of_its_seconds(run_dir: Path) -> None:
    steps, rows = summaries.round_steps(open_run(run_dir))
    assert steps == ["train", "score", "aggregate"]
    assert rows[0] == {"round": 1, "seconds": {"train": 1.5, "score": 2.5, "aggregate": 0.5}, "other": 0.0}
    speeds = {row["name"]: row["rate"] for row in summaries.stages(open_run(run_dir))}
    assert speeds["ingest"] == 7.5 and list(speeds) == [
        "ingest", "dedup", "round-01", "round-02", "decontaminate", "export",
    ]  # fmt: skip


def test_audited_pages_of_held_out_hosts_estimate_each_round(run_dir: Path, audit_all: Callable[[Path], None]) -> None:
    assert summaries.audit_estimates(open_run(run_dir)) == []
    audit_all(run_dir)
    first, second = summaries.audit_estimates(open_run(run_dir))
    # By the hash of their hosts p4 p5 p6 (blog), p7 p8 (shop) and p12 (zh) are held out, math.example is not.
    assert (first["round"], first["audited"], first["math"]) == (1, 6, 3)
    assert first["precision"].value == 1.0  # p4 alone was collected
    assert first["recall"].value == pytest.approx(1 / 3)
    assert second["precision"].value == pytest.approx(3 / 4)  # p4 p5 p12, and p7 is none
    assert second["recall"].value == 1.0
