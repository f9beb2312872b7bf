"""How well a reading of a page's bytes looks like one of the languages that come in that encoding.

A reading costs the sum of -ln P(character | language) over its characters, so that readings of the same bytes can be
compared whatever their encodings: two bytes are one likely Han character, or two unlikely Latin letters. Patterns
that no language writes (a capital inside a word, a sign or a letter of another script between letters) cost extra,
and common words of the language pay some back.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

ASCII_COST = 3.0
"""Cost of an ASCII character: what a reading saves by taking it for the second byte of a wide character."""
_REPLACED_COST = 16.0
_ODD_COST = 5.0
_WORD_GAIN = 2.0
"""Gain of each common word of the language that occurs."""
_HINT_GAIN = 8.0
"""Gain of a language that the page names in its markup or that goes with its country's domain."""
_LETTER_SHARE = 0.8
"""Share of a language's letters among its characters outside ASCII; the rest are quotes, dashes and signs."""
_CAPITAL_SHARE = 0.04
_CAPITALS_GAIN = 3.0
"""What a capital outside ASCII is let off for standing after another: headings are all capitals."""

# Signs of all languages, with their costs: what typographic quotes, dashes and footers need.
_SIGNS = {
    "’": 3.5, "\xa0": 3.5, "“": 4.0, "”": 4.0, "–": 4.5, "—": 4.5, "«": 4.5, "»": 4.5, "©": 4.5, "…": 5.0, "„": 5.0,
    "‘": 5.5, "¿": 5.5, "¡": 5.5, "°": 6.0, "·": 6.0, "•": 6.0, "×": 6.0, "€": 6.0, "®": 6.5, "™": 6.5, "£": 6.5,
    "§": 6.5, "²": 6.5, "¶": 6.5, "º": 6.5, "\xad": 6.5, "№": 6.5, "´": 7.0, "±": 7.0, "½": 7.0, "µ": 7.0, "ª": 7.0,
    "³": 7.5,
}  # fmt: skip

# First bytes of the frequently used characters of a double-byte set (first and second level), and the lowest second
# byte: characters outside are rare names and symbols, which is where the wrong reading of another set mostly falls.
_WIDE = {
    "gb18030": (0xB0, 0xD8, 0xF8, 0xA1), "big5hkscs": (0xA4, 0xC9, 0xFA, 0x40), "cp932": (0x88, 0x98, 0xEB, 0x40),
    "euc_jp": (0xB0, 0xD0, 0xF5, 0xA1), "cp949": (0xB0, 0xC9, 0xC9, 0xA1),
}  # fmt: skip
_WEIGHTED = re.compile(r"(\D)(\d+)")
_TOKEN = re.compile(r"[^\W\d_]{2,}")
# Pairs of the classes below that no language writes.
_ODD = (
    "lu", "lsl", "msm", "lgl", "mgm", "mn", "lb", "bl", "mb", "bm", "nb", "bn",
    *(pair for latin in "lAu" for other in "mno" for pair in (latin + other, other + latin)),
    "mo", "om", "no", "on", " qm",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Language:
    """One line of letters.txt."""

    code: str
    codecs: tuple[str, ...]
    """Python names of the encodings that its pages come in."""
    domains: tuple[str, ...]
    costs: Mapping[str, float]
    """-ln P of its letters outside ASCII and of the common signs."""
    words: frozenset[str]
    """Its commonest words, and those of English."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One encoding's reading of a sample."""

    codec: str
    language: str
    cost: float
    """Total, lower is likelier; comparable between readings of the same bytes only."""
    mean_cost: float
    """Cost of the characters alone, per byte outside ASCII: under 5 reads like text, over 8 like noise."""


@cache
def languages() -> tuple[Language, ...]:
    """All languages of letters.txt."""
    lines = files("mining.html").joinpath("letters.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    # English stands on pages of every language, and must count for no encoding more than for another.
    english = next(words for code, _, _, _, words in rows if code == "en")
    return tuple(_language(*row[:4], words=f"{row[4]} {english}") for row in rows)


@cache
def detectable_codecs() -> tuple[str, ...]:
    """The encodings that some language is known for."""
    return tuple(dict.fromkeys(codec for language in languages() for codec in language.codecs))


def cheapest(
    sample: bytes, candidates: Collection[str], *, gains: Mapping[str, float], hinted: Collection[str], prose: str
) -> list[Reading]:
    """The sample's readings by the candidates, likeliest first.

    gains: cost that a codec is let off for having been named, per candidate. hinted: languages named by the page.
    prose: lower-case ASCII text of the page, for its words.
    """
    num_high = len(sample) - len(sample.decode("ascii", "ignore")) or 1
    words = frozenset(_TOKEN.findall(prose))
    readings = (_reading(sample, codec, num_high, hinted, words) for codec in candidates)
    ranked = [Reading(one.codec, one.language, one.cost - gains.get(one.codec, 0.0), one.mean_cost) for one in readings]
    return sorted(ranked, key=lambda one: one.cost)


def read(payload: bytes, codec: str, errors: str = "strict") -> str:
    """The decoded bytes; windows-1258 composed, as it alone writes the tone marks of Vietnamese apart."""
    text = payload.decode(codec, errors)
    return unicodedata.normalize("NFC", text) if codec == "cp1258" else text


def _language(code: str, names: str, domains: str, letters: str, *, words: str) -> Language:
    weights = {letter: int(weight) for letter, weight in _WEIGHTED.findall(letters)}
    total = sum(weights.values())
    costs = dict(_SIGNS)
    for letter, weight in weights.items():
        share = _LETTER_SHARE * weight / total
        capital = letter.upper()
        if len(capital) == 1 and capital not in weights:
            costs[capital] = -math.log(share * _CAPITAL_SHARE)
        costs[letter] = -math.log(share)
    return Language(code, tuple(names.split()), tuple(domains.split()), costs, frozenset(words.split()))


def _reading(sample: bytes, codec: str, num_high: int, hinted: Collection[str], words: frozenset[str]) -> Reading:
    text = read(sample, codec, "replace")
    counts = Counter(text)
    wide = [(char, count) for char, count in counts.items() if char > "\x7f"]
    num_ascii = len(text) - sum(count for _, count in wide)
    usual = {char: _usual_cost(char, codec) for char, _ in wide}
    known = [language for language in languages() if codec in language.codecs or codec == "utf_8"]
    words = words.union(_TOKEN.findall(text.lower()))
    best, best_code, best_letters = math.inf, "", math.inf
    for language in known:
        costs = language.costs
        letters = sum(count * costs.get(char, usual[char]) for char, count in wide)
        gain = _WORD_GAIN * len(words & language.words) + _HINT_GAIN * (language.code in hinted)
        if letters - gain < best:
            best, best_code, best_letters = letters - gain, language.code, letters
    if not known:  # named by the page and nobody's usual encoding: any letters will do
        best = best_letters = sum(count * (4.5 if char.isalpha() else usual[char]) for char, count in wide)
    odd = 0.0 if codec in _WIDE else _shape_cost(text)
    return Reading(codec, best_code, best + odd + ASCII_COST * num_ascii, (best_letters + odd) / num_high)


@lru_cache(maxsize=1 << 16)
def _usual_cost(char: str, codec: str) -> float:
    """Cost of a character that the language is not known for."""
    if char in _SIGNS:
        return _SIGNS[char]
    category = unicodedata.category(char)
    if char == "\ufffd" or category in ("Cc", "Co", "Cn", "Cs"):
        return _REPLACED_COST
    if codec in _WIDE:
        return _wide_cost(char, codec)
    if category in ("Ll", "Lo", "Mn"):
        return 9.0
    return 10.0 if category == "Lu" else 9.5


def _wide_cost(char: str, codec: str) -> float:
    first_level, second_level, end, lowest_second = _WIDE[codec]
    encoded = char.encode(codec, "ignore")
    if len(encoded) != 2 or encoded[1] < lowest_second or encoded[0] >= end:
        return 13.0
    if encoded[0] < first_level:
        return 8.0 if unicodedata.category(char)[0] in "PS" else 10.5  # punctuation; kana, Greek, Cyrillic
    return 9.5 if encoded[0] < second_level else 12.0


class _Classes(dict[int, str]):
    """Classes of characters for `_shape_cost`, filled as they are met."""

    def __missing__(self, point: int) -> str:
        self[point] = kind = _class_of(chr(point))
        return kind


def _class_of(char: str) -> str:
    """A: ASCII capital; u, l: Latin; n, m: another alphabet; o: no case; q, g: quotes; s: sign; b: box; blank."""
    category = unicodedata.category(char)
    if category in ("Mn", "Mc"):
        return ""
    if char.isascii():
        return {"Ll": "l", "Lu": "A"}.get(category, " ")
    if category[0] == "L" and char not in "ªº":
        script = unicodedata.name(char, "").split(" ")[0].split("-")[0]
        if script in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "HALFWIDTH", "FULLWIDTH"):
            return " "  # stands beside any letter
        return {"Ll": "ml", "Lu": "nu"}.get(category, "oo")[script == "LATIN"]
    if char in "\xa0\xad·–—…":
        return " "
    if char in "„“”»«":
        return "g"
    if char == "’":
        return "q"
    return "b" if "\u2500" <= char < "\u25a0" else "s"


@cache
def _classes() -> _Classes:
    return _Classes()


def _shape_cost(text: str) -> float:
    classes = text.translate(_classes())
    num_odd = sum(classes.count(pattern) for pattern in _ODD)
    return _ODD_COST * num_odd - _CAPITALS_GAIN * sum(map(classes.count, ("nn", "uu", "Au")))
