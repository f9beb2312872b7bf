"""Numbers and foreign text as people read them: on a terminal and in a report alike."""

import math
import re
from collections.abc import Sequence

# C0 and C1 controls (a terminal obeys ESC), and the bidirectional overrides that can turn a URL's reading round.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")


def printable(text: object, *, keep_lines: bool = False) -> str:
    """`text` without the characters that a terminal or browser would act on; titles and URLs are hostile.

    `keep_lines` leaves line feeds and makes tabs spaces; else all white space becomes one blank.
    """
    lines = _LINE_ENDS.sub("\n", str(text)).replace("\t", " ")
    if not keep_lines:
        return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", " ".join(lines.split()))
    return "\n".join(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", line) for line in lines.split("\n"))


def count(value: float | None) -> str:
    """A whole number with thousands marks; `-` for none."""
    return "-" if value is None else f"{value:,.0f}"


def compact(value: float | None) -> str:
    """A large count in four or fewer digits: 950, 12.3k, 4.56M, 120B; `-` for none."""
    if value is None:
        return "-"
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            scaled = value / size
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{scaled:.{digits}f}{unit}"
    return f"{value:.0f}"


def tick(value: float) -> str:
    """A round number on an axis, without the zeros that `compact` keeps: 0, 250, 1k, 2.5M."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def percent(value: float | None) -> str:
    """A share in 0..1 as a percentage with one decimal; `-` for none."""
    return "-" if value is None else f"{100 * value:.1f}%"


def signed(value: float | None) -> str:
    """A change with its sign, `0` bare, `-` for none (there was no last round)."""
    if value is None:
        return "-"
    return f"{value:+,.0f}" if value else "0"


def logit(value: float | None) -> str:
    """A score with its sign and two decimals; `-` for none."""
    return "-" if value is None else f"{value:+.2f}"


def number(value: float | None) -> str:
    """A figure in 0..1 with three decimals; `-` for none."""
    return "-" if value is None else f"{value:.3f}"


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """A figure in 0..1 with its interval, `0.812 (.75-.86)`; `-` for none."""
    if value is None:
        return "-"
    if not interval:
        return number(value)
    low, high = ("1.0" if end >= 0.995 else f"{end:.2f}"[1:] for end in interval)
    return f"{value:.3f} ({low}-{high})"


def seconds(value: float | None) -> str:
    """A duration in the two units that matter: 0.4 s, 12.3 s, 4 min 05 s, 2 h 10 min; `-` for none."""
    if value is None:
        return "-"
    if value < 99.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def probability(score: float) -> float:
    """P(math) of a logit, without overflow at either end."""
    if score >= 0:
        return 1 / (1 + math.exp(-score))
    return math.exp(score) / (1 + math.exp(score))
