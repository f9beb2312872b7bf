"""Text to shingles: the sets whose overlap says that two pages are near-duplicates.

Safe for mathematics: numbers, operators, brackets and the case of every letter stay, so that two worksheets with
other numbers, `x^2-1` and `x^2+1`, or `\\Gamma` and `\\gamma` are different texts. Only white space, full-width
forms and the punctuation of sentences are folded away.

A text is read as an array of code points, never as a list of words. Results are integers made by wrapping 64-bit
arithmetic, so they are equal on every machine; changing any constant here changes every band index on disk.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xxhash

_FULL_WIDTH = re.compile("[\uff01-\uff5e\u3000]")
_TO_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}

# Kinds of characters. A sign is a token by itself: operators, brackets, and each ideograph or kana.
_GAP, _LETTER, _DIGIT, _SIGN, _BACKSLASH, _POINT = range(6)
_LETTERS = (
    ("A", "Z"), ("a", "z"), ("ª", "ª"), ("µ", "µ"), ("º", "º"), ("À", "Ö"), ("Ø", "ö"), ("ø", "\u02ff"),
    ("\u0300", "\u1fff"), ("\u2c00", "\u2dff"), ("\ua000", "\ud7ff"),
)  # fmt: skip
_SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_PUNCTUATION = ';:?"“”‘’«»、。·…'
_NUM_CODE_POINTS = 0x110000


@lru_cache(maxsize=1)
def _kinds() -> np.ndarray:
    """(code points,) uint8: the kind of every character."""
    kinds = np.full(_NUM_CODE_POINTS, _SIGN, dtype=np.uint8)
    for first, last in _LETTERS:
        kinds[ord(first) : ord(last) + 1] = _LETTER
    kinds[ord("0") : ord("9") + 1] = _DIGIT
    kinds[[ord(char) for char in _SPACES + _PUNCTUATION]] = _GAP
    kinds[ord("\\")] = _BACKSLASH
    kinds[[ord("."), ord(",")]] = _POINT
    return kinds


_BASE = 0x9E3779B97F4A7C15  # odd, so it has an inverse modulo 2^64


@lru_cache(maxsize=4)
def _powers(size: int) -> tuple[np.ndarray, np.ndarray]:
    """(size,) uint64 each: the powers of the base, and of its inverse."""
    powers, inverses = np.full(size, _BASE, dtype=np.uint64), np.full(size, pow(_BASE, -1, 1 << 64), dtype=np.uint64)
    powers[0] = inverses[0] = 1
    return np.multiply.accumulate(powers), np.multiply.accumulate(inverses)


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text, in order."""

    hashes: np.ndarray
    """(T,) uint64, one a token."""
    is_number: np.ndarray
    """(T,) bool: the token is a number such as 12, 3.14 or 1,000."""


def tokens(text: str) -> Tokens:
    """Words, numbers, LaTeX commands, single signs, and single characters of Chinese and Japanese, as hashes.

    A comma or full stop counts only between digits; elsewhere it is the punctuation of a sentence.
    """
    codes = _code_points(text)
    kinds = _kinds()[codes]
    points = np.flatnonzero(kinds == _POINT)
    commands = np.flatnonzero(kinds == _BACKSLASH)
    if len(points):
        inner = points[(points > 0) & (points < len(kinds) - 1)]
        inner = inner[(kinds[inner - 1] == _DIGIT) & (kinds[inner + 1] == _DIGIT)]
        kinds[points] = _GAP
        kinds[inner] = _DIGIT
    if len(commands):
        kinds[commands] = _SIGN
        commands = commands[commands < len(kinds) - 1]
        commands = commands[kinds[commands + 1] == _LETTER]
        kinds[commands] = _LETTER
    begins = kinds == _SIGN
    begins[1:] |= kinds[1:] != kinds[:-1]
    begins[:1] = True
    begins[commands] = True
    begins &= kinds != _GAP
    starts = np.flatnonzero(begins)
    if len(starts) == 0:
        return Tokens(np.empty(0, np.uint64), np.empty(0, bool))
    # The sum of code * base^place over a token, moved to place 0; what lies between tokens counts as zeros.
    powers, inverses = _powers(1 << max(16, len(codes).bit_length()))
    terms = np.where(kinds == _GAP, 0, codes).astype(np.uint64)
    terms *= powers[: len(codes)]
    hashes = np.add.reduceat(terms, starts) * inverses[starts]
    return Tokens(_mix(hashes), kinds[starts] == _DIGIT)


def _code_points(text: str) -> np.ndarray:
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    if _FULL_WIDTH.search(text):
        text = text.translate(_TO_HALF_WIDTH)
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


# Odd multipliers, one a place in the window: the sum over a window then depends on the order of its tokens.
_PLACES = np.array([xxhash.xxh3_64_intdigest(b"place", seed=i) | 1 for i in range(64)], dtype=np.uint64)


def _mix(hashes: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: every input bit reaches every output bit."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def windows(found: Tokens, n: int) -> np.ndarray:
    """(W,) uint32: a hash for each run of `n` tokens, in order, repeated runs repeated. n: 1..64.

    A text of fewer than `n` tokens is one run, made of all of it; a text without tokens has none.
    """
    num_tokens = len(found.hashes)
    if num_tokens == 0:
        return np.empty(0, np.uint32)
    width = min(n, num_tokens)
    count = num_tokens - width + 1
    sums = found.hashes[:count] * _PLACES[0]
    for place in range(1, width):
        sums += found.hashes[place : place + count] * _PLACES[place]
    return (_mix(sums) >> np.uint64(32)).astype(np.uint32)


def shingles(found: Tokens, n: int) -> np.ndarray:
    """The sorted, distinct shingles of `n` tokens, int32 in 0..2^31-1; odd where the run has a number in its middle.

    Two different shingles of a page share a value with probability 2^-30.
    """
    runs = windows(found, n)
    if len(runs) == 0:
        return np.empty(0, np.int32)
    middle = min(n, len(found.hashes)) // 2
    values = (runs >> np.uint32(1) & np.uint32(0x7FFFFFFE)) | found.is_number[middle : middle + len(runs)]
    values.sort()
    fresh = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=fresh[1:])
    return values[fresh].astype(np.int32)


def text_digest(text: str) -> str:
    """32 hex digits that two texts share when they differ in white space only (xxh3-128)."""
    return xxhash.xxh3_128_hexdigest(" ".join(text.split()).encode("utf-8", "surrogatepass"))
