"""Exact values of written quantities: numerals of both languages, fractions, percents, powers of ten, units."""

import re
from fractions import Fraction
from functools import cache

# An exponent above this is no honest answer, and 10 ** exponent would fill the memory.
_MAX_EXPONENT = 400
_MAX_CHARS = 400  # int() refuses more than 4,300 digits; no answer needs a tenth of that

DECIMAL = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?: \d{3})+(?!\d)|\d+(?:\.\d*)?|\.\d+)"
_FRACTION = rf"\\frac\{{\s*[-+]?\s*{DECIMAL}\s*\}}\{{\s*[-+]?\s*{DECIMAL}\s*\}}"
_POWER = r"(?:\s*(?:\\cdot|[x×*])\s*10\s*\^\s*(?:\{\s*([-+]?\d+)\s*\}|\(\s*([-+]?\d+)\s*\)|([-+]?\d+))|[eE]([-+]?\d+))"
_DECIMAL = re.compile(DECIMAL)
_RATIO = re.compile(rf"([-+]?\s*{DECIMAL})\s*(?:/|\\div)\s*([-+]?\s*{DECIMAL})")
_LATEX_RATIO = re.compile(rf"\\frac\{{\s*([-+]?\s*{DECIMAL})\s*\}}\{{\s*([-+]?\s*{DECIMAL})\s*\}}")
_MIXED = re.compile(rf"(\d+)\s*(?:又|\+)?\s*({_FRACTION})|(\d+)(?:\s+|\s*又\s*)(\d+\s*/\s*\d+)")
_SCIENTIFIC = re.compile(rf"({DECIMAL}){_POWER}")
_INTEGER_POWER = re.compile(r"(\d+)\s*\^\s*(?:\{\s*(-?\d+)\s*\}|(-?\d+))")
NUMERAL = re.compile(  # a number at the beginning of a quantity, for the unit to follow
    rf"[-+]?\s*(?:\d*\s*{_FRACTION}|\d+\s+\d+/\d+(?!\d)|{DECIMAL}(?:{_POWER}|\s*/\s*\d+(?![\d.]))?)"
)

_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_SCALES = {"十": 10, "百": 100, "千": 1000}
_BIG_SCALES = {"亿": 10**8, "万": 10**4}
CHINESE_NUMERAL = "[零〇一二两三四五六七八九十百千万亿点]+"
_CHINESE_INTEGER = re.compile("[零〇一二两三四五六七八九十百千万亿]+")
_SCALED = re.compile(rf"({DECIMAL})\s*([万亿]+)")

_TO_NINETEEN = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_ENGLISH = {word: value for value, word in enumerate(_TO_NINETEEN.split(" "))}
_NAMES_OF_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: 10 * tens for tens, word in enumerate(_NAMES_OF_TENS.split(" "), start=2)}


def number(text: str) -> Fraction | None:
    """The exact value of a text that is one number and nothing else, else None.

    Integers, decimals, thousands commas, a/b, LaTeX fractions, mixed numbers, powers of ten, percents (as their
    value), and Chinese or English numerals: 十八, 百分之二十, 五分之三, 负三点五, 18万, twenty-one.
    """
    text = text.strip()
    if not text or len(text) > _MAX_CHARS:
        return None
    if text.endswith("%"):
        value = number(text[:-1]) if "%" not in text[:-1] else None
        return None if value is None else value / 100
    if text[0] in "-+负":
        rest = text[1:].lstrip()
        value = None if rest[:1] in ("-", "+", "负", "") else _unsigned(rest)
        return value if value is None or text[0] == "+" else -value
    return _unsigned(text)


def _unsigned(text: str) -> Fraction | None:
    if text.isdecimal():
        return Fraction(int(text))
    if text[0] in "0123456789.\\":
        return _western(text)
    return _chinese(text) if text[0] > "\u2fff" else _english(text.lower())


def _western(text: str) -> Fraction | None:
    if _DECIMAL.fullmatch(text):
        return _decimal(text)
    if match := _RATIO.fullmatch(text) or _LATEX_RATIO.fullmatch(text):
        top, bottom = (_signed(part) for part in match.groups())
        return top / bottom if bottom else None
    if match := _MIXED.fullmatch(text):
        whole, part = (match[1], match[2]) if match[1] else (match[3], match[4])
        value = _western(part)
        return None if value is None or value < 0 else int(whole) + value
    if match := _SCIENTIFIC.fullmatch(text):
        exponent = int(next(group for group in match.groups()[1:] if group is not None))
        return _decimal(match[1]) * Fraction(10) ** exponent if abs(exponent) <= _MAX_EXPONENT else None
    if match := _INTEGER_POWER.fullmatch(text):
        base, exponent = int(match[1]), int(match[2] or match[3])
        # the size in bits is known before the power is taken
        small = abs(exponent) * base.bit_length() <= 4 * _MAX_EXPONENT
        return Fraction(base) ** exponent if small and (base or exponent > 0) else None
    if match := _SCALED.fullmatch(text):
        return _decimal(match[1]) * _big_scale(match[2])
    return None


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").rstrip(".") or "0")


def _signed(text: str) -> Fraction:
    sign = -1 if text.startswith("-") else 1
    return sign * _decimal(text.lstrip("+-").strip())


def _chinese(text: str) -> Fraction | None:
    """十八 -> 18, 一百零五 -> 105, 三点五 -> 7/2, 五分之三 -> 3/5, 一又五分之四 -> 9/5, 百分之二十 -> 1/5."""
    if text in ("半", "一半"):
        return Fraction(1, 2)
    whole, mark, part = text.partition("又")
    if mark:
        whole_value, part_value = _chinese_or_digits(whole), _chinese_or_digits(part)
        return None if whole_value is None or part_value is None else whole_value + part_value
    bottom, mark, top = text.partition("分之")
    if mark:
        bottom_value, top_value = _chinese_or_digits(bottom), _chinese_or_digits(top)
        return None if not bottom_value or top_value is None else top_value / bottom_value
    whole, point, decimals = text.partition("点")
    if not _CHINESE_INTEGER.fullmatch(whole) or (point and any(c not in _DIGITS for c in decimals or "点")):
        return None
    if any(character in _SCALES or character in _BIG_SCALES for character in whole):
        value = Fraction(_chinese_integer(whole))
    elif len(whole) > 1 and "两" in whole:
        return None
    else:  # digit by digit: 二〇二四
        value = Fraction("".join(str(_DIGITS[character]) for character in whole))
    if decimals:
        value += Fraction("0." + "".join(str(_DIGITS[character]) for character in decimals))
    return value


def _chinese_or_digits(text: str) -> Fraction | None:
    if not text:
        return None
    if text == "百":
        return Fraction(100)
    return _chinese(text) if text[0] > "\u2fff" else _western(text) if text[0].isdecimal() else None


def _chinese_integer(text: str) -> int:
    for mark, size in _BIG_SCALES.items():
        high, found, low = text.rpartition(mark)
        if found:
            rest = _DIGITS[low] * size // 10 if low in _DIGITS else _chinese_integer(low)  # 一万二 is 12,000
            return (_chinese_integer(high) if high else 1) * size + rest
    total, digit, scale = 0, 0, 1
    for character in text:
        if character in _SCALES:
            scale = _SCALES[character]
            total += (digit or 1) * scale
            digit = 0
        else:
            digit = _DIGITS[character]
            scale = scale if digit else 1
    return total + digit * max(1, scale // 10)  # 一百五 is 150, 一百零五 is 105


def _big_scale(text: str) -> int:
    scale = 1
    for character in text[:2]:  # 万亿 is the largest in use
        scale *= _BIG_SCALES[character]
    return scale


def _english(text: str) -> Fraction | None:
    tens, _, ones = text.replace(" ", "-").partition("-")
    if not ones:
        value = _ENGLISH.get(text, _TENS.get(text))
        return None if value is None else Fraction(value)
    if tens in _TENS and 0 < _ENGLISH.get(ones, 0) < 10:
        return Fraction(_TENS[tens] + _ENGLISH[ones])
    return None


_UNITS = {
    "length": {
        "mm|millimeter|millimetre|毫米": "1/1000",
        "cm|centimeter|centimetre|厘米": "1/100",
        "dm|decimeter|decimetre|分米": "1/10",
        "m|meter|metre|米": "1",
        "km|kilometer|kilometre|千米|公里": "1000",
        "in|inch|inches|英寸": "0.0254",
        "ft|foot|feet|英尺": "0.3048",
        "yd|yard|码": "0.9144",
        "mi|mile|英里": "1609.344",
    },
    "mass": {
        "mg|milligram|毫克": "1/1000",
        "g|gram|克": "1",
        "kg|kilogram|千克|公斤": "1000",
        "t|ton|tonne|吨": "1000000",
        "oz|ounce|盎司": "28.349523125",
        "lb|pound|磅": "453.59237",
    },
    "time": {
        "s|sec|second|秒": "1",
        "min|minute|分钟": "60",
        "h|hr|hour|小时": "3600",
        "day|天": "86400",
        "week|周|星期": "604800",
    },
    "volume": {"mL|ml|milliliter|millilitre|毫升": "1/1000", "L|l|liter|litre|升": "1"},
    "dollar": {"cent|美分": "1/100", "dollar|usd|us|buck|美元": "1"},
    "yuan": {"角": "1/10", "元|yuan|rmb|cny|¥|块|块钱|元钱|人民币": "1"},
    "angle": {"degree|deg|度|°": "1"},
}


@cache
def _base_units() -> dict[str, tuple[str, Fraction]]:
    """Every spelling, plurals too -> (dimension, factor)."""
    found = {}
    for dimension, table in _UNITS.items():
        for names, factor in table.items():
            for name in names.split("|"):
                found[name] = (dimension, Fraction(factor))
                if len(name) > 2 and name.isascii():
                    found[name + "s"] = (dimension, Fraction(factor))
    return found


_AREA = re.compile(r"(?:square\s+|sq\.?\s+|平方)(.+)|(.+?)\s*\^?\s*(?:\{\s*2\s*\}|2)")
_VOLUME = re.compile(r"(?:cubic\s+|cu\.?\s+|立方)(.+)|(.+?)\s*\^?\s*(?:\{\s*3\s*\}|3)")


def unit(text: str) -> tuple[str, Fraction] | None:
    """(dimension, factor to its base unit) of a unit as written; None for one that is not in the table.

    平方厘米, cm^2 and square centimeters -> ("length^2", 1/10000); apples -> None.
    """
    text = text.strip(" .~")
    found = _base_units().get(text) or _base_units().get(text.lower())
    if found:
        return found
    for power, pattern in ((2, _AREA), (3, _VOLUME)):
        if match := pattern.fullmatch(text):
            base = unit(match[1] or match[2])
            return None if base is None or "^" in base[0] else (f"{base[0]}^{power}", base[1] ** power)
    return None
