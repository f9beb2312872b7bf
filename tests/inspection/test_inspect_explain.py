"""explain.py: the story of every kind of page in the run of conftest.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mining.inspect.explain import explain
from mining.inspect.tables import open_run

Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def test_page_in_the_corpus_has_record_scores_ranks_and_labels(run_dir: Path) -> None:
    story = explain(open_run(run_dir), "https://blog.example/math/y")
    assert (story["page"]["warc_file"], story["page"]["warc_offset"]) == ("web/00000.warc.gz", 4000)
    first, second = story["rounds"]
    # round 1: 3, 2, 1, 0.5, -0.5 are above -1.0
    assert (first["score"], first["rank"], first["of"], first["collected"]) == (-1.0, 6, 9, False)
    assert (second["rank"], second["collected"], second["threshold"]) == (5, True, 1.0)
    assert second["percentile"] == pytest.approx(100 * (1 - 4 / 9))
    assert second["seed"] == [{"label": "math", "source": "prefix"}]
    assert first["domain"]["label"] == "mixed"
    assert (first["prefix"]["prefix"], first["prefix"]["annotator"]) == ("blog.example/math", "ada")
    assert second["prefix"]["label"] is None  # proposed again, nobody has labelled it
    assert story["corpus"]["first_round"] == 2
    assert story["verdict"].startswith(
        "In the corpus since round 2: its score of +1.50 in round 2 (P = 0.818, rank 5 of 9)"
    )


def test_table_label_stands_where_the_file_has_none(run_dir: Path) -> None:
    first = explain(open_run(run_dir), "https://blog.example/food/z")["rounds"][0]
    assert (first["prefix"]["prefix"], first["prefix"]["label"]) == ("blog.example/food", "not_math")


def test_page_below_the_cut_says_so(run_dir: Path) -> None:
    verdict = explain(open_run(run_dir), "https://blog.example/food/z")["verdict"]
    assert verdict == (
        "Not collected in the last round: its score of -1.00 in round 2 (P = 0.269, rank 8 of 9) is below the cut of "
        "+1.00."
    )


def test_duplicate_names_what_was_kept_and_why_in_the_end(run_dir: Path) -> None:
    story = explain(open_run(run_dir), "https://mirror.example/x/print")
    assert [(step["kind"], step["kept_url"]) for step in story["duplicate_of"]] == [
        ("exact", "https://mirror.example/x"),
        ("near", "https://blog.example/math/x"),
    ]
    assert story["rounds"][1]["score"] == 2.5  # that of p4, which stands for it
    assert story["verdict"].startswith(
        "Removed as an exact duplicate of https://mirror.example/x. What stands for both, "
        "https://blog.example/math/x, is in the corpus since round 1: "
    )
    assert "1 segment(s) that match benchmark items were cut" in story["verdict"]


def test_kept_page_lists_what_was_removed_in_its_favour(run_dir: Path) -> None:
    story = explain(open_run(run_dir), "https://math.example/a/1")
    assert [(twin["url"], twin["kind"]) for twin in story["removed_in_favour"]] == [
        ("https://math.example/a/1?utm_source=x", "url")
    ]
    assert story["text"].startswith("A prime has two divisors.")


def test_contaminated_page_names_the_benchmark_item(run_dir: Path) -> None:
    story = explain(open_run(run_dir), "https://math.example/a/2")
    assert story["contamination"][0]["gram"] == "the sum of"
    assert story["verdict"] == "Removed by decontamination: it holds item gsm8k-7 of gsm8k (short_exact)."


def test_dropped_record_has_its_reason_and_pointer(run_dir: Path) -> None:
    story = explain(open_run(run_dir), "https://math.example/paper.pdf")
    assert story["found"] == "dropped"
    assert story["dropped"][0]["warc_offset"] == 90_000
    assert story["verdict"] == "Not in the corpus: dropped at ingest, not_html (application/pdf)."


@pytest.mark.parametrize("spelling", ["http://math.example/b/1/?utm_campaign=q", "www.math.example/b/1#top"])
def test_canonical_twin_is_found(run_dir: Path, spelling: str) -> None:
    story = explain(open_run(run_dir), spelling)
    assert (story["page"]["page_id"], story["matched_by"]) == ("p3", "canonical")


def test_page_id_and_missing_scheme_are_taken(run_dir: Path) -> None:
    run = open_run(run_dir)
    assert explain(run, "p3")["matched_by"] == "page_id"
    assert explain(run, "math.example/b/1")["matched_by"] == "url"


def test_unknown_url_gives_the_nearest_on_its_host(run_dir: Path) -> None:
    story = explain(open_run(run_dir), "https://blog.example/math/z")
    assert story["found"] is None
    assert set(story["nearest"]) == {
        "https://blog.example/math/x",
        "https://blog.example/math/y",
        "https://blog.example/food/z",
    }
    assert story["nearest"][-1] == "https://blog.example/food/z"


def test_unknown_host_gives_urls_of_the_nearest_host(run_dir: Path) -> None:
    story = explain(open_run(run_dir), "https://shopp.example/1")
    assert story["nearest"][0] == "https://shop.example/1"
    assert explain(open_run(run_dir), "http://[")["found"] is None


def test_run_without_rounds_says_not_judged_yet(run_dir: Path, edit_manifest: Edit) -> None:
    def change(manifest: dict[str, Any]) -> None:
        for name in ("round-01", "round-02", "decontaminate", "export"):
            del manifest["stages"][name]

    edit_manifest(run_dir, change)
    story = explain(open_run(run_dir), "https://math.example/a/1")
    assert story["verdict"] == "Not judged yet: no round is finished."


def test_collected_page_before_export_is_told_so(run_dir: Path, edit_manifest: Edit) -> None:
    edit_manifest(run_dir, lambda manifest: manifest["stages"].pop("export"))
    verdict = explain(open_run(run_dir), "https://math.example/b/1")["verdict"]
    assert verdict.endswith("reaches the cut of +1.00. The corpus is not exported yet.")
