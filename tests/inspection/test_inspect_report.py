"""report.py and charts.py: one file that asks for nothing and obeys no page."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mining.inspect import charts
from mining.inspect.charts import Bar, Figure
from mining.inspect.evaluate import evaluate, read_labels
from mining.inspect.report import render
from mining.inspect.tables import open_run

Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]

LOADING_TAGS = {
    "script",
    "img",
    "iframe",
    "link",
    "object",
    "embed",
    "audio",
    "video",
    "source",
    "form",
    "base",
    "image",
}
VOID_TAGS = {"meta", "br", "rect", "line", "circle", "polyline", "polygon"}


class Elements(HTMLParser):
    """Every start tag with its attributes, whether tags nest, and the text of style elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def hostile_run(run_dir: Path) -> Path:
    """The run with an attack wherever a page or a labeller can write."""
    attack = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    for name, columns in {
        "rounds/02/domains.parquet": ["host", "domain", "label"],
        "rounds/01/prefixes.parquet": ["prefix", "annotator", "label"],
        "dropped/0.parquet": ["reason"],
        "contaminated/0.parquet": ["benchmark", "item", "gram"],
        "pages/0.parquet": ["url", "title", "language"],
        "duplicates/0.parquet": ["kind"],
    }.items():
        table = pq.read_table(run_dir / name).to_pydict()
        for column in columns:
            table[column] = [f"{value}{attack}" for value in table[column]]
        import pyarrow as pa

        pq.write_table(pa.table(table), run_dir / name)
    return run_dir


def test_report_loads_nothing_and_runs_nothing_a_page_wrote(run_dir: Path) -> None:
    html = render(open_run(hostile_run(run_dir)))
    found = Elements(html)
    assert found.open == []
    assert not LOADING_TAGS & {tag for tag, _ in found.tags}
    attributes = [(name, value or "") for _, attrs in found.tags for name, value in attrs.items()]
    assert not [name for name, _ in attributes if name.startswith("on") or name in ("href", "src", "style", "srcset")]
    assert "url(" not in html
    assert "@import" not in html
    assert html.count("&lt;script&gt;") >= 6


def test_content_security_policy_allows_the_one_style_sheet_alone(run_dir: Path) -> None:
    html = render(open_run(run_dir))
    style = re.search("<style>(.*)</style>", html, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    policy = next(attrs["content"] for tag, attrs in Elements(html).tags if attrs.get("http-equiv"))
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_report_shows_the_runs_figures(run_dir: Path, labels_file: Path) -> None:
    run = open_run(run_dir)
    html = render(run, evaluation=evaluate(run, read_labels(labels_file)))
    text = re.sub("<style>.*</style>", "", html, flags=re.DOTALL)
    text = re.sub("<[^>]*>", " ", text)
    text = " ".join(text.split())
    for shown in (
        "records read 15",
        "saturation 42.9%",
        "tokens in the corpus 3.20k 6 pages",  # 100 + 300 + 400 + 500 + 700 + 1200
        "3 records dropped at ingest",
        "3 pages removed as duplicates",
        "gsm8k 1 1 0 1",
        "math 1 1 1 0",
        "2 of 12 collected pages share text with 2 of 40 benchmark items",
        "a limit is approached as x goes to zero from above",
        "blog.example/math",
        "en 8 6 75.0% 2.20k",  # p1-p8; collected 1-5 and 7: 100 + 200 + 300 + 400 + 500 + 700
        "7 collected 100.0% 14 7 2.1",  # 7 formulas kept in 3,400 tokens
        "delimiters 9 18 9 50.0% 14 7 50.0%",
        "0.731 +1.00 7 77.8% 3.40k the cut",
        "0.950 +2.94 2 22.2% 300",  # p1 and p2 of round 2
        "exact 1 1.10k 1 1.000",
        "ingest 15 12 3 2.0 s 7.5/s",
        "round 1 1.5 s 2.5 s 0.5 s 0.0 s",
        "cut +1.00",
        "zh",
    ):
        assert shown in text
    assert "0.824" in text  # F1 of the corpus, 14/17
    assert "round 2, precision: 0.889 (" in html  # 8 labelled pages are collected and math, p7 is collected and not


def test_unfinished_run_has_a_report_that_says_so(run_dir: Path, edit_manifest: Edit) -> None:
    edit_manifest(run_dir, lambda manifest: manifest.update(stages={"ingest": manifest["stages"]["ingest"]}))
    html = render(open_run(run_dir))
    assert "This run is not finished: dedup, decontaminate, export still to do." in html
    assert "No round is finished yet." in html
    edit_manifest(run_dir, lambda manifest: manifest.update(stages={}))
    assert "None." in render(open_run(run_dir))


def test_many_hosts_are_cut_and_counted(run_dir: Path) -> None:
    html = render(open_run(run_dir), num_domains=1)
    assert html.count("3 more hosts: motherlode domains") == 2


def test_formulas_by_kind_of_an_older_run_are_said_to_be_missing(run_dir: Path) -> None:
    file = run_dir / "pages" / "0.parquet"
    pq.write_table(pq.read_table(file).drop_columns("formulas_by_kind"), file)
    html = render(open_run(run_dir))
    assert "its pages have no column formulas_by_kind" in html
    assert "7 collected" in html  # the sums are there all the same


def test_labels_asked_of_a_model_are_summed_up_with_their_price(run_dir: Path) -> None:
    file = run_dir / "rounds" / "01" / "metrics.json"
    facts = {
        "model": "m<1>", "prefixes": 9, "from_journal": 0, "verdicts": {"mixed": 1, "subject": 6},
        "without_verdict": {"no_json": 2}, "tokens_in": 12_000, "tokens_out": 800, "price": 0.031,
    }  # fmt: skip
    file.write_text(json.dumps({**json.loads(file.read_text()), "annotator": facts}))
    html = render(open_run(run_dir))
    assert "Labels asked of m&lt;1&gt;" in html
    assert "9 prefixes: mixed 1, subject 6; without a verdict: no_json 2." in html
    assert "12.0k tokens in, 800 out, a price of 0.03." in html
    assert "took 12.0k tokens in and 800 out, a price of 0.03." in html


def test_audited_pages_have_a_chart_of_their_own(run_dir: Path, audit_all: Callable[[Path], None]) -> None:
    assert "By audited pages" not in render(open_run(run_dir))
    audit_all(run_dir)
    html = render(open_run(run_dir))
    assert "By audited pages" in html
    assert "round 2, precision: 0.750 (" in html and "round 1, recall: 0.333 (" in html


def test_marks_stand_at_their_values_between_the_ends_of_their_intervals() -> None:
    figures = [Figure(0.5, (0.25, 1.0)), Figure(None)]
    svg = charts.interval_chart(["a", "b<c"], [("precision", figures), ("recall", [Figure(0.0)] * 2)], name="x")
    # the drawing area reaches from y = 210 (0%) up to y = 40 (100%): 170 high
    assert 'y1="167.5" y2="40.0"' in svg  # 210 - 0.25 * 170
    assert re.findall(r'<circle[^>]* cy="([\d.]+)"', svg) == ["9.0", "125.0"]  # the key, then the one value
    assert svg.count("<rect") == 3 and "b&lt;c, recall: 0.000" in svg


def bars_of(svg: str) -> list[tuple[float, float]]:
    """(width, height) of each drawn bar."""
    return [(float(w), float(h)) for w, h in re.findall(r'<rect[^>]*width="([\d.]+)" height="([\d.]+)"', svg)]


def test_columns_are_as_high_as_their_values() -> None:
    svg = charts.column_chart([Bar("a", 100, "100", part=25), Bar("b", 50, "50")], name="x")
    # top of the axis is 100; the drawing area is 200 - 14 - 30 = 156 high
    assert [height for _, height in bars_of(svg)] == [156, 39, 78]


def test_rows_are_as_long_as_their_values() -> None:
    svg = charts.row_chart([Bar("a", 10, "10"), Bar("b", 5, "5"), Bar("c", 0, "0")], name="x")
    assert [width for width, _ in bars_of(svg)] == [468.2, 234.1, 1.0]  # 520 - (16 + 6.6) - (16 + 2 * 6.6)


def test_histogram_joins_bins_and_keeps_every_page() -> None:
    edges = [k / 10 for k in range(-100, 101)]
    totals = [1.0] * 200
    svg = charts.histogram(edges, totals, totals, cut=0.0, name="x")
    counted = [int(n) for n in re.findall(r": (\d+) pages", svg)]
    assert len(counted) <= 80
    assert sum(counted) == 200
    assert "cut +0.00" in svg


def test_histogram_of_nothing_is_drawn_empty() -> None:
    svg = charts.histogram([0, 1, 2], [0, 0], [0, 0], cut=None, name="x")
    assert bars_of(svg) == []


def test_lower_bars_of_a_histogram_are_lower() -> None:
    svg = charts.histogram([0, 1, 2, 3], [1, 10, 1000], [0, 0, 1000], cut=float("inf"), name="x")
    heights = [height for _, height in bars_of(svg)]
    assert heights[0] < heights[1] < heights[2] == heights[3]


@pytest.mark.parametrize(("value", "ceiling"), [(0, 1), (1, 1), (3, 4), (9, 10), (100, 100), (101, 200), (0.3, 0.4)])
def test_axis_ends_on_a_round_number(value: float, ceiling: float) -> None:
    assert charts.nice_ceiling(value) == pytest.approx(ceiling)
