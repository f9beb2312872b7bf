"""Which language a text is in, and whether the corpus wants it.

Formulas, code and addresses are cut out first: they read as English in any language. Chinese, Japanese, Korean and
the other languages that have a script to themselves are told by counting characters; only the rest asks a model.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from mining import compiled
from mining.page import KEEP, Verdict

_PREFIX_CHARS = 2_000
"""How much of a text is looked at for scripts."""
_MODEL_CHARS = 600
"""How much of it the model sees: on 1,000 labelled pages 300 to 2,000 characters make no difference."""


@dataclass(frozen=True)
class LanguageConfig:
    """Which languages a corpus takes."""

    languages: tuple[str, ...] = ("en", "zh")
    """ISO 639-1 codes."""
    min_score: float = 0.5
    """A language found with a lower score counts as undetermined."""
    keep_undetermined: bool = True
    """Keep pages whose language cannot be told: short ones, code, mostly formulas."""


_NOT_PROSE = re.compile(
    r"\$\$[^$]{1,4000}\$\$|\$[^$\n]{1,500}\$|https?://[!-~]+|[!-~]*[_{}<>=/\\@#|][!-~]*|\d+|`[^`\n]{1,200}`"
)
_LETTERS = re.compile(r"[^\W\d_]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa\u30fc\u31f0-\u31ff\uff66-\uff9f]")
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
_SCRIPTS = (
    ("el", re.compile("[\u0370-\u03ff\u1f00-\u1fff]")), ("he", re.compile("[\u0590-\u05ff]")),
    ("th", re.compile("[\u0e00-\u0e7f]")), ("ka", re.compile("[\u10a0-\u10ff]")),
    ("hy", re.compile("[\u0530-\u058f]")), ("ta", re.compile("[\u0b80-\u0bff]")),
    ("te", re.compile("[\u0c00-\u0c7f]")), ("kn", re.compile("[\u0c80-\u0cff]")),
    ("ml", re.compile("[\u0d00-\u0d7f]")), ("gu", re.compile("[\u0a80-\u0aff]")),
    ("pa", re.compile("[\u0a00-\u0a7f]")), ("si", re.compile("[\u0d80-\u0dff]")),
    ("km", re.compile("[\u1780-\u17ff]")), ("lo", re.compile("[\u0e80-\u0eff]")),
    ("my", re.compile("[\u1000-\u109f]")),
)  # fmt: skip
ENGLISH = frozenset((
    "the", "of", "and", "to", "is", "in", "that", "for", "we", "this", "with", "are", "it", "as", "be", "on", "by",
    "an", "from", "which", "you", "can", "or", "if", "at", "have", "not", "was", "will", "has", "its", "then", "there",
    "each", "all", "these", "where", "when", "how", "what", "your", "but", "they", "he", "his", "about", "more", "one",
    "into", "our", "i", "a", "so", "let", "do", "than", "any", "some", "their", "only", "no", "been", "using", "use",
))  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?")
LONGEST_ENGLISH = max(map(len, ENGLISH))
_MIN_LETTERS = 20
# Model codes without a two-letter code of their own, or dialects that the corpus counts with their language.
_FOLD = {"wuu": "zh", "yue": "zh", "lzh": "zh", "pcm": "en", "sco": "en", "zxx": "und", "nb": "no", "nn": "no"}


def identify(text: str) -> tuple[str, float]:
    """ISO 639-1 code, or `und`, of the text's main language, and the share or probability behind it in 0..1."""
    fast = compiled.characters
    text = text[:_PREFIX_CHARS]
    prose = fast.prose(text) if fast else prose_in_python(text)
    num_letters, num_han, num_kana, num_hangul, *others = fast.scripts(prose) if fast else scripts_in_python(prose)
    if prose.isascii():
        return _alphabetic(prose, num_letters)
    num_cjk = num_han + num_kana + num_hangul
    # A Chinese character carries about a word: three letters of Latin weigh as much.
    if 3 * num_cjk > num_letters - num_cjk and num_cjk >= 6:
        share = 3 * num_cjk / (3 * num_cjk + num_letters - num_cjk)
        if num_hangul > 0.3 * num_cjk:
            return "ko", share
        if num_kana > 0.1 * num_cjk:
            return "ja", share
        return "zh", share
    for (language, _), number in zip(_SCRIPTS, others, strict=True):
        if number > 0.5 * num_letters >= 4:
            return language, 1.0
    return _alphabetic(prose, num_letters)


def prose_in_python(text: str) -> str:
    """The text with a space for each formula, address, number and piece of code."""
    return _NOT_PROSE.sub(" ", text)


def scripts_in_python(text: str) -> tuple[int, ...]:
    """How many letters a text has, how many characters of Han, kana and hangul, and of each of _SCRIPTS."""
    if text.isascii():
        return len(_LETTERS.findall(text)), *[0] * (3 + len(_SCRIPTS))
    patterns = (_LETTERS, _HAN, _KANA, _HANGUL, *(script for _, script in _SCRIPTS))
    return tuple(len(pattern.findall(text)) for pattern in patterns)


def count_words_in_python(lower: str) -> tuple[int, int]:
    """How many words a text in lower case has, and how many of them are function words of English."""
    words = _WORD.findall(lower)
    return len(words), sum(word in ENGLISH for word in words)


def language_gate(language: str, score: float, cfg: LanguageConfig) -> Verdict:
    """Keep a page in one of the wanted languages; what cannot be told is kept where the config says so."""
    if language == "und" or score < cfg.min_score:
        return KEEP if cfg.keep_undetermined else Verdict(keep=False, reason="language_undetermined")
    if language in cfg.languages:
        return KEEP
    return Verdict(keep=False, reason=f"language_{language}")


def _alphabetic(prose: str, num_letters: int) -> tuple[str, float]:
    """Language of a text in a shared alphabet: English by its function words, the rest by the model."""
    if num_letters < _MIN_LETTERS:
        return "und", 0.0
    lower, fast = prose.lower(), compiled.characters
    num_words, num_english = fast.count_words(lower, ENGLISH, LONGEST_ENGLISH) if fast else count_words_in_python(lower)
    share = num_english / max(num_words, 1)
    # Running English has 35-45% of these words, other languages in Latin script under 15% (a, i, in, was, on, or ...).
    if num_words >= 12 and share >= 0.25:
        return "en", min(1.0, 0.6 + share)
    language, score = _model().classify(prose.strip()[:_MODEL_CHARS])
    language = _FOLD.get(language, language)
    if len(language) != 2 or score < 0.5:
        return "und", float(score)
    return language, float(score)


@cache
def _model() -> Any:
    """The statistical model, once a process (about a second)."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
