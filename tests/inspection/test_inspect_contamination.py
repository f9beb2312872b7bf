"""contamination.py: the items that leaked, longest run first, and what was not looked for."""

import json
from pathlib import Path
from typing import Any

import pytest

from mining.inspect.cli import main

REPORT = {
    "benchmarks": {
        "gsm8k": {"items": 9, "short_answers_not_sought": 8},
        "math": {"items": 4, "short_answers_not_sought": 4},
    },
    "not_sought": [
        {"benchmark": "math", "item": "math-9", "part": "question", "text": "Why?", "reason": "too_short"},
        {
            "benchmark": "math",
            "item": "math-8",
            "part": "question",
            "text": "1 2 3 4 5 6 7 8 9 10",
            "reason": "no_word",
        },
    ],
    "common": [{"gram": "where m and n are relatively prime positive integers find", "items": 66}],
    "common_short_texts": [{"benchmark": "gsm8k", "item": "gsm8k-1", "hosts": 31}],
}


@pytest.fixture
def reported(run_dir: Path) -> Path:
    (run_dir / "contaminated" / "_benchmarks.json").write_text(json.dumps(REPORT))
    return run_dir


def json_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert main(["contamination", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_items_come_with_their_longest_run_as_the_page_has_it(reported: Path, capsys: Any) -> None:
    found = json_of(capsys, reported)
    items = [(row["benchmark"], row["item"], row["units"], row["runs"], row["hosts"]) for row in found["items"]]
    assert items == [("math", "math-3", 11, 1, 1), ("gsm8k", "gsm8k-7", 3, 1, 1)]
    assert [row["pages_gone"] for row in found["items"]] == [0, 1]
    assert [len(row["text"]) for row in found["items"]] == [12, 10]
    assert found["common"] == REPORT["common"]


def test_one_benchmark_or_a_few_items(reported: Path, capsys: Any) -> None:
    assert [row["benchmark"] for row in json_of(capsys, reported, "--benchmark", "gsm8k")["items"]] == ["gsm8k"]
    assert len(json_of(capsys, reported, "--limit", 1)["items"]) == 1
    assert main(["contamination", str(reported), "--benchmark", "mth"]) == 2
    assert "looked for gsm8k, math" in capsys.readouterr().err


def test_what_was_not_looked_for_is_said(reported: Path, capsys: Any) -> None:
    assert main(["contamination", str(reported)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Not looked for: 2 texts (1 no word, 1 too short): Why?; 1 2 3" in out
    assert "12 answers and solutions shorter than a gram" in out
    assert "gsm8k gsm8k-1 on 31 hosts" in out
    assert "relatively prime positive integers find (66 items)" in out


def test_a_run_without_the_stage_says_so(run_dir: Path, edit_manifest: Any, capsys: Any) -> None:
    edit_manifest(run_dir, lambda manifest: manifest["stages"].pop("decontaminate"))
    assert main(["contamination", str(run_dir)]) == 0
    captured = capsys.readouterr()
    assert "No benchmark item was found" in captured.out
    assert "not done yet: decontaminate" in captured.err
