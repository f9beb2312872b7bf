"""Text to shingles: the sets whose overlap says that two pages are near-duplicates.

Safe for mathematics: numbers, operators, brackets and the case of every letter stay, so that two worksheets with
other numbers, `x^2-1` and `x^2+1`, or `\\Gamma` and `\\gamma` are different texts. Only white space, full-width
forms and the punctuation of sentences are folded away.
"""

import re
import unicodedata
from functools import lru_cache

import numpy as np
import xxhash

_FULL_WIDTH = re.compile("[\uff01-\uff5e\u3000]")
_TO_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}

# Alternatives in order: LaTeX command, number, run of letters, one ideograph or kana, any other sign.
# A comma or full stop counts only inside `3.14`; elsewhere it is the punctuation of a sentence.
_TOKEN = re.compile(
    r"\\[A-Za-z]+"
    r"|[0-9]+(?:[.,][0-9]+)*"
    r"|[A-Za-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0300-\u1fff\u2c00-\u2dff\ua000-\ud7ff]+"
    r"|[^\s.,;:?\"\u201c\u201d\u2018\u2019\u00ab\u00bb\u3001\u3002\u00b7\u2026]"
)


def _tokens(text: str) -> list[str]:
    if not text.isascii():
        if _FULL_WIDTH.search(text):
            text = text.translate(_TO_HALF_WIDTH)
        if not unicodedata.is_normalized("NFC", text):
            text = unicodedata.normalize("NFC", text)
    return _TOKEN.findall(text)


@lru_cache(maxsize=1 << 17)
def _token_hash(token: str) -> int:
    return xxhash.xxh3_64_intdigest(token.encode("utf-8", "surrogatepass"))


# Odd multipliers, one a place in the window: the sum over a window then depends on the order of its tokens.
_PLACES = np.array([xxhash.xxh3_64_intdigest(b"place", seed=i) | 1 for i in range(64)], dtype=np.uint64)


def _mix(hashes: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: every input bit reaches every output bit."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def shingles(text: str, n: int = 5) -> list[int]:
    """The sorted, distinct 63-bit hashes of the text's runs of `n` tokens (non-negative as a signed 64-bit integer).

    Tokens are words, numbers, LaTeX commands, single signs, and single characters of Chinese and Japanese. A text of
    fewer than `n` tokens has one shingle, made of all of it: equal short pages match, different ones do not. A text
    without tokens has none. Equal on every machine and in every process. n: 1..64.
    """
    tokens = _tokens(text)
    if not tokens:
        return []
    hashes = np.fromiter(map(_token_hash, tokens), dtype=np.uint64, count=len(tokens))
    width = min(n, len(tokens))
    windows = len(tokens) - width + 1
    sums = hashes[:windows] * _PLACES[0]
    for place in range(1, width):
        sums = sums + hashes[place : place + windows] * _PLACES[place]
    ordered = np.sort(_mix(sums) >> np.uint64(1))
    fresh = np.ones(windows, dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    return ordered[fresh].tolist()


def text_digest(text: str) -> str:
    """32 hex digits that two texts share when they differ in white space only (xxh3-128)."""
    return xxhash.xxh3_128_hexdigest(" ".join(text.split()).encode("utf-8", "surrogatepass"))
