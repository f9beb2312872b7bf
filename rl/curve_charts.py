"""Curves as SVG: plain shapes with classes, coloured by the page's style sheet, no script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 420, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 24
# More points than this are drawn as means of neighbours: a line has no more pixels.
_MOST_POINTS = 300


@dataclass(frozen=True)
class Curve:
    """One run's values of a metric."""

    run: str
    place: int
    """Of the run among those compared: its colour."""
    points: Points
    """(step, value), by step."""
    smooth: Points
    """The same, smoothed: drawn stronger, on top."""


def curve_chart(name: str, curves: Sequence[Curve]) -> str:
    """A figure: the metric's name, axes with round numbers, and for each run its values and their moving mean."""
    steps = [step for curve in curves for step, _ in curve.points]
    # the axis holds the smoothed curves and all but the wildest values, or one spike would flatten the rest
    values = sorted(value for curve in curves for _, value in curve.points)
    cut = len(values) // 100
    kept = values[cut : len(values) - cut] + [value for curve in curves for _, value in curve.smooth]
    marks = axis_marks(min(kept), max(kept))
    first, last = min(steps), max(max(steps), min(steps) + 1)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = _LEFT + (point[0] - first) / (last - first) * (WIDTH - _LEFT - _RIGHT)
        share = (point[1] - marks[0]) / (marks[-1] - marks[0])
        return x, _TOP + (1 - min(max(share, 0.0), 1.0)) * (HEIGHT - _TOP - _BOTTOM)

    parts = []
    for mark in marks:
        y = place((first, mark))[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(label(mark))}</text>')
    for step in axis_marks(first, last):
        if first <= step <= last:
            x = place((step, marks[0]))[0]
            anchor = "end" if x > WIDTH - _RIGHT - 14 else "middle"
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{escape(label(step))}</text>')
    for css, attribute in (("raw", "points"), ("smooth", "smooth")):
        for curve in curves:
            drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, thinned(getattr(curve, attribute))))
            title = f"<title>{escape(curve.run)}</title>"
            if " " in drawn:
                parts.append(f'<polyline class="{css} run{curve.place}" points="{drawn}">{title}</polyline>')
            elif css == "smooth":  # a single step has no line
                x, y = place(curve.smooth[0])
                parts.append(f'<circle class="run{curve.place}" cx="{x:.1f}" cy="{y:.1f}" r="3">{title}</circle>')
    heading = escape(name)
    return (
        f'<figure><figcaption>{heading}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{heading} by step">{"".join(parts)}</svg></figure>'
    )


def axis_marks(low: float, high: float) -> list[float]:
    """Three to seven round numbers whose first and last enclose [low, high]; never fewer than two."""
    if high - low <= 1e-5 * max(abs(low), abs(high)):  # a constant but for rounding: labels could not tell marks apart
        low, high = min(low * 0.5, low * 1.5), max(low * 0.5, low * 1.5) or 1.0
    exponent = math.floor(math.log10((high - low) / 5))
    for factor in (1, 2, 5, 10):
        unit = factor * 10.0**exponent
        first, last = math.floor(low / unit + 1e-9), math.ceil(high / unit - 1e-9)
        if last - first <= 6:
            break
    # a power of ten below one is not exact, its quotient by a whole power is
    return [number * factor / 10.0**-exponent if exponent < 0 else number * unit for number in range(first, last + 1)]


def label(value: float) -> str:
    """The number as an axis shows it: at most six digits, thousands as k, millions as M."""
    for least, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / unit:.6g}{letter}"
    return f"{value:.6g}"


def smoothed(points: Points, *, window: int) -> list[tuple[float, float]]:
    """Each value as the mean of the `window` values up to and with it; fewer at the start."""
    means, total = [], 0.0
    for index, (step, value) in enumerate(points):
        total += value
        if index >= window:
            total -= points[index - window][1]
        means.append((step, total / min(index + 1, window)))
    return means


def thinned(points: Points) -> list[tuple[float, float]]:
    """At most `_MOST_POINTS` points, each the mean of as many neighbours as it stands for."""
    size = math.ceil(len(points) / _MOST_POINTS)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
