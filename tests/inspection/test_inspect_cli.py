"""cli.py: every command by its main(), as a shell would call it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mining.inspect.cli import main, make_parser
from mining.inspect.label_log import PREFIXES, Act, Book
from mining.prefixes import read_labels

Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]
Captured = pytest.CaptureFixture[str]


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def json_of(capsys: Captured, *arguments: object) -> Any:
    assert call(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def cells(line: str) -> list[str]:
    return line.split()


def test_rounds_table_has_each_round_and_its_quality(run_dir: Path, labels_file: Path, capsys: Captured) -> None:
    assert call("rounds", run_dir, "--labels", labels_file) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(line for line in lines if line.strip().startswith("1 "))
    second = next(line for line in lines if line.strip().startswith("2 "))
    # p1 p2 p4 = 100 + 200 + 400 tokens; 5 of 9 math pages, F1 10/14
    assert cells(first) == ["1", "1", "9", "3", "700", "+1.00", "3", "-", "2", "2", "1.000", "0.556", "0.714"]
    # 100 + 200 + 300 + 400 + 500 + 700 + 1200 tokens; 3 of 7 were there before
    assert cells(second)[3:8] == ["7", "3.40k", "+1.00", "4", "42.9%"]


def test_rounds_json_holds_metrics_and_stages(run_dir: Path, capsys: Captured) -> None:
    found = json_of(capsys, "rounds", run_dir)
    assert [row["collected"] for row in found["rounds"]] == [3, 7]
    assert found["stages_left"] == []


def test_unfinished_run_shows_its_rounds_and_says_what_is_left(
    run_dir: Path, edit_manifest: Edit, capsys: Captured
) -> None:
    def change(manifest: dict[str, Any]) -> None:
        for name in ("round-02", "decontaminate", "export"):
            del manifest["stages"][name]

    edit_manifest(run_dir, change)
    assert call("rounds", run_dir) == 0
    captured = capsys.readouterr()
    assert "+1.00" in captured.out
    assert "round 2 is not finished, it may wait for labels" in captured.err
    assert "not finished; not done yet: round-02, decontaminate, export" in captured.err


def test_run_without_rounds_is_no_failure_for_rounds_and_exit_2_for_domains(
    run_dir: Path, edit_manifest: Edit, capsys: Captured
) -> None:
    edit_manifest(run_dir, lambda manifest: manifest.update(stages={}))
    assert call("rounds", run_dir) == 0
    assert "No round is finished yet." in capsys.readouterr().out
    assert call("domains", run_dir) == 2
    assert "no round is finished yet; run pipelines/mine.py on" in capsys.readouterr().err


def test_domains_table_and_json_agree(run_dir: Path, capsys: Captured) -> None:
    rows = json_of(capsys, "domains", run_dir, "--round", 1)["domains"]
    assert call("domains", run_dir, "--round", 1) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if "blog.example" in line)
    assert cells(line) == ["blog.example", "3", "1", "33.3%", "6.0%", "1.50k", "-0.67", "-", "yes", "mixed"]
    assert [row["host"] for row in rows][:2] == ["math.example", "blog.example"]


def test_prefixes_table_names_labels(run_dir: Path, capsys: Captured) -> None:
    assert call("prefixes", run_dir, "--domain", "blog.example", "--round", 1) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "blog.example/math" in line)
    assert cells(line) == ["blog.example/math", "2", "1", "1", "50.0%", "10.0%", "+0.00", "500", "yes", "math"]
    assert call("prefixes", run_dir, "--domain", "shop.example") == 0
    assert "No prefix under shop.example" in capsys.readouterr().out


def test_label_is_written_where_mining_reads_it(run_dir: Path, edit_manifest: Edit, capsys: Captured) -> None:
    edit_manifest(run_dir, lambda manifest: manifest["stages"].pop("round-02"))
    assert call("label", run_dir, "https://blog.example/math/", "not_math", "--note", "a, b") == 0
    # p4 and p5 lie under it, and the open round 2 collected both
    assert "not_math; 2 pages, 0 not collected" in capsys.readouterr().out
    assert call("label", run_dir, "blog.example/math", "math") == 0
    assert "math, it was not_math" in capsys.readouterr().out
    assert call("label", run_dir, "nowhere.example", "in") == 0  # the same, for any subject
    assert "no page under this prefix" in capsys.readouterr().err
    rows = read_labels((run_dir / "labels.csv").read_text(encoding="utf-8"))
    assert [(row.prefix, row.label) for row in rows] == [("blog.example/math/", "math"), ("nowhere.example", "math")]


def test_label_and_the_labelling_page_at_once_lose_nothing(run_dir: Path, edit_manifest: Edit) -> None:
    edit_manifest(run_dir, lambda manifest: manifest["stages"].pop("round-02"))
    script = (
        "import sys; from pathlib import Path; from mining.inspect.label_log import *\n"
        "from mining.inspect.labelling import add_label; from mining.prefixes import Label\n"
        "file, way = Path(sys.argv[1]), sys.argv[2]\n"
        "for n in range(20):\n"
        "    prefix = f'{way}{n}.example/'\n"
        "    if way == 'command': add_label(file, Label(prefix, 'math', 'ada', '2024'))\n"
        "    else: Book(file, PREFIXES).write([Act('2024', 'bob', 'label', prefix, 'math')])\n"
    )
    file, ways = run_dir / "labels.csv", ("command", "page")
    running = [subprocess.Popen([sys.executable, "-c", script, str(file), way]) for way in ways]
    assert [one.wait(timeout=120) for one in running] == [0, 0]
    found = {row.prefix: row.annotator for row in read_labels(file.read_text(encoding="utf-8"))}
    assert found == {f"{way}{n}.example/": {"command": "ada", "page": "bob"}[way] for way in ways for n in range(20)}
    assert call("label", run_dir, "page3.example", "not_math", "--annotator", "ada") == 0
    Book(file, PREFIXES).write([Act("2024", "ada", "undo", "")])  # the page can take back what the command said
    assert {row.prefix: row.label for row in read_labels(file.read_text())}["page3.example/"] == "math"


def test_label_is_refused_where_mining_would_not_read_it(run_dir: Path, edit_manifest: Edit, capsys: Captured) -> None:
    edit_manifest(run_dir, lambda manifest: manifest.update(config={"labels": {"annotator": "rules", "file": ""}}))
    assert call("label", run_dir, "blog.example/math", "math") == 2
    assert "this run asks nobody; mine with --labels.annotator file" in capsys.readouterr().err
    assert not (run_dir / "labels.csv").exists()


def test_label_goes_into_the_file_that_the_config_names(run_dir: Path, edit_manifest: Edit) -> None:
    settings = {"data_dir": str(run_dir.parent), "labels": {"annotator": "file", "file": "mine.csv"}}
    edit_manifest(run_dir, lambda manifest: manifest.update(config=settings))
    (run_dir.parent / "mine.csv").write_text("prefix,label\nmath.example,math\n", encoding="utf-8")
    assert call("label", run_dir, "blog.example/food", "not_math", "--annotator", "ada") == 0
    rows = read_labels((run_dir.parent / "mine.csv").read_text(encoding="utf-8"))
    assert [(row.prefix, row.annotator) for row in rows] == [("math.example", ""), ("blog.example/food", "ada")]
    (run_dir.parent / "mine.csv").write_text("prefix,label\nmath.example,perhaps\n", encoding="utf-8")
    assert call("label", run_dir, "blog.example/food", "math") == 2
    assert call("label", run_dir, "/food", "math") == 2


def test_sample_shows_hostile_pages_without_obeying_them(run_dir: Path, capsys: Captured) -> None:
    assert call("sample", run_dir, "--not-collected", "--host", "blog.example", "--n", 1) == 0
    out = capsys.readouterr().out
    assert "[bold red]x[/]" in out  # rich markup in a title stays text
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_explain_prints_the_story_and_fails_for_an_unknown_page(run_dir: Path, capsys: Captured) -> None:
    assert call("explain", run_dir, "https://mirror.example/x") == 0
    out = capsys.readouterr().out
    assert "web/00000.warc.gz, offset 9000, length 900" in out
    assert "near, Jaccard 0.90, kept: https://blog.example/math/x" in out
    assert call("explain", run_dir, "https://blog.example/maths/x") == 1
    assert "  https://blog.example/math/x" in capsys.readouterr().out
    assert call("explain", run_dir, "https://math.example/paper.pdf") == 0
    assert "dropped at ingest, not_html (application/pdf)" in capsys.readouterr().out


def test_evaluate_json_has_the_shape_other_tools_read(run_dir: Path, labels_file: Path, capsys: Captured) -> None:
    found = json_of(capsys, "evaluate", run_dir, "--labels", labels_file)
    first = found["rounds"][0]
    assert {"round", "precision", "recall", "f1", "n", "by_language"} <= first.keys()
    assert {"precision", "recall", "f1", "n"} <= first["by_language"]["zh"].keys()
    assert found["corpus"]["f1"] == pytest.approx(14 / 17)


def test_evaluate_table_fits_100_columns(run_dir: Path, labels_file: Path, capsys: Captured) -> None:
    assert call("evaluate", run_dir, "--labels", labels_file, "--stratum", "mixed") == 0
    assert call("evaluate", run_dir, "--labels", labels_file) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert out.count("0.941") == 2  # best F1 of both rounds, 16/17
    assert out.count("0.889 (") == 3  # precision, recall and F1 of round 2
    # Wilson for 8 of 9: (0.8889 + 0.2134) / 1.4268 -+ 1.96 * sqrt(0.01097 + 0.01186) / 1.4268 = 0.772 -+ 0.208
    assert "0.889 (.57-.98)  0.889 (.57-.98)" in out


def test_report_is_written_into_the_run(run_dir: Path, labels_file: Path, capsys: Captured) -> None:
    assert call("report", run_dir, "--labels", labels_file) == 0
    assert capsys.readouterr().out.strip() == str(run_dir / "report.html")
    assert "Against labelled pages" in (run_dir / "report.html").read_text(encoding="utf-8")
    assert not list(run_dir.glob("*.partial"))
    assert call("report", run_dir, "--output", run_dir / "none" / "r.html") == 2
    assert "give another --output" in capsys.readouterr().err


def test_extract_reads_a_file_and_its_charset(tmp_path: Path, capsys: Captured) -> None:
    sentence = "素数只有两个因数，一和它自己。因此六不是素数，七是素数。"
    page = tmp_path / "page.html"
    html = f"<html><head><title>素数</title></head><body><article><p>{sentence * 5}</p></article></body></html>"
    page.write_bytes(html.encode("gb18030"))
    found = json_of(capsys, "extract", page, "--charset", "gb18030", "--url", "https://zh.example/1")
    assert sentence in found["text"]
    assert call("extract", page, "--charset", "gb18030") == 0
    assert sentence in capsys.readouterr().out
    assert call("extract", tmp_path / "none.html") == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rounds", "no/such/run"], "no/such/run: no such directory"),
        (["domains", "{run}", "--round", "9"], "--round 9: "),
        (["prefixes", "{run}", "--domain", "nowhere.example"], "nearest: "),
        (["evaluate", "{run}", "--labels", "none.jsonl"], "--labels none.jsonl: cannot be read"),
        (["doctor", "--run_dir", "no/such/dir"], "no such directory"),
    ],
)
def test_wrong_value_is_one_line_and_exit_2(
    run_dir: Path, arguments: list[str], message: str, capsys: Captured
) -> None:
    assert call(*[argument.replace("{run}", str(run_dir)) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.startswith("motherlode: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["roudns", "r"], "did you mean rounds?"),
        (["domains", "r", "--sort", "shar"], "did you mean share?"),
        (["domains", "r", "--rond", "1"], "did you mean --round?"),
        (["sample", "r", "--n", "0"], "0: give 1 or more"),
    ],
)
def test_wrong_word_is_exit_2_with_the_nearest(arguments: list[str], message: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    ["rounds", "domains", "prefixes", "label", "sample", "explain", "report", "evaluate", "extract", "doctor"],
)
def test_help_of_every_command_has_an_example_that_parses(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    example = capsys.readouterr().out.partition("example:\n")[2].split()
    assert example[:2] == ["motherlode", command]
    make_parser().parse_args(example[1:])


@pytest.mark.parametrize("damage", ["pages/0.parquet", "rounds/02/metrics.json", "manifest.json"])
def test_damaged_file_is_one_line_and_exit_2(run_dir: Path, damage: str, capsys: Captured) -> None:
    (run_dir / damage).write_bytes(b'{"stages": ')
    assert call("explain", run_dir, "https://math.example/a/1") == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert damage in captured.err


def run_piped(*arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    line = [sys.executable, "-m", "mining.inspect.cli", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, env={**os.environ, **environment}, check=False)


def test_piped_table_breaks_no_number_and_survives_an_ascii_terminal(run_dir: Path) -> None:
    done = run_piped("domains", run_dir, COLUMNS="40", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert b"33.3%" in done.stdout or b"66.7%" in done.stdout
    assert b"\x1b" not in done.stdout
    assert done.stderr == b""


def test_reader_that_stops_early_is_no_error(run_dir: Path) -> None:
    line = f"'{sys.executable}' -m mining.inspect.cli rounds \"$1\" --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line, "sh", str(run_dir)], capture_output=True, check=False)
    assert done.stdout.strip() == b"0"
    assert done.stderr == b""
