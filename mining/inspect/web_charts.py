"""The small charts of the labelling page, as markup coloured by its style sheet."""

import math
from collections.abc import Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT, _FOOT = 420, 92, 16
_NUM_BINS = 42


def score_histogram(scores: Sequence[float], collected: Sequence[bool], *, cut: float | None, name: str) -> Markup:
    """Pages by score; collected ones stand stronger at the bottom of each bar, a dashed line marks the cut.

    Heights are square roots of counts: one page is seen beside a thousand.
    """
    low, high = (min(scores), max(scores)) if scores else (-1.0, 1.0)
    if cut is not None and math.isfinite(cut):
        low, high = min(low, cut), max(high, cut)
    span = (high - low) or 1.0
    low, high = low - 0.02 * span, high + 0.02 * span
    bins = [[0, 0] for _ in range(_NUM_BINS)]
    for score, was_taken in zip(scores, collected, strict=True):
        place = min(int((score - low) / (high - low) * _NUM_BINS), _NUM_BINS - 1)
        bins[place][0] += 1
        bins[place][1] += was_taken
    top = math.sqrt(max((total for total, _ in bins), default=0) or 1)
    floor, step = _HEIGHT - _FOOT, _WIDTH / _NUM_BINS
    parts = []
    for place, (total, taken) in enumerate(bins):
        if total:
            start = low + place * (high - low) / _NUM_BINS
            end = start + (high - low) / _NUM_BINS
            parts.append(
                Markup("<g><title>{:+.1f} to {:+.1f}: {} pages, {} collected</title>").format(start, end, total, taken)
            )
            tall = (floor - 4) * math.sqrt(total) / top
            for css, height in (("bar", tall), ("bar strong", tall * taken / total)):
                if height:
                    parts.append(
                        Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                            css, place * step + 0.5, floor - height, step - 1, height
                        )
                    )
            parts.append(Markup("</g>"))
    parts.append(Markup('<line class="grid" x1="0" x2="{}" y1="{}" y2="{}"/>').format(_WIDTH, floor, floor))
    marks = [(low, "start", 0.0), (high, "end", float(_WIDTH))]
    for score, anchor, x in marks:
        parts.append(
            Markup('<text class="label" x="{:.1f}" y="{}" text-anchor="{}">{:+.1f}</text>').format(
                x, _HEIGHT - 4, anchor, score
            )
        )
    if cut is not None and math.isfinite(cut):
        x = _WIDTH * (cut - low) / (high - low)
        inside = min(max(x, 62.0), _WIDTH - 62.0)
        parts.append(
            Markup(
                '<line class="target" x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1}"/>'
                '<text class="label" x="{2:.1f}" y="{3}" text-anchor="middle">cut {4:+.1f}</text>'
            ).format(x, floor, inside, _HEIGHT - 4, cut)
        )
    return Markup('<svg class="histogram" role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        name, _WIDTH, _HEIGHT, Markup("").join(parts)
    )


def share_bar(share: float) -> Markup:
    """A share in 0..1 as a small bar."""
    return Markup(
        '<svg class="share" viewBox="0 0 60 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="bar" width="60" height="8" rx="2"/>'
        '<rect class="bar strong" width="{:.1f}" height="8" rx="2"/></svg>'
    ).format(60 * share)
