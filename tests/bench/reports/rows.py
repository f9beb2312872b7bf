"""Rows of a benchmark: one comparison with one peer each, for JSON and for a terminal."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Row:
    """Our figure beside one peer's, on the same pages."""

    case: str
    metric: str
    ours: float
    peer: str
    theirs: float | None
    """None where the peer could not be run; `note` says why."""
    ratio: float | None
    """Above 1 always means that ours is better; None where theirs is 0 or absent."""
    pages: int | None = None
    """Pages that both sides were given."""
    least_ratio: float | None = None
    """The ratio that the project asks for, where it asks for one."""
    ours_interval: tuple[float, float] | None = None
    """95% bootstrap interval over pages."""
    theirs_interval: tuple[float, float] | None = None
    lead_interval: tuple[float, float] | None = None
    """The same for ours less theirs, both from the same draws."""
    note: str = ""


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The rows as plain objects: the six fields of every benchmark here, and those of the others that have a value."""
    always = ("case", "metric", "ours", "peer", "theirs", "ratio")
    return [
        {name: value for name, value in asdict(one).items() if name in always or value not in (None, "")}
        for one in rows
    ]


def print_rows(console: Console, title: str, rows: Sequence[Row]) -> None:
    """A table of the rows; figures with a bootstrap interval show half its width."""
    table = Table(title=title, title_justify="left")
    for name in ("case", "metric"):
        table.add_column(name, overflow="fold")
    table.add_column("peer", no_wrap=True)
    for name in ("ours", "theirs", "ours - theirs", "ratio", "wanted", "pages"):
        table.add_column(name, justify="right", no_wrap=name != "theirs")
    last = ("", "")
    for one in rows:
        place = (one.case, one.metric)
        if place != last:
            table.add_section()
        lead = one.lead_interval
        table.add_row(
            *(("", "") if place == last else place),
            one.peer,
            _figure(one.ours, one.ours_interval),
            Text(one.note) if one.theirs is None else _figure(one.theirs, one.theirs_interval),
            f"{lead[0]:+.3f} .. {lead[1]:+.3f}" if lead else "",
            "-" if one.ratio is None else f"{one.ratio:.3g}",
            _wanted(one),
            str(one.pages or ""),
        )
        last = place
    console.print(table)


def _figure(value: float, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return f"{value:,.4g}"
    return f"{value:.3f} ±{(interval[1] - interval[0]) / 2:.3f}"


def _wanted(one: Row) -> str:
    if one.least_ratio is None:
        return ""
    if one.ratio is None:
        return f"{one.least_ratio:g}"
    return f"{one.least_ratio:g} {'met' if one.ratio >= one.least_ratio else 'MISSED'}"
