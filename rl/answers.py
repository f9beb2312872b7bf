"""Final answers: found in a worked text, brought to one form, read as exact numbers. English and Chinese."""

import re
import unicodedata
from fractions import Fraction

_NUMBER = r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)"
_NUMBER_OR_FRACTION = re.compile(rf"{_NUMBER}(?:\s*/\s*\d+)?\s*%?")
_PHRASES = re.compile(r"(?:answer\s*(?:is|:|=)|####|答案(?:是|为|等于|:)|答:)\s*:?\s*", re.IGNORECASE)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=[{\s\d])")
_CJK_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_CJK_SCALES = {"十": 10, "百": 100, "千": 1000}
_CJK_NUMBER = re.compile(r"[负]?[零〇一二两三四五六七八九十百千万亿]+(?:点[零〇一二三四五六七八九]+)?")


def final_answer(text: str) -> str | None:
    """The last answer that `text` states, as written, or None.

    In order: the last complete \\boxed{}; what follows the last "answer is", "答案是" or "####"; the last number.
    """
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed.strip()
    text = _half_width(text)
    phrases = list(_PHRASES.finditer(text))
    if phrases:
        stated = _sentence(text[phrases[-1].end() :])
        if stated:
            return stated
    numbers = _NUMBER_OR_FRACTION.findall(text)
    return numbers[-1].strip(" ,") if numbers else None


def last_boxed(text: str) -> str | None:
    """The content of the last \\boxed{} whose braces close, nesting respected, or None."""
    for match in reversed(list(_BOX.finditer(text))):
        rest = text[match.end() :]
        if not rest.startswith("{"):
            return rest.split()[0] if rest.split() else None
        depth = 0
        for place, character in enumerate(rest):
            if character in "{}" and rest[place - 1 : place] != "\\":
                depth += 1 if character == "{" else -1
            if depth == 0:
                return rest[1:place]
    return None


def normalise(answer: str) -> str:
    """One spelling for answers that differ only in typography, thousands commas, units or LaTeX dress."""
    text = _half_width(answer).strip()
    text = re.sub(r"\\(?:left|right|,|!|;|:|quad|displaystyle)(?![a-zA-Z])\s*", "", text)
    text = re.sub(r"\\[()\[\]]|\\?\$", "", text)
    text = re.sub(r"\\(?:text|mbox|mathrm|textbf|mathbf)\s*\{([^{}]*)\}", r" \1 ", text)
    text = re.sub(r"\\[dt]frac", r"\\frac", text).replace("\\%", "%").replace("\\cdot", "*")
    text = re.sub(r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|°|\\degree", "", text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"^\s*[¥€£元]\s*(?=[\d.])", "", text)
    text = text.strip(" 。.，,;；:：!！?？\n\t")
    text = re.sub(r"^[A-Za-z]\w?\s*=\s*(?=\S)", "", text)  # x = 5
    return _without_unit(" ".join(text.split()))


def number(answer: str) -> Fraction | None:
    """The exact value of a normalised answer that is one number (integer, decimal, fraction, percent), else None."""
    text = answer.replace(" ", "")
    percent = text.endswith("%")
    text = text.removesuffix("%")
    sign = -1 if text.startswith("-") else 1
    body = text.lstrip("+-") if text[:2] not in ("--", "+-", "-+", "++") else text
    value = _plain_number(body)
    if value is None:
        value = _cjk_number(text)
        sign = 1
    if value is None:
        return None
    return sign * value / (100 if percent else 1)


def _plain_number(text: str) -> Fraction | None:
    if re.fullmatch(r"\d+(?:\.\d*)?|\.\d+", text):
        return Fraction(text)
    match = re.fullmatch(r"(\d+)?(?:\\frac\{(-?\d+)\}\{(\d+)\})|(\d+)/(\d+)", text)
    if not match:
        return None
    whole, top, bottom, left, right = match.groups()
    if left is not None:
        return Fraction(int(left), int(right)) if int(right) else None
    return int(whole or 0) + Fraction(int(top), int(bottom)) if int(bottom) else None


def _cjk_number(text: str) -> Fraction | None:
    """十八 -> 18, 一百零五 -> 105, 三点五 -> 7/2; None for anything else."""
    if not _CJK_NUMBER.fullmatch(text):
        return None
    sign = -1 if text.startswith("负") else 1
    whole, _, decimals = text.removeprefix("负").partition("点")
    if not any(character in "十百千万亿" for character in whole):
        if len(whole) > 1 and "两" in whole:
            return None
        value = Fraction("".join(str(_CJK_DIGITS[character]) for character in whole))
    else:
        value = Fraction(_cjk_integer(whole))
    if decimals:
        value += Fraction("0." + "".join(str(_CJK_DIGITS[character]) for character in decimals))
    return sign * value


def _cjk_integer(text: str) -> int:
    for mark, size in (("亿", 10**8), ("万", 10**4)):
        high, found, low = text.rpartition(mark)
        if found:
            return _cjk_integer(high) * size + (_cjk_integer(low) if low else 0)
    total, digit = 0, 0
    for character in text:
        if character in _CJK_SCALES:
            total += (digit or 1) * _CJK_SCALES[character]
            digit = 0
        else:
            digit = _CJK_DIGITS[character]
    return total + digit


def _half_width(text: str) -> str:
    """Full-width digits and signs as ASCII; the ideographic full stop stays."""
    return unicodedata.normalize("NFKC", text).replace("−", "-").replace("–", "-").replace("﹣", "-")


def _sentence(text: str) -> str:
    """Up to the end of the sentence; a point inside a number does not end it."""
    match = re.match(r"(?:[^\n。.;；!]|\.(?=\d))*", text)
    return match.group().strip(" ,，:：*") if match else ""


def _without_unit(text: str) -> str:
    """18元 -> 18, 18 apples -> 18, $18 -> 18; an answer with more than one number, or letters first, stays."""
    match = re.fullmatch(
        rf"(?P<n>{_NUMBER}(?:\s*/\s*\d+)?|-?\d*\s*\\frac\{{-?\d+\}}\{{\d+\}})\s*(?P<unit>%|[^\d%+*/^=<>(){{}}\\_-]*)"
        r"(?:\^\{?[23]\}?)?",
        text,
    )
    if match:
        unit = match["unit"]
        # one letter right after a number is algebra (3x), not a unit; m, g, s and the like take a space
        if unit == "%":
            return f"{match['n'].strip()}%"
        if not re.fullmatch(r"[a-zA-Z]", unit) or text[len(match["n"]) :].startswith(" "):
            return match["n"].strip()
        return text
    match = re.match(rf"({_CJK_NUMBER.pattern})(?=[\u4e00-\u9fff]?$)", text)
    return match.group(1) if match else text
