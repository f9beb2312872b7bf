"""One extractor's call on one page, its CPU seconds taken around the call alone. Standard library only: the worker
of the OpenWebMath environment imports it too, so that every side is timed and stopped by the same lines."""

import gc
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

LIMIT_S = 60.0


class PageTimeout(BaseException):
    """The page took LIMIT_S. No Exception: extractors that catch everything would swallow it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one extractor made of one page."""

    text: str
    cpu_s: float
    error: str
    """Name of the exception with its message; empty where the call returned."""


def timed(call: Callable[[str, str], str | None], html: str, url: str) -> Outcome:
    """The call's text and CPU seconds; an exception or a stop at the limit is an empty text with its error."""
    signal.signal(signal.SIGALRM, _stop)
    gc.collect(0)  # one side's garbage is not the next side's time
    # A timer of wall time: while one of CPU time (ITIMER_PROF) is armed, Linux counts the process's CPU clock in ticks
    # of 4 ms, and the median of a call of 1 ms is 0.
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S, 1.0)
    started = time.process_time()
    try:
        text, error = call(html, url) or "", ""
    except (Exception, PageTimeout) as problem:
        text, error = "", f"{type(problem).__name__}: {problem}"[:200]
    cpu_s = time.process_time() - started
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    return Outcome(text, cpu_s, error)


def _stop(number: int, frame: FrameType | None) -> None:
    raise PageTimeout(f"more than {LIMIT_S} s")
