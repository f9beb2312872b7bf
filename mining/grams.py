"""Text to the units and grams that benchmark decontamination compares: where each is, and 62-bit hashes of runs.

A unit is a word, a number, a LaTeX command or a single ideograph. Operators and brackets are signs: a gram has those
between its units, in their order, but is counted in units.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import xxhash

# LaTeX's way to write a degree or a prime, a LaTeX command, an escaped sign, the single digits that `\frac12` takes, a
# number, a run of letters, a dash of any length, one ideograph or kana, any other sign. No thousands commas: `(0,3)`
# and `(0, 3)` have the same tokens.
_TOKEN = re.compile(
    r"\^\s?\{?\s?\\(?:circ|prime)(?![A-Za-z])"
    r"|\\[A-Za-z]+|\\[^A-Za-z\s]"
    r"|[0-9](?:(?<=frac[0-9])|(?<=frac[0-9][0-9])|(?<=frac [0-9])|(?<=frac [0-9][0-9])"
    r"|(?<=frac  [0-9])|(?<=frac  [0-9][0-9]))"
    r"|[0-9]+(?:\.[0-9]+)?"
    r"|[A-Za-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u037d\u037f-\u0386\u0388-\u060b\u060d-\u061a"
    r"\u0620-\u06d3\u06d5-\u0963\u0966-\u1fff\u2c00-\u2dff\ua000-\ud7ff]+"
    r"|[-\u2010-\u2015\u2212]+"
    r"|[^\s.,;:?!\"'`{}$~&\u00ad\u00b4\u200b-\u200f\u2018-\u201f\u2026\u2060\u2236\u3001-\u3003\u3008-\u3011"
    r"\u3014-\u301f\u060c\u061b\u061f\u06d4\u0964\u0965\ufeff\\]"
)
_NUMBER_OR_LETTERS = re.compile(r"\\?\w")
_WORD = re.compile(r"\\[A-Za-z]|[^\W\d_]{2}|[\u3040-\u30ff\u3400-\u9fff]")

# Layout and style of LaTeX, and what has no content of its own: dots, currency, the braces of sets.
_LAYOUT = (
    r", ; : ! ( ) [ ] \ $ & { } lbrace rbrace left right big bigg bigl bigr biggl biggr quad qquad displaystyle "
    "textstyle text textrm textbf textit mathrm mathbf mathit boldsymbol bm mbox operatorname limits nolimits ldots "
    "dots cdots dotsc dotsb prime"
)
_DROPPED = frozenset(rf"\{name}" for name in _LAYOUT.split())
_FUNCTIONS = "sin cos tan cot sec csc log ln exp lim max min gcd det"
# From U+03B1 on; the final sigma has no name.
_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho - sigma tau upsilon phi "
    "chi psi omega"
)
_ALIASES = {
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\le": r"\leq", r"\ge": r"\geq", r"\ne": r"\neq",
    r"\leqslant": r"\leq", r"\geqslant": r"\geq", r"\to": r"\rightarrow", r"\%": "%", r"\#": "#", r"\_": "_",
    r"\lt": "<", r"\gt": ">", r"\mid": "|", r"\vert": "|", r"\lvert": "|", r"\rvert": "|", r"\ast": "*",
    r"\varepsilon": r"\epsilon", r"\varphi": r"\phi", r"\degree": r"\circ",
    "≤": r"\leq", "≥": r"\geq", "⩽": r"\leq", "⩾": r"\geq", "≠": r"\neq", "×": r"\times", "÷": r"\div", "·": r"\cdot",
    "∈": r"\in", "∪": r"\cup", "∩": r"\cap", "∞": r"\infty", "√": r"\sqrt", "±": r"\pm", "≈": r"\approx",
    "→": r"\rightarrow", "°": r"\circ", "∠": r"\angle", "△": r"\triangle", "∥": r"\parallel", "⊥": r"\perp",
    "∵": r"\because", "∴": r"\therefore", "µ": r"\mu",
    **{rf"\{name}": name for name in _FUNCTIONS.split()},
    **{chr(0x3B1 + place): rf"\{name}" for place, name in enumerate(_GREEK.split()) if name != "-"},
}  # fmt: skip
_FULL_WIDTH = re.compile("[\uff01-\uff5e\u3000]")
_TO_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_DASHES = frozenset("-\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
# The two low bits of a token's hash; 0 for the whole hash means dropped.
_SIGN, _PLAIN, _WORDY = 1, 2, 3


def fold(text: str) -> str:
    """`text` in lower case and half-width, every character still at its offset."""
    lowered = text.lower()
    if len(lowered) != len(text):
        lowered = "".join(low if len(low := char.lower()) == 1 else char for char in text)
    if not text.isascii() and _FULL_WIDTH.search(lowered):
        lowered = lowered.translate(_TO_HALF_WIDTH)
    return lowered


def tokens(text: str) -> list[str]:
    """Lower-case words, numbers as they stand, LaTeX commands, single ideographs and single signs, in order.

    Dropped: white space, the punctuation of sentences (Chinese too), `$`, braces, dots and LaTeX that only lays out.
    Spellings of one sign are one token (`≤`, `\\le`, `\\leqslant`; `π`, `\\pi`; `sin`, `\\sin`), and so are dashes of
    any length; full-width characters are half-width. Superscripts that are characters (`x²`) are not `x^2`.
    """
    return [token for token in map(_spelling, _TOKEN.findall(fold(text))) if token not in _DROPPED]


def _spelling(token: str) -> str:
    """The one spelling of a token that has several."""
    if token[0] == "^" and len(token) > 1:
        token = token[token.index("\\") :]
    elif token[0] in _DASHES:
        return "-"
    return _ALIASES.get(token, token)


@lru_cache(maxsize=1 << 17)
def _token_hash(token: str) -> int:
    """62 bits of a token and its kind, 0 for one that is dropped."""
    token = _spelling(token)
    if token in _DROPPED:
        return 0
    kind = _WORDY if _WORD.match(token) else _PLAIN if _NUMBER_OR_LETTERS.match(token) and token != "_" else _SIGN
    return xxhash.xxh3_64_intdigest(token.encode("utf-8", "surrogatepass")) & ~3 | kind


_BASE = 0x9E3779B97F4A7C15
_POWERS = np.array([pow(_BASE, i, 1 << 64) for i in range(64)], dtype=np.uint64)
_SIGN_FACTOR = np.uint64(0xD6E8FEB86659FD93)


class Units(NamedTuple):
    """A text as units; all arrays (U,)."""

    hashes: np.ndarray
    """uint64."""
    signs: np.ndarray
    """uint64: the signs between the unit before and this one, in order; 0 for none."""
    words: np.ndarray
    """int64: wordy units before this one, one entry longer."""
    places: np.ndarray
    """int64: the unit's number among the `raw_tokens`."""


def units_of(folded: str) -> Units:
    found = _TOKEN.findall(folded)
    hashes = np.fromiter(map(_token_hash, found), dtype=np.uint64, count=len(found))
    kinds = hashes & np.uint64(3)
    places = np.flatnonzero(kinds > _SIGN)
    units = hashes[places]
    words = np.zeros(len(places) + 1, dtype=np.int64)
    np.cumsum(kinds[places] == _WORDY, out=words[1:])
    is_sign = kinds == _SIGN
    # A sign weighs by how many signs there were since the last unit, so that `)(` and `()` differ.
    count = np.cumsum(is_sign)
    at_units = np.concatenate([[0], count[places]])
    since = count - at_units[np.searchsorted(places, np.arange(len(hashes)), side="right")]
    totals = np.cumsum(np.where(is_sign, hashes * _POWERS[since & 63], 0).astype(np.uint64))
    signs = np.diff(totals[places], prepend=np.uint64(0)) if len(places) else np.empty(0, np.uint64)
    return Units(units, signs, words, places)


def _polynomial(values: np.ndarray, width: int) -> np.ndarray:
    """(V - width + 1,) uint64: sum of values[i + j] * BASE^j over each window, in about 2 log2(width) passes."""
    total, done = np.zeros(len(values) + 1, dtype=np.uint64), 0
    power, span = values, 1
    while True:
        if width & span:
            windows = len(values) - done - span + 1
            total = total[:windows] + power[done : done + windows] * _POWERS[done]
            done += span
        if span * 2 > width:
            return total
        power = power[:-span] + power[span:] * _POWERS[span]
        span *= 2


def gram_hashes(units: Units, width: int) -> np.ndarray:
    """(U - width + 1,) uint64 of each run of `width` units and the signs inside it."""
    if len(units.hashes) < width:
        return np.empty(0, dtype=np.uint64)
    grams = _polynomial(units.hashes, width)
    if width > 1:
        grams = grams + _polynomial(units.signs[1:], width - 1) * _SIGN_FACTOR
    return grams


def wordy(units: Units, width: int, min_words: int) -> np.ndarray:
    """(U - width + 1,) bool: which runs have enough words."""
    return units.words[width:] - units.words[:-width] >= min_words


def raw_tokens(folded: str) -> list[str]:
    """All tokens of a folded text, dropped ones too: what `Units.places` counts."""
    return _TOKEN.findall(folded)


def token_spans(folded: str) -> list[tuple[int, int]]:
    """(start, end) offsets of `raw_tokens`."""
    return [match.span() for match in _TOKEN.finditer(folded)]


def spell(raw: Sequence[str], units: Units, first: int, last: int) -> str:
    """Units first..last with the signs between them, separated by spaces; raw: the text's `raw_tokens`."""
    between = raw[units.places[first] : units.places[last] + 1]
    return " ".join(token for token in map(_spelling, between) if token not in _DROPPED)
