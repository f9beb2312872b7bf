"""Tables and stories on the terminal, readable at 100 columns, piped or not."""

import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mining.inspect import formats

PIPED_COLUMNS = 100
_MIN_TEXT_COLUMNS = 24
_WIDEST = 1000
_HEADING_COLUMNS = 12


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its heading and how a row's value is written."""

    heading: str
    write: Callable[[Mapping[str, Any]], str]
    """The cell of a row."""
    is_text: bool = False
    """Left-aligned and folded where it is long; numbers are right-aligned and never broken."""


def console() -> Console:
    """A console on stdout: the terminal's width, or 100 columns (COLUMNS, where set) when piped."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a title outside the terminal's encoding must not end the command
    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or PIPED_COLUMNS)
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], *, title: str = "") -> None:
    """Write rows as one table; whatever a page put into them is shown, never obeyed."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.title = Text(formats.printable(title), style="bold") if title else None
    table.title_justify = "left"
    cells = [[formats.printable(column.write(row)) for column in columns] for row in rows]
    for place, column in enumerate(columns):
        longest = max((len(row[place]) for row in cells), default=0)
        table.add_column(
            Text(column.heading),
            justify="left" if column.is_text else "right",
            overflow="fold",
            no_wrap=not column.is_text,
            min_width=min(longest, _MIN_TEXT_COLUMNS) if column.is_text else longest,
        )
    for row in cells:
        table.add_row(*map(Text, row))
    out = console()
    # A terminal too narrow for the numbers wraps its lines; cutting them would show other numbers.
    needed = Measurement.get(out, out.options.update(width=_WIDEST), table).minimum
    out.width = max(out.width, needed)
    _print_without_margin(out, table)


def _print_without_margin(out: Console, table: Table) -> None:
    with out.capture() as captured:
        out.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def print_text(text: str, *, style: str = "") -> None:
    """Write lines of text, long ones wrapped at words."""
    console().print(Text(formats.printable(text, keep_lines=True), style=style))


def print_story(lines: Sequence[str]) -> None:
    """Write lines of a 12-column heading and a text; long texts are wrapped beside their heading."""
    grid = Table.grid(padding=0)
    grid.add_column(width=_HEADING_COLUMNS, no_wrap=True)
    grid.add_column(overflow="fold")
    for line in (formats.printable(line, keep_lines=True).replace("\n", " ") for line in lines):
        grid.add_row(Text(line[:_HEADING_COLUMNS]), Text(line[_HEADING_COLUMNS:]))
    _print_without_margin(console(), grid)


def print_json(value: Any) -> None:
    """Write one JSON document; what is not finite becomes null."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")
    print(json.dumps(_finite(value), ensure_ascii=False, indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _get(key: str, write: Callable[[Any], str]) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: write(row.get(key))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _cut(row: Mapping[str, Any]) -> str:
    return formats.logit(row.get("cut", {}).get("threshold"))


ROUND_COLUMNS = (
    Column("round", _get("round", formats.count)),
    Column("posi-\ntives", _get("positives", formats.count)),
    Column("pages", _get("pages", formats.count)),
    Column("col-\nlected", _get("collected", formats.count)),
    Column("tokens", _get("collected_tokens", formats.compact)),
    Column("cut", _cut),
    Column("new", _get("new_pages", formats.count)),
    Column("over-\nlap", _get("overlap_last", formats.percent)),
    Column("hosts", _get("domains", formats.count)),
    Column("candi-\ndates", _get("candidates", formats.count)),
)
STAGE_COLUMNS = (
    Column("stage", _get("stage", _text), is_text=True),
    Column("", lambda row: "" if row["state"] == "done" else _text(row["state"]), is_text=True),
    Column("started", _get("started", _text), is_text=True),
    Column("seconds", _get("seconds", formats.count)),
    Column("config", lambda row: _text(row["config"])[:8], is_text=True),
    Column("settings then -> now", lambda row: "; ".join(row["unlike_now"]), is_text=True),
)
NEW_HOSTS_COLUMN = Column("new\nhosts", _get("new_domains", formats.count))
QUALITY_COLUMNS = (
    Column("prec.", _get("precision", formats.number)),
    Column("rec.", _get("recall", formats.number)),
    Column("F1", _get("f1", formats.number)),
)
LEAK_COLUMNS = (
    Column("benchmark", _get("benchmark", _text), is_text=True),
    Column("item", _get("item", _text), is_text=True),
    Column("units", _get("units", formats.count)),
    Column("pages", _get("pages", formats.count)),
    Column("hosts", _get("hosts", formats.count)),
    Column("gone", _get("pages_gone", formats.count)),
    Column("longest agreeing run", lambda row: " ".join(row["text"].split())[:120], is_text=True),
)
DOMAIN_COLUMNS = (
    Column("host", _get("host", _text), is_text=True),
    Column("pages", _get("pages", formats.count)),
    Column("collected", _get("collected", formats.count)),
    Column("share", _get("share", formats.percent)),
    Column("bound", _get("bound", formats.percent)),
    Column("tokens", _get("tokens", formats.compact)),
    Column("score", _get("mean_score", formats.logit)),
    Column("change", _get("change", formats.signed)),
    Column("candi-\ndate", lambda row: "yes" if row.get("candidate") else "", is_text=True),
    Column("label", _get("label", _text), is_text=True),
)
PREFIX_COLUMNS = (
    Column("prefix", _get("prefix", _text), is_text=True),
    Column("pages", _get("pages", formats.count)),
    Column("collected", _get("collected", formats.count)),
    Column("left", _get("uncollected", formats.count)),
    Column("share", _get("share", formats.percent)),
    Column("bound", _get("bound", formats.percent)),
    Column("score", _get("mean_score", formats.logit)),
    Column("left\ntokens", _get("uncollected_tokens", formats.compact)),
    Column("pro-\nposed", lambda row: "yes" if row.get("proposed") else "", is_text=True),
    Column("label", _get("label", _text), is_text=True),
)


def _interval(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: formats.with_interval(row.get(key), row.get(f"{key}_interval"))


EVALUATION_COLUMNS = (
    Column("pages", _get("group", _text), is_text=True),
    Column("of", _get("of", _text), is_text=True),
    Column("n", _get("n", formats.count)),
    Column("math", _get("n_math", formats.count)),
    Column("precision", _interval("precision")),
    Column("recall", _interval("recall")),
    Column("F1", _interval("f1")),
    Column("best\nF1", _get("best_f1", formats.number)),
    Column("av.\nprec.", _get("average_precision", formats.number)),
)
CHECK_COLUMNS = (
    Column("", _get("status", _text), is_text=True),
    Column("what", _get("name", _text), is_text=True),
    Column("found", _get("found", _text), is_text=True),
    Column("remedy", _get("remedy", _text), is_text=True),
)


def story_lines(story: Mapping[str, Any]) -> list[str]:
    """The lines of `explain` for a page or a dropped record, each with a heading of 12 columns."""
    lines = []
    if story["matched_by"] == "canonical":
        lines.append(f"asked for   {story['query']}, which no record has; its canonical form is the same")
    if story["found"] == "dropped":
        for record in story["dropped"][:5]:
            lines.append(f"dropped     {record['url']}")
            lines.append(f"            {record['reason']}  {record.get('detail') or ''}".rstrip())
            lines.append(f"record      {_pointer(record)}")
        return lines
    page = story["page"]
    charset = page["charset"] + (", truncated by the crawler" if page["truncated"] else "")
    lines += [
        f"url         {page['url']}",
        f"page_id     {page['page_id']}",
        f"record      {_pointer(page)}",
        f"            {page['crawl']}, fetched {page['fetch_time']}, {page['payload_digest']}",
        f"extraction  {charset}; {page['language']} ({page['language_score']:.2f}); {page['n_chars']:,} characters, "
        f"{page['n_tokens']:,} tokens; formulas: {_formulas(page)}",
        f"title       {page['title']}",
    ]
    beginning = [line.strip() for line in story["text"].splitlines() if line.strip()][:6]
    lines += [f"{'text' if not place else '':<12}{line[:300]}" for place, line in enumerate(beginning)]
    lines += _duplicate_lines(story)
    for entry in story["rounds"]:
        lines += _round_lines(entry)
    for hit in story["contamination"]:
        lines.append(
            f"benchmark   {hit['benchmark']} {hit['item']}: {hit['action']} removed by {hit['rule']} at character "
            f"{hit['place']}: {hit['gram']!r}"
        )
    return lines


def _pointer(record: Mapping[str, Any]) -> str:
    return f"{record['warc_file']}, offset {record['warc_offset']}, length {record['warc_length']}"


def _formulas(page: dict[str, Any]) -> str:
    kinds = ", ".join(f"{one['kind']} {one['kept']}/{one['found']}" for one in page["formulas_by_kind"])
    return f"{page['formulas_kept']} kept of {page['formulas_found']}" + (f" ({kinds})" if kinds else "")


def _duplicate_lines(story: Mapping[str, Any]) -> list[str]:
    lines = []
    for step in story["duplicate_of"]:
        lines.append(f"duplicate   {step['kind']}, Jaccard {step['jaccard']:.2f}, kept: {step['kept_url']}")
    for other in story["other_captures"]:
        lines.append(f"same url    another capture: {other}")
    for twin in story["removed_in_favour"]:
        lines.append(f"kept over   {twin['url']} ({twin['kind']}, Jaccard {twin['jaccard']:.2f})")
    more = story["num_removed_in_favour"] - len(story["removed_in_favour"])
    return [*lines, f"            and {more:,} more"] if more > 0 else lines


def _round_lines(entry: Mapping[str, Any]) -> list[str]:
    lead, blank = f"round {entry['round']:<6}", " " * 12
    if entry["score"] is None:
        lines = [f"{lead}not scored"]
    else:
        took = "collected" if entry["collected"] else "not collected"
        lines = [
            f"{lead}{took}: score {entry['score']:+.2f} (P {entry['probability']:.3f}), cut "
            f"{formats.logit(entry['threshold'])}, rank {entry['rank']:,} of {entry['of']:,}, "
            f"percentile {entry['percentile']:.1f}"
        ]
    for use in entry["seed"]:
        lines.append(f"{blank}trained on as {use['label']} (from {use['source']})")
    if domain := entry["domain"]:
        candidate = ", candidate" if domain["candidate"] else ""
        label = f", labelled {domain['label']}" if domain["label"] else ""
        lines.append(
            f"{blank}host {domain['host']}: {domain['collected']:,} of {domain['pages']:,} pages collected"
            f"{candidate}{label}"
        )
    if prefix := entry["prefix"]:
        label = f"labelled {prefix['label']} by {prefix['annotator']}" if prefix["label"] else "proposed, not labelled"
        lines.append(f"{blank}prefix {prefix['prefix']}: {label}")
    return lines
