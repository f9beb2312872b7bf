"""Small SVG charts as markup: plain shapes with classes, coloured by the page's style sheet, no script.

Every label goes through `Markup.format`, which escapes it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mining.inspect import formats

WIDTH = 520
WIDE = 1060
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 14, 30
_MAX_BARS = 80


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its label, its length, what stands at its end, and the part of it that is shown stronger."""

    label: str
    value: float
    note: str = ""
    part: float | None = None
    """Of `value`; None where the bar has no parts, it is then shown stronger as a whole."""

    @property
    def css(self) -> str:
        return "bar strong" if self.part is None else "bar"


def row_chart(bars: Sequence[Bar], *, name: str) -> Markup:
    """Horizontal bars, one a line, label before and note behind; long labels are cut and whole on hover."""
    top = max((bar.value for bar in bars), default=0) or 1
    line, letter = 24, 6.6
    label_width = min(168, 16 + letter * max((len(bar.label) for bar in bars), default=0))
    note_width = 16 + letter * max((len(bar.note) for bar in bars), default=0)
    room = WIDTH - label_width - note_width
    parts = []
    for place, bar in enumerate(bars):
        y = place * line
        label = bar.label if len(bar.label) <= 23 else bar.label[:22] + "…"
        length = room * bar.value / top
        parts.append(
            Markup(
                '<g><title>{}: {}</title><text class="label" x="{}" y="{}" text-anchor="end">{}</text>'
                '<rect class="{}" x="{}" y="{}" width="{:.1f}" height="14" rx="2"/>'
            ).format(bar.label, bar.note, label_width - 8, y + 16, label, bar.css, label_width, y + 5, max(length, 1))
        )
        if bar.part is not None:
            parts.append(
                Markup('<rect class="bar strong" x="{}" y="{}" width="{:.1f}" height="14" rx="2"/>').format(
                    label_width, y + 5, room * bar.part / top
                )
            )
        parts.append(
            Markup('<text class="value" x="{:.1f}" y="{}">{}</text></g>').format(
                label_width + max(length, 1) + 6, y + 16, bar.note
            )
        )
    return _svg(parts, height=max(len(bars), 1) * line + 4, name=name)


def column_chart(bars: Sequence[Bar], *, name: str) -> Markup:
    """Vertical bars over an axis from zero, each with its note on top; `part` is drawn from the bottom, stronger."""
    height = 200
    top = nice_ceiling(max((bar.value for bar in bars), default=0))
    parts = _grid([(formats.tick(top * k / 4), k / 4) for k in range(5)], height)
    step = (WIDTH - _LEFT - _RIGHT) / max(len(bars), 1)
    width = min(step * 0.6, 64)
    for place, bar in enumerate(bars):
        x = _LEFT + step * (place + 0.5) - width / 2
        y = _height(bar.value / top, height)
        parts.append(Markup("<g><title>{}: {}</title>").format(bar.label, bar.note))
        parts.append(
            Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2"/>').format(
                bar.css, x, y, width, height - _BOTTOM - y
            )
        )
        if bar.part is not None:
            lower = _height(bar.part / top, height)
            parts.append(
                Markup('<rect class="bar strong" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                    x, lower, width, height - _BOTTOM - lower
                )
            )
        middle = x + width / 2
        parts.append(
            Markup(
                '<text class="value" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>'
                '<text class="label" x="{:.1f}" y="{}" text-anchor="middle">{}</text></g>'
            ).format(middle, y - 4, bar.note, middle, height - 12, bar.label)
        )
    return _svg(parts, height=height, name=name)


def share_line(points: Sequence[tuple[str, float]], *, target: float, name: str) -> Markup:
    """A line through shares (0..1) of one round each, with a dashed line at `target`."""
    height = 200
    parts = _grid([(f"{25 * k}%", k / 4) for k in range(5)], height)
    step = (WIDTH - _LEFT - _RIGHT) / max(len(points), 1)
    spots = [(_LEFT + step * (place + 0.5), _height(share, height)) for place, (_, share) in enumerate(points)]
    y = _height(target, height)
    parts.append(
        Markup(
            '<line class="target" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
            '<text class="label" x="{}" y="{:.1f}">stop at {:g}%</text>'
        ).format(_LEFT, WIDTH - _RIGHT, y, y, _LEFT + 4, y + 13, round(100 * target, 1))
    )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    parts.append(Markup('<polyline class="line" points="{}"/>').format(path))
    for (x, y), (label, share) in zip(spots, points, strict=True):
        above = y - 9 if y > _TOP + 16 else y + 19
        parts.append(
            Markup(
                '<g><title>{}: {}</title><circle class="dot" cx="{:.1f}" cy="{:.1f}" r="4"/>'
                '<text class="value" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>'
                '<text class="label" x="{:.1f}" y="{}" text-anchor="middle">{}</text></g>'
            ).format(label, formats.percent(share), x, y, x, above, formats.percent(share), x, height - 12, label)
        )
    return _svg(parts, height=height, name=name)


@dataclass(frozen=True, slots=True)
class Figure:
    """A share (0..1) with the ends of its interval; None where it is undefined."""

    value: float | None
    interval: tuple[float, float] | None = None


_MARKS = ("circle", "square", "diamond")
_VALUE_WIDTH = 20
"""Room that a figure of two decimals takes."""


def interval_chart(labels: Sequence[str], series: Sequence[tuple[str, Sequence[Figure]]], *, name: str) -> Markup:
    """Shares as marks with whiskers, side by side for each label; up to three series, told apart by shape as well.

    labels: what stands below, one for each figure of a series. The names of the series stand on top.
    """
    height, top = 240, 40
    parts = _grid([(f"{25 * k}%", k / 4) for k in range(5)], height, top=top)
    step = (WIDTH - _LEFT - _RIGHT) / max(len(labels), 1)
    apart = min(step / (len(series) + 1), 34)
    for place, (title, _) in enumerate(series):
        start = _LEFT + 8 + 120 * place
        parts += [
            _mark(place, start, 9),
            Markup('<text class="label" x="{}" y="13">{}</text>').format(start + 9, title),
        ]
    for column, label in enumerate(labels):
        middle = _LEFT + step * (column + 0.5)
        for place, (title, figures) in enumerate(series):
            x = middle + apart * (place - (len(series) - 1) / 2)
            said = f"{label}, {title}"
            parts.append(_figure(figures[column], place, x, said, height, top, with_value=apart >= _VALUE_WIDTH))
        parts.append(
            Markup('<text class="label" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                middle, height - 12, label
            )
        )
    return _svg(parts, height=height, name=name)


def _figure(figure: Figure, place: int, x: float, title: str, height: int, top: int, *, with_value: bool) -> Markup:
    """One mark with its whisker, and its figure above where there is room for it."""
    if figure.value is None:
        return Markup("")
    said = f"{figure.value:.3f}"
    whisker, highest = Markup(""), figure.value
    if figure.interval:
        low, highest = figure.interval
        said += f" ({low:.3f} to {highest:.3f})"
        whisker = Markup('<line class="whisker s{0}" x1="{1:.1f}" x2="{1:.1f}" y1="{2:.1f}" y2="{3:.1f}"/>').format(
            place, x, _height(low, height, top), _height(highest, height, top)
        )
    above = Markup("")
    if with_value:
        above = Markup('<text class="value" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(
            x, _height(highest, height, top) - 7, _short(figure.value)
        )
    mark = _mark(place, x, _height(figure.value, height, top))
    return Markup("<g><title>{}: {}</title>{}{}{}</g>").format(title, said, whisker, mark, above)


def _short(share: float) -> str:
    """A share in two decimals, as narrow as it can be: `.07`, `1`."""
    return "1" if share >= 0.995 else f"{share:.2f}".removeprefix("0")


def _mark(place: int, x: float, y: float) -> Markup:
    """The sign of a series: its shape tells it apart where colours do not."""
    shape = _MARKS[place % len(_MARKS)]
    if shape == "circle":
        return Markup('<circle class="mark s{}" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(place, x, y)
    if shape == "square":
        return Markup('<rect class="mark s{}" x="{:.1f}" y="{:.1f}" width="7" height="7"/>').format(
            place, x - 3.5, y - 3.5
        )
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in ((0, -5), (5, 0), (0, 5), (-5, 0)))
    return Markup('<polygon class="mark s{}" points="{}"/>').format(place, points)


def histogram(
    edges: Sequence[float], totals: Sequence[float], parts_of: Sequence[float], *, cut: float | None, name: str
) -> Markup:
    """Counts by score on a logarithmic axis, the collected part stronger, with a line at the cut.

    edges: one more than totals. Neighbouring bins are joined until at most 80 are left; empty ends are cut off.
    """
    bins = _joined(edges, totals, parts_of)
    height, across_all = 220, WIDE
    decades = max(1, math.ceil(math.log10(max((total for _, _, total, _ in bins), default=1) + 1)))
    marks = [("0", 0.0)] + [(formats.tick(10**k), _log(10**k, decades)) for k in range(decades + 1)]
    parts = _grid(marks, height, width=across_all)
    low = bins[0][0] if bins else -1.0
    high = bins[-1][1] if bins else 1.0

    def across(score: float) -> float:
        return _LEFT + (across_all - _LEFT - _RIGHT) * (score - low) / ((high - low) or 1)

    for start, end, total, part in bins:
        x, width = across(start), max(across(end) - across(start) - 1, 0.8)
        parts.append(
            Markup("<g><title>{:+.2f} to {:+.2f}: {} pages, {} collected</title>").format(
                start, end, formats.count(total), formats.count(part)
            )
        )
        for value, css in ((total, "bar"), (part, "bar strong")):
            if value:
                y = _height(_log(value, decades), height)
                parts.append(
                    Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                        css, x, y, width, height - _BOTTOM - y
                    )
                )
        parts.append(Markup("</g>"))
    for score in _ticks(low, high):
        parts.append(
            Markup('<text class="label" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                across(score), height - 12, f"{score:+g}" if score else "0"
            )
        )
    if cut is not None and math.isfinite(cut) and low <= cut <= high:
        side, shift = ("end", -5) if across(cut) > across_all * 0.7 else ("start", 5)
        parts.append(
            Markup(
                '<line class="target" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
                '<text class="value" x="{3:.1f}" y="{4}" text-anchor="{5}">cut {6:+.2f}</text>'
            ).format(across(cut), _TOP - 8, height - _BOTTOM, across(cut) + shift, _TOP + 2, side, cut)
        )
    return _svg(parts, height=height, name=name, width=across_all)


def _joined(
    edges: Sequence[float], totals: Sequence[float], parts_of: Sequence[float]
) -> list[tuple[float, float, float, float]]:
    """(from, to, total, part) of each bar that is drawn."""
    bins = list(zip(edges, edges[1:], totals, parts_of, strict=False))
    filled = [place for place, (_, _, total, _) in enumerate(bins) if total]
    bins = bins[filled[0] : filled[-1] + 1] if filled else []
    size = math.ceil(len(bins) / _MAX_BARS) or 1
    groups = [bins[place : place + size] for place in range(0, len(bins), size)]
    return [(g[0][0], g[-1][1], sum(b[2] for b in g), sum(b[3] for b in g)) for g in groups]


def _log(value: float, decades: int) -> float:
    """Height (0..1) of a count on the logarithmic axis; a single page is still seen above none."""
    return (math.log10(value) + 0.5) / (decades + 0.5) if value >= 1 else 0.0


def _ticks(low: float, high: float) -> list[float]:
    """Four to nine round scores between the ends."""
    span = high - low
    step = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if span / s <= 9), span or 1)
    first = math.ceil(low / step)
    return [place * step for place in range(first, math.floor(high / step) + 1)]


def nice_ceiling(value: float) -> float:
    """The least of 1, 2, 2.5, 4, 5, 8, 10 times a power of ten that is not below `value`; 1 for none."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 4, 5, 8, 10) if step * power >= value * (1 - 1e-9))


def _height(share: float, height: int, top: int = _TOP) -> float:
    """The y of a share (0..1) of the drawing area."""
    return height - _BOTTOM - share * (height - top - _BOTTOM)


def _grid(marks: Sequence[tuple[str, float]], height: int, *, width: int = WIDTH, top: int = _TOP) -> list[Markup]:
    lines = []
    for label, share in marks:
        y = _height(share, height, top)
        lines.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
                '<text class="label" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(_LEFT, width - _RIGHT, y, y, _LEFT - 6, y + 4, label)
        )
    return lines


def _svg(parts: Sequence[Markup], *, height: int, name: str, width: int = WIDTH) -> Markup:
    return Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        name, width, height, Markup("").join(parts)
    )
