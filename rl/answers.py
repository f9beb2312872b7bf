"""Final answers: found in a worked text and brought to one form of writing. English and Chinese."""

import re
import unicodedata
from functools import lru_cache

from rl.quantities import CHINESE_NUMERAL, NUMERAL, number, unit

_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*(?=[{\s\d])")
_MOST_BOXES = 40  # looked at, from the end
_BETWEEN_BOXES = re.compile(  # two boxes that are one answer: "\boxed{1} or $x = \boxed{2}$"
    r"[\s$.]*(?:\\[)\]])?\s*(?:,|;|、|，|；|(?:,\s*)?(?:and|or)\b|和|或|及|以及|\\text\s*\{\s*(?:,\s*)?(?:and|or)\s*\})"
    r"\s*(?:and\b|or\b)?\s*(?:\\[(\[])?[\s$]*(?:\\?[A-Za-z]\w{0,3}\s*=\s*)?"
)
_PHRASES = re.compile(
    r"####|\banswer\b\W{0,3}(?:[a-z]+ ){0,5}?\W{0,3}(?:is|are|must be|should be|would be|equals|:|=)"
    r"|答案?\W{0,3}(?:应该|应|就)?(?:是|为|等于|:)|故?(?:应|所以)?选(?:择|项)?(?=\W{0,3}[A-K])",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:\s|[:：,*_]|therefore\b|thus\b|then\b|simply\b|just\b|clearly\b|indeed\b|option\b|choice\b|选项|选)+",
    re.IGNORECASE,
)
_AFTERTHOUGHT = re.compile(
    r",?\s+(?:because|since|which|so|where|while|as (?:we|it|the)|not|but)\b.*"
    r"|[,;]\s*(?:no|we|it|this|that|and (?:we|so|the)|因为|所以|其中).*",
    re.IGNORECASE | re.DOTALL,
)
_NUMBER_IN_TEXT = re.compile(r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*/\s*\d+)?\s*\\?%?")
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)

_STRING = r"(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")"
_PYTHON_STRING = re.compile(_STRING, re.DOTALL)
_PYTHON_LIST = re.compile(rf"\[\s*{_STRING}(?:\s*,\s*{_STRING})*\s*\]", re.DOTALL)
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x2212: "-", 0x2013: "-", 0xFE63: "-"}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_CIRCLED = {chr(0x2460 + place): f"({place + 1})" for place in range(20)}
_SIGNS = "×·⋅∙÷±∓≤⩽≥⩾≠≈∞∪∩∈∅→∠√πθαβλω"
_SIGN_COMMANDS = (
    "times cdot cdot cdot div pm mp le le ge ge ne approx infty cup cap in emptyset to angle sqrt pi theta alpha beta "
    "lambda omega"
)
_SYMBOLS = str.maketrans(
    dict(zip("−–﹣⁄∕∶′、“”⟨⟩", '---//:\',""()', strict=True))
    | {sign: f"\\{command} " for sign, command in zip(_SIGNS, _SIGN_COMMANDS.split(" "), strict=True)}
    | {"°": "^{\\circ}"}
)
_TEXT = r"\\(?:text(?:bf|it|rm|normal)?|mbox|hbox|math(?:rm|bf|it|sf)|boldsymbol|operatorname|bold)\s*\{([^{}]*)\}"
_SYNONYMS: list[tuple[str, str]] = [
    (
        r"(?<!\\)\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|quad|qquad|hfill|rm|bf|it)(?![a-zA-Z])",
        " ",
    ),
    (r"(?<=\d)(?:\{,\}|,\s*\\!|\\,)(?=\d{3}(?!\d))", ""),  # thousands as TeX writes them
    (r"(?<!\\)\\[,;:>]|~|(?<!\\)\\(?=\s)|\\hspace\{[^{}]*\}", " "),
    (r"\\!", ""),
    (r"(?<!\\)\\[()\[\]]|\\?\$", ""),
    (r"\\[dtc]frac(?![a-z])", r"\\frac"),
    (r"\\(?:leqslant|leq)(?![a-z])|<=|\\leqq", r"\\le "),
    (r"\\(?:geqslant|geq)(?![a-z])|>=", r"\\ge "),
    (r"\\neq(?![a-z])|!=", r"\\ne "),
    (r"\\lt(?![a-z])", "<"),
    (r"\\gt(?![a-z])", ">"),
    (r"\\(?:times|cdot|ast)(?![a-z])|(?<!\*)\*(?!\*)", r"\\cdot "),
    (r"\*\*", "^"),
    (r"\\(?:varnothing|empty)(?![a-z])|\\\{\s*\\\}", r"\\emptyset "),
    (r"\\(?:infin|infty)(?![a-z])|\boo\b", r"\\infty "),
    (r"\\lbrace(?![a-z])", r"\\{"),
    (r"\\rbrace(?![a-z])", r"\\}"),
    (r"\\langle(?![a-z])", "("),
    (r"\\rangle(?![a-z])", ")"),
    (r"\\(?:mid|vert|lvert|rvert)(?![a-z])", "|"),
    (r"\\mathbb\s*\{?\s*([A-Z])\s*\}?", r"\\mathbb{\1}"),
    (r"\\textcircled\s*\{?\s*(\d+)\s*\}?", r"(\1)"),
    (r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?(?:\s*([CF])(?![a-z]))?|\\(?:degree|textdegree)(?![a-z])", "°"),
    (r"\\%|\s*\bper\s?cent(?:age)?\b", "%"),
    (r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}"),
    (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
    (r"(\\frac\s*\{[^{}]*\})\s*(\d|[a-zA-Z])", r"\1{\2}"),
    (r"\\frac\s+\{", r"\\frac{"),
    (r"(\\frac\{[^{}]*\})\s+\{", r"\1{"),
    (r"\\sqrt\s*(\d+|[a-zA-Z])", r"\\sqrt{\1}"),
    (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"(?<![\\a-zA-Z])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"([\^_])\s*\{\s*([a-zA-Z0-9])\s*\}", r"\1\2"),
]
_REWRITES = [(re.compile(pattern, re.IGNORECASE if "cent" in pattern else 0), new) for pattern, new in _SYNONYMS]


def final_answer(text: str, *, boxed_only: bool = False) -> str | None:
    """The last answer that `text` states, as written, or None.

    In order: the last complete \\boxed{} (several joined by "and", "or" or a comma are one list); what follows the
    last "answer is", "答案是" or "####"; the formula that ends the text; the last number.
    """
    boxed = last_boxed(text)
    if boxed is not None or boxed_only:
        return boxed
    text = _BOX.split(text, maxsplit=1)[0]  # a box that never closes was cut: 18 may have become 180
    text = re.sub(r"\*\*(?=\S)([^*\n]+?)\*\*", r"\1", text.translate(_HALF_WIDTH))
    phrases = list(_PHRASES.finditer(text))
    if phrases:
        rest = text[phrases[-1].end() :]
        lead = _LEAD.match(rest)
        stated = _sentence(rest[lead.end() :] if lead else rest)
        if stated:
            return stated
    last_line = text.strip()[-300:]
    formulas = list(_FORMULA.finditer(last_line))
    if formulas and len(last_line) - formulas[-1].end() < 3:
        formula = next(group for group in formulas[-1].groups() if group)
        return formula.strip()
    numbers = _NUMBER_IN_TEXT.findall(text)
    return numbers[-1].strip(" ,") if numbers else None


def gold_answer(gold: str) -> str:
    """The answer in a gold that is a worked solution (GSM8K's "####", MATH's \\boxed{}); any other gold as it is."""
    return (final_answer(gold) or gold) if "\\boxed" in gold or "####" in gold else gold


def last_boxed(text: str) -> str | None:
    """The content of the last \\boxed{} whose braces close, nesting respected; boxes joined as one list; or None."""
    matches = list(_BOX.finditer(text))[-_MOST_BOXES:]
    boxes = [box for match in matches if (box := _box(text, match))]
    if not boxes:
        return None
    start, _, content = boxes.pop()
    contents = [content]
    while boxes and _BETWEEN_BOXES.fullmatch(text[boxes[-1][1] : start]):
        start, _, content = boxes.pop()
        contents.insert(0, content)
    return ", ".join(contents) if contents != [contents[0]] * len(contents) else contents[0]


def _box(text: str, match: re.Match[str]) -> tuple[int, int, str] | None:
    """(start, end, content) of one box, None where its braces do not close or it wraps another box."""
    rest = text[match.end() : match.end() + 4000]
    if not rest.startswith("{"):
        bare = re.match(r"\s*([^\s$\\.,]+)", rest)
        return (match.start(), match.end() + bare.end(), bare[1]) if bare else None
    depth = 0
    for place, character in enumerate(rest):
        if character in "{}" and rest[place - 1 : place] != "\\":
            depth += 1 if character == "{" else -1
        if depth == 0:
            content = rest[1:place].strip()
            return None if _BOX.match(content) else (match.start(), match.end() + place + 1, content)
    return None


def _sentence(text: str) -> str:
    """Up to the end of the sentence; a point inside a number or an abbreviation does not end it."""
    match = re.match(r"(?:[^\n。.!]|\.(?=\d|[a-z]\.)|!(?!\s|$))*", text)
    return _AFTERTHOUGHT.sub("", match.group() if match else "").strip(" ,，:：*;；_`")


@lru_cache(maxsize=4096)  # the gold of a group and its most frequent answers come again and again
def dress(answer: str) -> str:
    """One way of writing the same characters: half-width, LaTeX for symbols, no spacing commands, no delimiters.

    Units stay, as plain words; roman ones (\\text{ cm}) as \\unit{cm}.
    """
    text = answer.strip()
    if _BARE_NUMBER.fullmatch(text):
        return text
    if _PYTHON_LIST.fullmatch(text):  # as OlympiadBench writes golds
        text = "; ".join(first or second for first, second in _PYTHON_STRING.findall(text)).replace("\\\\", "\\")
    if not text.isascii():
        text = _western_script(text)
    text = _unit_at_end(_MARKED.sub(r"\2", text))
    text = re.sub(_TEXT, r" \1 ", re.sub(_TEXT, r" \1 ", text)) if "\\" in text else text
    for pattern, new in _REWRITES:
        text = pattern.sub(new, text)
    text = re.sub(r"^(?:\\approx|=|about\b|approximately\b|approx\.?|大约|约)\s*", "", " ".join(text.split()))
    text = re.sub(r"(?<=[A-Za-z]{3})!+$|(?<=[\u4e00-\u9fff])!+$", "", text)
    return text.lstrip(" ,;:?`*_").rstrip(" .。,;:?`*")


def _western_script(text: str) -> str:
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda match: "^{" + match.group().translate(_SUPERSCRIPTS) + "}", text)
    text = re.sub(r"[₀-₉]+", lambda match: "_{" + match.group().translate(_SUBSCRIPTS) + "}", text)
    text = re.sub(  # NFKC would make 2½ into 21/2
        r"(\d?)([¼-¾⅐-⅞])",
        lambda match: f"{match[1]} " * bool(match[1]) + unicodedata.normalize("NFKC", match[2]),
        text,
    )
    text = "".join(_CIRCLED.get(character, character) for character in text)
    text = unicodedata.normalize("NFKC", text).translate(_SYMBOLS)
    return "".join(str(unicodedata.decimal(character)) if character.isdecimal() else character for character in text)


_BARE_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
_MARKED = re.compile(r"^(\*{1,2}|__)([^*]+?)\1$")
_DOLLARS = re.compile(r"\\\$\s*([\d.,]+)|\$\s*([\d.,]+)(?!.*\$)")
_SPACED_LETTER = re.compile(
    r"^(.*(?:[\d)}]|\\pi))\s*(?:\\[;,: ]|~)\s*([mgsLNJWVK])(\^\s*(?:[23]|\{\s*[23]\s*\}))?[\s.$]*$"
)
_UNIT_LETTERS = frozenset("mgshLlNJWVKCFAtT")
# A letter after a spacing command or in roman is a unit; one that merely follows a number may be a variable.
_ROMAN_TAIL = re.compile(rf"^(.*[\d)}}a-zA-Z])\s*{_TEXT}\s*(\^\s*(?:[23]|\{{\s*[23]\s*\}}))?[\s.$]*$", re.DOTALL)


def _unit_at_end(text: str) -> str:
    """36\\text{ cm}^2 -> 36\\unit{cm^2}; words that join or qualify are no units."""
    if match := _DOLLARS.fullmatch(text):
        return f"{match[1] or match[2]}\\unit{{dollar}}"
    match = _ROMAN_TAIL.match(text) or _SPACED_LETTER.match(text)
    if not match:
        return text
    body, name, power = match[1], match[2].strip(" ~.\\"), re.sub(r"[\s{}]", "", match[3] or "")
    if name.lower().startswith(("percent", "per cent")):
        return body + "%"
    is_letter = len(name) == 1 and name.isalpha()
    if not name or (is_letter and name not in _UNIT_LETTERS) or not re.fullmatch(r"[^\d\\{}=<>,]+", name):
        return text
    if set(name.lower().split()) & _NO_UNIT or (body[-1:].isalpha() and not unit(name)):
        return text
    return f"{body}\\unit{{{name}{power}}}"


_MATHS_WORDS = (
    "sin cos tan cot sec csc log ln exp sqrt min max mod gcd lcm pi minus negative plus times half twice double "
    "million billion trillion thousand hundred dozen over divided squared cubed to more less than least most "
    "between greater fewer above below under at up and or if for not no except i e th st nd rd am pm a.m p.m o'clock "
    "infinity undefined base"
)
_NO_UNIT = frozenset(_MATHS_WORDS.split(" "))
_NO_CHINESE_UNIT = re.compile(r"[或和且与及到至]|以上|以下|以内|之间|大于|小于|超过|不|分之|万|亿|又|折|成$|多$|几|点")
_UNIT_TAIL = re.compile(
    rf"(?P<body>{NUMERAL.pattern})(?:(?P<gap>\s*)(?P<word>[a-zA-Z°][^\d\\+*=<>(){{}}\[\],;:|^_-]*)"
    rf"|\s*(?P<chinese>[\u4e00-\u9fff][^\d\\+*=<>(){{}}\[\],;:|^_-]*))(?P<power>\^?[23])?"
)
_KNOWN_TAIL = re.compile(
    r"(?P<body>.*(?:[\d})]|\\pi))\s*(?P<word>[a-zA-Z]{2,}|[\u4e00-\u9fff]{1,5}|°[CF]?)(?P<power>\^[23])?"
)
_CHINESE_TAIL = re.compile(
    rf"(?P<body>负?(?:{CHINESE_NUMERAL}(?:分之|又))*{CHINESE_NUMERAL})(?P<word>[\u4e00-\u9fff]{{1,4}})"
)
_MONEY = re.compile(r"(?P<sign>-?)\s*(?P<unit>[¥€£]|USD|US|RMB|HK|CNY)\s*(?P<body>[-\d.,]+)")


def split_unit(dressed: str) -> tuple[str, str]:
    """A dressed answer without its unit, and the unit ("" for none): 18元, 18 apples, 36\\sqrt{7}cm^3, 90°.

    Algebra stays whole: 3x, 2ab, 3 n. So does a single letter after a number, which may be metres or a variable.
    """
    if match := re.fullmatch(r"(.*?)\s*\\unit\{(.*)\}", dressed):
        return match[1], match[2]
    if number(dressed) is not None:  # 十八 is no ten of the unit 八
        return dressed, ""
    if match := _MONEY.fullmatch(dressed):
        return match["sign"] + match["body"], match["unit"]
    if match := _UNIT_TAIL.fullmatch(dressed):
        name = (match["word"] or match["chinese"]).strip()
        if match["chinese"]:
            if not _NO_CHINESE_UNIT.search(name):
                return match["body"].strip(), name + (match["power"] or "")
            return dressed, ""
        words = set(re.findall(r"[a-z.']+", name.lower()))
        spaced = match["gap"] and all(len(word) > 2 or word in ("a", "an", "of", "in", "per") for word in words)
        is_unit = unit(name) is not None and len(name) > 1
        if (is_unit or (spaced and not words & _NO_UNIT)) and not words & {"e", "i"}:
            return match["body"].strip(), name + (match["power"] or "")
    if (match := _KNOWN_TAIL.fullmatch(dressed)) and unit(match["word"].rstrip("CF") or match["word"]):
        return match["body"].strip(), match["word"] + (match["power"] or "")
    if (match := _CHINESE_TAIL.fullmatch(dressed)) and number(match["body"]) is not None:
        return match["body"], match["word"]
    return dressed, ""


_MOST_LAYERS = 12  # of dress that real texts wear: two or three


@lru_cache(maxsize=4096)
def normalise(answer: str) -> str:
    """The normal form of an answer: dressed, without unit and "x =", a number in lowest terms; for votes and logs.

    A normal form is its own normal form.
    """
    for _ in range(_MOST_LAYERS):
        inner = _without_dress(answer)
        if inner == answer:
            break
        answer = inner
    return answer


def _without_dress(answer: str) -> str:
    body = split_unit(_without_name(dress(answer)))[0]
    value = number(body)
    return re.sub(r"\s*([-+=<>,;()\[\]{}])\s*", r"\1", body) if value is None else str(value)


def _without_name(dressed: str) -> str:
    """5 for x = 5; an equation that says more stays."""
    return re.sub(r"^\\?[A-Za-z]\w?\s*=\s*(?=[^=]+$)", "", dressed)
