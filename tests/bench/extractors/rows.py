"""The rows of the extraction benchmark, and the table of its verdicts."""

from collections.abc import Mapping

from extractors.peers import OURS, PEERS
from extractors.text_scores import Score
from reports.rows import Row
from rich.console import Console
from rich.table import Table
from rich.text import Text


def rows_for(
    case: str,
    metric: str,
    figures: Mapping[str, float | Score],
    *,
    missing: Mapping[str, str],
    pages: int,
    more_is_better: bool = True,
) -> list[Row]:
    """A row for every peer of figures[extractor]; a peer that is missing is seen as such, not left out.

    Where less is better the figures are counts of mishaps; one is added on both sides of the ratio, since the best
    count is 0.
    """
    rows = []
    own = figures[OURS]
    for peer in PEERS:
        if peer in missing:
            note = f"not run: {missing[peer]}"
            rows.append(Row(case, metric, _value(own), peer, None, None, pages, note=note))
            continue
        ours, theirs = _value(own), _value(figures[peer])
        ratio = (ours / theirs if theirs else None) if more_is_better else (theirs + 1) / (ours + 1)
        intervals = {}
        if isinstance(own, Score) and isinstance(other := figures[peer], Score):
            intervals = {
                "ours_interval": own.interval,
                "theirs_interval": other.interval,
                "lead_interval": own.lead(other),
            }
        rows.append(Row(case, metric, ours, peer, theirs, ratio, pages, **intervals))
    return rows


def _value(figure: float | Score) -> float:
    return figure.value if isinstance(figure, Score) else figure


def print_verdicts(console: Console, title: str, verdicts: Mapping[str, Mapping[str, str]]) -> None:
    """A table of verdicts[case][extractor]."""
    table = Table(title=title, title_justify="left")
    names = list(next(iter(verdicts.values())))
    for name in ("case", *names):
        table.add_column(name, no_wrap=True)
    for case, by_extractor in verdicts.items():
        table.add_row(Text(case), *by_extractor.values())  # as markup \[ would lose its backslash
    console.print(table)
