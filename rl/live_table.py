"""The run's numbers on a terminal, in place: each metric now, as a mean of the last steps, and as a line of blocks."""

import logging
import math
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

_BLOCKS = "▁▂▃▄▅▆▇█"
_WINDOW = 40
# Rendering takes milliseconds, as a step of a small model does.
_SECONDS_BETWEEN = 0.25


class LiveTable:
    """A table below the log lines of stderr that follows the run until `close`."""

    def __init__(self, *, title: str, console: Console | None = None) -> None:
        self._title = title
        self._history: dict[str, deque[float]] = {}
        self._step, self._shown_at = 0, 0.0
        self._live = Live(console=console or Console(stderr=True), auto_refresh=False)
        self._live.start()
        # log lines must go through rich, or they would be written into the table
        self._handlers = [
            handler
            for handler in logging.getLogger().handlers
            if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.__stderr__, sys.stderr)
        ]
        self._streams = [handler.setStream(sys.stderr) for handler in self._handlers]

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the values of a step; the terminal shows them at the next moment it is due."""
        self._step = step
        for name, value in values.items():
            self._history.setdefault(name, deque(maxlen=_WINDOW)).append(value)
        if time.monotonic() - self._shown_at >= _SECONDS_BETWEEN:
            self._live.update(self._table(), refresh=True)
            self._shown_at = time.monotonic()

    def close(self) -> None:
        """Leaves the last table on the terminal."""
        self._live.update(self._table(), refresh=True)
        self._live.stop()
        for handler, stream in zip(self._handlers, self._streams, strict=True):
            if stream is not None:
                handler.setStream(stream)

    def _table(self) -> Table:
        table = Table(title=f"{self._title}  step {self._step}", title_justify="left", box=None, pad_edge=False)
        table.add_column("")
        for heading in ("now", f"mean of {_WINDOW}"):
            table.add_column(heading, justify="right")
        table.add_column("", no_wrap=True)
        for name, history in self._history.items():
            finite = [value for value in history if math.isfinite(value)]
            mean = f"{sum(finite) / len(finite):.4g}" if finite else ""
            table.add_row(name, f"{history[-1]:.4g}", mean, sparkline(list(history)))
        return table


def sparkline(values: Sequence[float]) -> str:
    """One block a value, from the lowest to the highest of them; a space where a value is not finite."""
    finite = [value for value in values if math.isfinite(value)]
    low = min(finite, default=0.0)
    span = max(finite, default=0.0) - low
    top = len(_BLOCKS) - 1
    return "".join(
        (_BLOCKS[round((value - low) / span * top)] if span else _BLOCKS[0]) if math.isfinite(value) else " "
        for value in values
    )
