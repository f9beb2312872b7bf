"""corpus.py: the evidence of decontamination and what export makes of it, on a real Spark session."""

import json
from pathlib import Path
from typing import Any

import pytest

from mining.decontaminate import DecontaminateConfig
from mining.errors import ConfigError
from mining.inputs import InputFile, find_files
from mining.spark.corpus import decontaminate, read_benchmarks

LEAK = "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and sells the rest."
SHORT = "Solve for x quickly"
ROWS = [
    {"id": "1", "question": LEAK, "answer": "x = 2"},
    {"id": "2", "question": SHORT, "solution": "Divide."},
    {"id": "3", "question": "Why not?"},
    {"id": "4", "question": "What is 17 times 23?"},
]
PAGES = [
    *[(f"s{i}", f"h{i}.org", f"A page about homework.\n{SHORT}, said the teacher of school {i}.") for i in range(4)],
    ("leak", "leak.org", f"Before.\n{LEAK.upper()}\nAfter."),
    ("both", "h9.org", f"Before.\n{LEAK}\n{SHORT}!\nAfter."),
    ("rare", "rare.org", f"Before.\nWhat is 17 times 23\n{SHORT}\nAfter."),
    ("clean", "clean.org", "Nothing of the kind, only words that no benchmark has in this order."),
]


@pytest.fixture
def benchmarks(tmp_path: Path) -> list[InputFile]:
    (tmp_path / "toy.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return find_files(["toy.test.jsonl"], data_dir=str(tmp_path), field="benchmarks")


def run(spark: Any, tmp_path: Path, benchmarks: list[InputFile], **settings: Any) -> tuple[dict[str, Any], list[Any]]:
    """The stage's facts and the evidence as (page, item, rule, action)."""
    pages = spark.createDataFrame(PAGES, "page_id string, host string, text string")
    pages.select("page_id").write.mode("overwrite").parquet(str(tmp_path / "collected"))
    facts = decontaminate(
        spark,
        pages,
        benchmarks=benchmarks,
        collected=tmp_path / "collected",
        table=tmp_path / "contaminated",
        cfg=DecontaminateConfig(**settings),
    )
    rows = spark.read.parquet(str(tmp_path / "contaminated")).select("page_id", "item", "rule", "action").collect()
    return facts, sorted(map(tuple, rows))


@pytest.mark.spark
def test_short_texts_of_many_hosts_are_reported_and_take_nothing(spark: Any, tmp_path: Path, benchmarks: Any) -> None:
    facts, rows = run(spark, tmp_path, benchmarks, max_hosts_per_short=3)
    assert rows == [
        ("both", "1", "ten_gram", "segment"),
        ("both", "2", "short_common", "none"),
        ("leak", "1", "ten_gram", "segment"),
        ("rare", "2", "short_common", "none"),
        ("rare", "4", "short_exact", "page"),
        *[(f"s{i}", "2", "short_common", "none") for i in range(4)],
    ]
    assert (facts["in_"], facts["kept"], facts["pages_with_matches"], facts["matches"]) == (8, 5, 3, 9)
    assert (facts["items"], facts["items_matched"], facts["common_short_texts"]) == (4, 2, 1)
    assert facts["longest_run_units"] == 19  # janet s ducks ... the rest
    report = json.loads((tmp_path / "contaminated" / "_benchmarks.json").read_text())
    assert report["common_short_texts"] == [{"benchmark": "toy.test", "item": "2", "hosts": 6}]
    assert report["benchmarks"] == {"toy.test": {"items": 4, "short_answers_not_sought": 2}}
    assert [text["item"] for text in report["not_sought"]] == ["3"]


@pytest.mark.spark
def test_the_papers_rule_takes_every_page_with_a_short_text(spark: Any, tmp_path: Path, benchmarks: Any) -> None:
    facts, rows = run(spark, tmp_path, benchmarks, max_hosts_per_short=0)
    assert {action for page, _, _, action in rows if page != "leak"} == {"page"}
    assert facts["pages_with_matches"] == 7


@pytest.mark.spark
def test_whole_pages_go_where_the_option_says_so(spark: Any, tmp_path: Path, benchmarks: Any) -> None:
    _, rows = run(spark, tmp_path, benchmarks, remove="page", short_rule="off")
    assert rows == [("both", "1", "ten_gram", "page"), ("leak", "1", "ten_gram", "page")]


def test_a_broken_benchmark_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"id": 1, "question": "Why?"}\n\nnot json\n')
    files = find_files(["b.jsonl"], data_dir=str(tmp_path), field="benchmarks")
    with pytest.raises(ConfigError, match=r"b\.jsonl, line 3: not JSON"):
        list(read_benchmarks(files))
