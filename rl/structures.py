"""How written answers are put together: lists, tuples, sets, intervals, matrices, relations. Text in, parts out."""

import re
from dataclasses import dataclass

_COMMA = re.compile(r"\s*,\s*(?:and\b|or\b|和|或)?\s*")
_LIST = re.compile(r"\s*,\s*(?:and\b|or\b|和|或)?\s*|\s+(?:and|or)\s+|\s*(?:和|或者|或|以及|及|与|且)\s*")
_SEMICOLON = re.compile(r"\s*;\s*")
_UNION = re.compile(r"\s*\\cup(?![a-zA-Z])\s*|\s+U\s+")
_ALTERNATIVE = re.compile(r"\s*,?\s*(?:\bor\b|或者?)\s*|\s*\\cup(?![a-z])\s*")
_PLUS_MINUS = re.compile(r"\\pm(?![a-zA-Z])")
_MATRIX = re.compile(r"\\begin\{(?:[pb]?matrix|smallmatrix|array)\}(?:\{[lcr| ]*\})?(.*)\\end\{\w+\}", re.DOTALL)
_CASES = re.compile(r"(?:\\\{)?\s*\\begin\{(?:cases|aligned)\}(.*)\\end\{\w+\}", re.DOTALL)
_ROW_END = re.compile(r"\\\\(?:\[[^\]]*\])?|\\cr\b")
_SIGN = re.compile(r"=|<|>|\\le(?![a-z])|\\ge(?![a-z])|\\ne(?![a-z])|\\in(?![a-z])")
_NAME = re.compile(
    r"(?:\\[a-zA-Z]+\s*)?[A-Za-z]{0,3}(?:_(?:\w|\{[^{}]*\}))?'{0,2}(?:\^\{?-1\}?)?(?:\s*\([A-Za-z0-9, =]{1,9}\))?"
)
_SET_BUILDER = re.compile(r"\\?\{\s*([a-zA-Z])\s*(?:\\in\s*(?:\\mathbb\{R\}|R)\s*)?[|:]\s*(.*?)\\?\}", re.DOTALL)


@dataclass(frozen=True)
class Collection:
    """Items between brackets. `opening` is "" for a bare list, ";" for parts in order, "U" for a union."""

    opening: str
    items: list[str]
    closing: str

    @property
    def is_ordered(self) -> bool:
        return self.opening in ("(", "[", ";")


def collection(text: str) -> Collection | None:
    """The list, tuple, set, interval or union that a dressed text is; None for a single thing."""
    for mark, pattern in ((";", _SEMICOLON), ("U", _UNION), ("", _LIST)):
        items = [item for item in _split(text, pattern) if item]
        if len(items) > 1:
            return Collection(mark, [part for item in items for part in _both_signs(item)], "")
    opening = re.match(r"\\\{|[(\[{]", text)
    closing = re.search(r"(?:\\\}|[)\]}])$", text)
    if not opening or not closing or not _encloses(text):
        both = _both_signs(text)
        return Collection("", both, "") if len(both) > 1 else None
    inner = text[opening.end() : closing.start()]
    brackets = opening.group()[-1], closing.group()[-1]
    items = [item for item in _split(inner, _COMMA) if item]
    if brackets == ("{", "}"):
        return Collection("{", [part for item in items for part in _both_signs(item)], "}")
    if len(items) > 1 and "{" not in brackets and "}" not in brackets:
        return Collection(brackets[0], items, brackets[1])
    if len(items) == 1 and brackets in (("(", ")"), ("[", "]")) and relation(inner) is None:
        return collection(inner) or Collection("", [inner], "")
    return None


def _both_signs(text: str) -> list[str]:
    r"""3 \pm \sqrt 2 as its two values; with several signs, all upper and all lower."""
    if not _PLUS_MINUS.search(text):
        return [text]
    upper, lower = _PLUS_MINUS.sub("+", text), _PLUS_MINUS.sub("-", text)
    return [re.sub(r"(^|[=(])\s*\+\s*", r"\1", upper).replace("\\mp", "-"), lower.replace("\\mp", "+")]


def matrix(text: str) -> list[list[str]] | None:
    """The rows of a matrix environment, else None. Determinants (vmatrix) are values, not matrices."""
    match = _MATRIX.fullmatch(text.strip("()[] "))
    if not match:
        return None
    rows = [row for row in _ROW_END.split(match[1]) if row.strip()]
    return [[cell.strip() for cell in row.split("&")] for row in rows]


def joined_cases(text: str) -> str:
    """The lines of a cases environment as a list; any other text as it is."""
    match = _CASES.fullmatch(text)
    if not match:
        return text
    lines = (line.replace("&", "").strip(" ,") for line in _ROW_END.split(match[1]))
    return ", ".join(filter(None, lines))


@dataclass(frozen=True)
class Relation:
    """sides[0] signs[0] sides[1] ...; > and >= are turned round, so the signs are =, <, \\le, \\ne or \\in."""

    sides: list[str]
    signs: list[str]


def relation(text: str) -> Relation | None:
    """The equation, inequality or chain of them that a dressed text is, else None."""
    sides = _split(text, _SIGN)
    if len(sides) < 2 or not all(sides):
        return None
    signs = _SIGN.findall(_outside_brackets(text))
    if len(signs) != len(sides) - 1:
        return None
    if all(sign in (">", "\\ge") for sign in signs):
        turned = {">": "<", "\\ge": "\\le"}
        return Relation(sides[::-1], [turned[sign] for sign in reversed(signs)])
    return Relation(sides, signs)


def is_name(text: str) -> bool:
    """Whether a text names a quantity: x, a_n, f(x), \\theta, P(X=2), AB."""
    return bool(text) and bool(_NAME.fullmatch(text))


def assigned(text: str) -> str | None:
    """5 for x = 5 and for f(3) = 2 + 3 = 5; S for x \\in S; None for other relations."""
    found = relation(text)
    if found is None or set(found.signs) not in ({"="}, {"\\in"}) or not is_name(found.sides[0]):
        return None
    return found.sides[-1]


@dataclass(frozen=True)
class Region:
    """Intervals of the line; `variable` is "" where they were written as intervals."""

    intervals: list[str]
    variable: str


def region(text: str) -> Region | None:
    """The intervals that an interval, a union, an inequality in one variable or \\{x | ...\\} describes, else None."""
    text = text.strip()
    if match := _SET_BUILDER.fullmatch(text):
        text = match[2]
    if "\\in " in text and (named := assigned(text)) is not None:
        inner = region(named)
        return Region(inner.intervals, text.split("\\in ")[0].strip()) if inner else None
    parts = _split(text, _UNION)
    if all(re.fullmatch(r"[(\[].*[)\]]", part) and len(_split(part[1:-1], _COMMA)) == 2 for part in parts):
        return Region([re.sub(r"\+\s*\\infty", r"\\infty", part) for part in parts], "")
    intervals = [_interval(part) for part in _split(text, _ALTERNATIVE)]
    variables = {interval[0] for interval in intervals if interval}
    if not all(intervals) or len(variables) != 1:
        return None
    return Region([interval[1] for interval in intervals if interval], variables.pop())


def _interval(text: str) -> tuple[str, str] | None:
    """(variable, interval) of an inequality: 1 < x \\le 3 gives (x, (1,3])."""
    found = relation(text)
    if found is None or not set(found.signs) <= {"<", "\\le"}:
        return None
    bare = [place for place, side in enumerate(found.sides) if re.fullmatch(r"[a-zA-Z]|\\[a-z]+", side)]
    if "\\infty" in found.sides or len(bare) != 1 or (len(found.sides) == 3 and bare != [1]) or len(found.sides) > 3:
        return None
    place = bare[0]
    low, high = "(-\\infty", "\\infty)"
    if place > 0:
        low = ("(" if found.signs[place - 1] == "<" else "[") + found.sides[place - 1]
    if place + 1 < len(found.sides):
        high = found.sides[place + 1] + (")" if found.signs[place] == "<" else "]")
    return found.sides[place], f"{low},{high}"


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """The parts of a text between separators that stand outside all brackets."""
    parts, depth, start, place = [], 0, 0, 0
    while place < len(text):
        character = text[place]
        if depth == 0 and (match := separator.match(text, place)) and match.end() > place:
            parts.append(text[start:place])
            start = place = match.end()
            continue
        depth += (character in "([{") - (character in ")]}")
        place += 1
    return [part.strip() for part in [*parts, text[start:]]]


def _encloses(text: str) -> bool:
    """Whether the first bracket closes with the last character."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and character in ")]}":
            return place == len(text) - 1
    return False


def _outside_brackets(text: str) -> str:
    kept, depth = [], 0
    for character in text:
        depth -= character in ")]}"
        if depth == 0:
            kept.append(character)
        depth += character in "([{"
    return "".join(kept)
