"""The words of the mini web: a page's title and body drawn from the grammars toy_text_en.txt and toy_text_zh.txt.

A body is a string of lines; what a line opens with says what it is (the grammar file's head lists them), so that
`toy_pages` can dress it as HTML and a near duplicate can be made by editing words. The grammar is compiled once into
nested lists, and one page costs about a tenth of a millisecond.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from toy_problems import Problem, word_problem

MATH_KINDS = {
    "theorem": "en",
    "encyclopedia": "en",
    "calculus": "en",
    "school": "en",
    "qa": "en",
    "statistics": "en",
    "geometry": "en",
    "exercises": "en",
    "zh_encyclopedia": "zh",
    "zh_school": "zh",
    "zh_lecture": "zh",
    "zh_exam": "zh",
}
"""Kinds of page whose truth is math, with their language."""

SEED_KINDS = ("theorem", "encyclopedia", "zh_encyclopedia")
"""What the seed shows: theorem notes, and encyclopedia entries (English and Chinese)."""

_GRAMMARS = ("toy_text_en.txt", "toy_text_zh.txt")
_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎"
    "余潘杜戴夏钟汪田任姜"
)
_GIVEN = (
    "明华丽军燕杰涛娟敏静强磊洋艳勇芳超秀兰刚平桂英辉玲鹏飞红波宁霞建国文慧晨思远雨欣子涵浩然梓轩一诺俊博"
    "雅婷若曦志远嘉怡海东天宇诗雯"
)
_PLACE_CHARS = "江海湖山河溪林泉云龙凤安宁平阳川州岭桥塘浦湾港关原城石玉金银青白红东西南北长永新兴和顺德昌"
_PLACE_ENDS = ("市", "县", "镇", "区", "", "", "村", "新区")


@dataclass
class Draft:
    """What one page remembers while it is written."""

    rng: random.Random
    avoid: Callable[[Problem], bool] = lambda problem: False
    """True for a problem that the web must not show by chance: it shares words with the benchmark."""
    leaks: list[Problem] = field(default_factory=list)
    """Benchmark items that the page is to show, used up first."""
    memo: dict[str, str] = field(default_factory=dict)
    answer: str = ""


Write = Callable[[Draft, list[str]], None]
Op = str | Write


def draw_page(kind: str, rng: random.Random, *, draft: Draft | None = None) -> tuple[str, str]:
    """Title and body of a page of `kind`; only the title is drawn until the body is asked for in `draw_body`."""
    draft = draft or Draft(rng)
    return draw_title(kind, draft), draw_body(kind, draft)


def draw_title(kind: str, draft: Draft) -> str:
    """The title, which fixes the page's topic in `draft`."""
    title = _expand(f"{kind}.title", draft)
    return title[:1].upper() + title[1:]


def draw_body(kind: str, draft: Draft) -> str:
    """The body for a draft whose title was drawn with the same kind."""
    lines = _expand(f"{kind}.page", draft).replace("¶", "\n").split("\n")
    if kind == "qa" and draft.leaks:
        leak = draft.leaks.pop(0)
        lines.insert(1, f"> {leak.question}")
        lines.append(f"**Accepted answer:** {leak.solution}")
    return "\n".join(line[:1].upper() + line[1:] for line in lines if line.strip())


def edit_words(body: str, rng: random.Random, *, share: float) -> str:
    """The body with about `share` of its words (characters in Chinese) dropped, doubled or replaced, at least one.

    Formulas, numbers, code and line openings stay whole, so that the edit is one of prose.
    """
    lines = body.split("\n")
    chinese = len(re.findall("[\u4e00-\u9fff]", body)) * 4 > len(body)
    unit = _CHARACTER if chinese else _WORD
    fillers = _CHINESE_FILLERS if chinese else _FILLERS
    rows = [unit.findall(line) if line[:1] not in "$`|#" else [line] for line in lines]
    prose = [row for row in rows if len(row) > 3]
    if not prose:
        return body
    for _ in range(max(1, round(sum(map(len, prose)) * share))):
        row = rng.choice(prose)
        at = rng.randrange(2, len(row)) if len(row) > 2 else 0
        if at == 0 or re.search(r"[⟦⟧*\\\d]", row[at]):
            continue
        action = rng.random()
        if action < 0.35:
            del row[at]
        elif action < 0.7:
            row.insert(at, rng.choice(fillers))
        else:
            row[at] = rng.choice(fillers)
    return "\n".join(("" if chinese else " ").join(row) for row in rows)


_WORD = re.compile(r"⟦[^⟧]*⟧\S*|[^\s⟦]+")
_CHARACTER = re.compile(r"⟦[^⟧]*⟧|[A-Za-z]+|\d+|.")
_CHINESE_FILLERS = ("的", "也", "了", "就", "都", "又", "这", "那", "在")
_FILLERS = ("also", "perhaps", "the", "really", "often", "some", "just", "again", "that", "quite", "maybe", "now")


def problem_grams(text: str, *, size: int = 10) -> set[str]:
    """The runs of `size` tokens (words, numbers, ideographs): the unit of the paper's decontamination."""
    tokens = re.findall(r"[a-z]+|\d+|[\u4e00-\u9fff]", text.lower())
    return {" ".join(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}


def page_kinds() -> list[str]:
    """All kinds of page, sorted."""
    return sorted(rule.removesuffix(".page") for rule in _grammar() if rule.endswith(".page"))


def language_of(kind: str) -> str:
    """ISO 639-1 of a kind's pages."""
    return "zh" if kind.startswith("zh_") else {"german": "de", "french": "fr"}.get(kind, "en")


def _expand(rule: str, draft: Draft) -> str:
    out: list[str] = []
    _write(_grammar()[rule], draft, out)
    return "".join(out)


def _write(alternatives: list[list[Op]], draft: Draft, out: list[str]) -> None:
    for op in alternatives[int(draft.rng.random() * len(alternatives))]:
        if isinstance(op, str):
            out.append(op)
        else:
            op(draft, out)


@lru_cache(maxsize=1)
def _grammar() -> dict[str, list[list[Op]]]:
    """Rule name to alternatives, each a list of strings and functions."""
    rules: dict[str, list[list[Op]]] = {}
    sources: dict[str, list[str]] = {}
    for name in _GRAMMARS:
        current: list[str] | None = None  # None in the file's head, whose lines are comments
        for line in Path(__file__).with_name(name).read_text("utf-8").split("\n"):
            if line.startswith(("= ", "~ ")):
                current = sources.setdefault(line[2:].strip(), [])
                is_list = line.startswith("~")
            elif current is not None and line.strip() and not line.startswith("# ---"):
                current.extend(_split(line) if is_list else [line])
    for name in (*sources, *_BUILTINS):
        rules[name] = []
    for name, function in _BUILTINS.items():
        rules[name].append([function])
    for name, lines in sources.items():
        rules[name].extend(_compile(line, rules) for line in lines)
    return rules


def _compile(text: str, rules: dict[str, list[list[Op]]]) -> list[Op]:
    ops: list[Op] = []
    at = start = 0
    while at < len(text):
        if text[at] == "<" and text[at + 1 : at + 2] not in ("", " "):
            end = _closing(text, at)
            if start < at:
                ops.append(text[start:at])
            ops.append(_slot(text[at + 1 : end], rules))
            at = start = end + 1
        else:
            at += 1
    if start < len(text):
        ops.append(text[start:])
    return ops


def _slot(slot: str, rules: dict[str, list[list[Op]]]) -> Op:
    parts = _split(slot)
    if len(parts) > 1:
        alternatives = [_compile(part, rules) for part in parts]
        return lambda draft, out: _write(alternatives, draft, out)
    if number := re.fullmatch(r"#(\d+)-(\d+)", slot):
        low, span = int(number[1]), int(number[2]) - int(number[1]) + 1
        return lambda draft, out: out.append(str(low + int(draft.rng.random() * span)))
    if repeat := re.fullmatch(r"([\w.]+)([*%])(\d+)-(\d+)", slot):
        joiner = "¶" if repeat[2] == "%" else "" if slot.startswith("zh_") else " "
        return _repeat(rules[repeat[1]], joiner=joiner, low=int(repeat[3]), high=int(repeat[4]))
    if slot.startswith("@"):
        return _remember(slot[1:], rules[slot[1:]])
    if slot.startswith("!"):
        return _PYTHON[slot[1:]]
    rule = rules[slot]
    return lambda draft, out: _write(rule, draft, out)


def _repeat(rule: list[list[Op]], *, joiner: str, low: int, high: int) -> Op:
    def write(draft: Draft, out: list[str]) -> None:
        order = list(range(len(rule)))
        draft.rng.shuffle(order)  # without replacement: a page does not say the same sentence twice in a row
        for i in range(draft.rng.randint(low, high)):
            if i:
                out.append(joiner)
            _write([rule[order[i % len(order)]]], draft, out)

    return write


def _remember(name: str, rule: list[list[Op]]) -> Op:
    def write(draft: Draft, out: list[str]) -> None:
        if name not in draft.memo:
            said: list[str] = []
            _write(rule, draft, said)
            draft.memo[name] = "".join(said)
        out.append(draft.memo[name])

    return write


def _closing(text: str, at: int) -> int:
    depth = 0
    for i in range(at, len(text)):
        if text[i] == "<":
            depth += 1
        elif text[i] == ">":
            depth -= 1
            if not depth:
                return i
    raise ValueError(f"toy grammar: no closing > for the slot at {text[at : at + 40]!r}")


def _split(text: str) -> list[str]:
    """The parts between the "|"s that stand outside any slot."""
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char == "<") - (char == ">")
        if char == "|" and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


@lru_cache(maxsize=2)
def _invented(ends: tuple[str, ...]) -> tuple[str, ...]:
    """4,000 pronounceable names, the same on every machine."""
    rng = random.Random(11 * len(ends))
    onsets, vowels, codas = (part.split() for part in _SYLLABLES)
    names: dict[str, None] = {}
    while len(names) < 4000:
        core = "".join(rng.choice(onsets) + rng.choice(vowels) for _ in range(rng.choice((1, 2)))) + rng.choice(codas)
        names[(core + rng.choice(ends)).capitalize()] = None
    return tuple(names)


_SYLLABLES = (
    "b br c ch d dr f fr g gr h j k kl l m n p pl qu r s sh sl st t th tr v w y z",
    "a e i o u ai ea ou ie y",
    "n r l s t m nd rk lt ss x v ck dd",
)


def invented_names() -> tuple[str, ...]:
    """The surnames of the English pages, also used for hosts."""
    return _invented(_NAME_ENDS)


_NAME_ENDS = ("", "", "er", "in", "ov", "sen", "ez", "son", "i", "ard", "el")
_PLACE_NAME_ENDS = (
    "ton",
    "ville",
    "by",
    "ford",
    "ham",
    "berg",
    "wick",
    "mouth",
    "field",
    "dale",
    "port",
    "a",
    "stad",
    "o",
)


def _pick(draft: Draft, choices: str | tuple[str, ...]) -> str:
    return choices[int(draft.rng.random() * len(choices))]


_BUILTINS: dict[str, Write] = {
    "name": lambda draft, out: out.append(_pick(draft, _invented(_NAME_ENDS))),
    "place": lambda draft, out: out.append(_pick(draft, _invented(_PLACE_NAME_ENDS))),
    "zname": lambda draft, out: out.append(_pick(draft, _SURNAMES) + _pick(draft, _GIVEN)),
    "zperson": lambda draft, out: out.append(_pick(draft, _SURNAMES) + _pick(draft, _GIVEN) + _pick(draft, _GIVEN)),
    "zchar": lambda draft, out: out.append(_pick(draft, _GIVEN)),
    "zplace": lambda draft, out: out.append(
        _pick(draft, _PLACE_CHARS) + _pick(draft, _PLACE_CHARS) + _pick(draft, _PLACE_ENDS)
    ),
}


def _problem(language: str) -> Write:
    def write(draft: Draft, out: list[str]) -> None:
        if draft.leaks:
            problem = draft.leaks.pop(0)
        else:
            problem = word_problem(draft.rng, language)
            for _ in range(40):
                if not draft.avoid(problem):
                    break
                problem = word_problem(draft.rng, language)
        draft.answer = problem.solution
        out.append(problem.question)

    return write


def _power_rule(draft: Draft, out: list[str]) -> None:
    rng = draft.rng
    a, n, b, m = rng.randint(2, 12), rng.randint(3, 9), rng.randint(2, 15), rng.randint(1, 2)
    tail = f"{b}x^{{2}}" if m == 2 else f"{b}x"
    tail_derivative = f"{2 * b}x" if m == 2 else str(b)
    opening = _pick(draft, ("Differentiate", "Find the derivative of", "Find the slope function of"))
    out.append(
        f"{opening} ⟦f(x) = {a}x^{{{n}}} + {tail}⟧. Bring the power {n} down and multiply: {n} × {a} = {n * a}, so "
        f"⟦f'(x) = {n * a}x^{{{n - 1}}} + {tail_derivative}⟧."
    )


def _integral(draft: Draft, out: list[str]) -> None:
    rng = draft.rng
    n, k, b = rng.randint(1, 4), rng.randint(1, 6), rng.randint(1, 4)
    a = k * (n + 1)
    opening = _pick(draft, ("Integrate", "Find the area under", "Work out the definite integral of"))
    out.append(
        f"{opening} ⟦{a}x^{{{n}}}⟧ between 0 and {b}. An antiderivative is ⟦{k}x^{{{n + 1}}}⟧, because {a} divided by "
        f"{n + 1} is {k}.¶$$ \\int_{{0}}^{{{b}}} {a}x^{{{n}}} \\, dx = {k} \\cdot {b}^{{{n + 1}}} = {k * b ** (n + 1)}¶"
    )


def _critical(draft: Draft, out: list[str]) -> None:
    rng = draft.rng
    a, h, c = rng.randint(1, 6), rng.randint(1, 12), rng.randint(1, 90)
    kind = _pick(draft, ("height", "cost", "profit", "depth", "temperature"))
    out.append(
        f"The {kind} is given by ⟦y = {c} + {2 * a * h}x - {a}x^{{2}}⟧. Setting the derivative "
        f"⟦{2 * a * h} - {2 * a}x⟧ to zero gives ⟦x = {h}⟧, and there the maximum {kind} is ⟦{c + a * h * h}⟧."
    )


def _pythagoras(draft: Draft, out: list[str]) -> None:
    sides = draft.rng.choice(((3, 4, 5), (5, 12, 13), (8, 15, 17), (7, 24, 25), (20, 21, 29)))
    scale = draft.rng.randint(1, 9)
    a, b, c = (side * scale for side in sides)
    out.append(
        f"A right triangle has legs {a} cm and {b} cm. The square of the hypotenuse is {a * a} + {b * b} = {c * c}, "
        f"so the hypotenuse measures {c} cm."
    )


_PYTHON: dict[str, Write] = {
    "problem_en": _problem("en"),
    "problem_zh": _problem("zh"),
    "answer_en": lambda draft, out: out.append(draft.answer),
    "answer_zh": lambda draft, out: out.append(draft.answer),
    "power": _power_rule,
    "integral": _integral,
    "critical": _critical,
    "pythagoras": _pythagoras,
}
