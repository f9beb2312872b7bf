"""Whether two written answers mean the same, decided by rules where rules suffice.

Exact text, choice letters, exact numbers with units; lists, tuples, sets, intervals, matrices, equations and
inequalities part by part. What needs algebra is asked of a `Symbolic` engine, or raises Undecided where none is given,
so that the rules can run in the trainer's process in microseconds and the engine in another.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from rl.answers import dress, split_unit
from rl.quantities import number, unit
from rl.structures import Collection, Relation, assigned, collection, is_name, joined_cases, matrix, region, relation

_MAX_ITEMS = 40  # of a list; unordered comparison is quadratic
_TOLERANCE = Fraction(1, 10**6)


class Undecided(Exception):
    """The rules do not settle it: algebra is needed."""


class Symbolic(Protocol):
    """Algebra on pieces of LaTeX without list or unit."""

    def same_value(self, answer: str, gold: str) -> bool:
        """Whether the two expressions are equal for all values of their variables."""

    def same_relation(self, answer: Sequence[str], gold: Sequence[str], *, is_equation: bool) -> bool:
        """Whether left = right, or left < right, have the same solutions; each is (left, right)."""


@dataclass(frozen=True)
class Verdict:
    """Whether the answer is right, and which rule says so."""

    correct: bool
    rule: str
    """exact | choice | numeric | structure | text | math_verify."""


def compare(answer: str, gold: str, symbolic: Symbolic | None = None) -> Verdict:
    """The verdict on an answer as written against the gold as written. Raises Undecided where algebra is needed."""
    return _Comparison(symbolic).verdict(dress(answer), dress(gold))


class _Comparison:
    """One comparison: the rules in their order, and the engine for what they leave. All texts are dressed."""

    def __init__(self, symbolic: Symbolic | None) -> None:
        self._symbolic = symbolic

    def verdict(self, answer: str, gold: str) -> Verdict:
        rules: dict[str, Callable[[str, str], bool | None]] = {
            "exact": _same_text,
            "choice": self._same_choice,
            "numeric": _same_quantity,
            "structure": self._same_structure,
            "text": _same_words,
        }
        for name, rule in rules.items():
            correct = rule(answer, gold)
            if correct is not None:
                return Verdict(correct, name)
        return Verdict(self._same_value(answer, gold), "math_verify")

    def _same(self, answer: str, gold: str) -> bool:
        return self.verdict(answer.strip(), gold.strip()).correct

    def _same_choice(self, answer: str, gold: str) -> bool | None:
        """Letters of multiple choice, also several; None where the gold is not a letter."""
        if _LETTERS.fullmatch(gold):
            expected = sorted(re.findall("[A-K]", gold))
            if _LETTERS.fullmatch(answer):
                return sorted(re.findall("[A-K]", answer)) == expected
            match = _CHOICE.fullmatch(answer)
            if match and not _LETTERS.fullmatch(match[2] or "-"):
                return [match[1].upper()] == expected
            return None if relation(answer) else False
        if match := _LETTER_AND_TEXT.fullmatch(gold):
            return answer.strip("() ") == match[1] or self._same(_LETTER_AND_TEXT.sub(r"\2", answer), match[2])
        return None

    def _same_value(self, answer: str, gold: str) -> bool:
        answer_body, answer_unit = split_unit(answer)
        gold_body, gold_unit = split_unit(gold)
        if _scale(answer_unit, gold_unit) != 1:
            return False
        if (answer_body, gold_body) != (answer, gold):
            return self._same(answer_body, gold_body)
        if ":" in answer + gold:  # a time or a ratio, both compared already; to sympy it is a division
            return False
        if self._symbolic is None:
            raise Undecided
        return self._symbolic.same_value(answer_body, gold_body)

    def _same_structure(self, answer: str, gold: str) -> bool | None:
        """Matrices, lists and brackets, then relations; None where neither side has such a structure."""
        matrices = matrix(answer), matrix(gold)
        if matrices != (None, None):
            return None not in matrices and self._same_matrix(*map(list, filter(None, matrices)))
        answer, gold = joined_cases(answer), joined_cases(gold)
        region_said, region_due = region(answer), region(gold)
        if region_said and region_due and (region_said.variable or region_due.variable):
            same_variable = len({region_said.variable, region_due.variable} - {""}) == 1
            return same_variable and self._same_unordered(region_said.intervals, region_due.intervals)
        said, due = collection(answer), collection(gold)
        if said is None and due is None:
            return self._same_relation(answer, gold)
        if due is None and assigned(gold) is None and said and said.opening + said.closing == "":
            return all(self._same(item, gold) for item in said.items)  # one answer in two spellings: 11+x, or x+11
        # x = 1, 2 is a list already; S = \{1, 2\} and x \in [1, 2) are not
        said = said or collection(assigned(answer) or "") or Collection("", [answer], "")
        due = due or collection(assigned(gold) or "") or Collection("", [gold], "")
        return self._same_collection(said, due)

    def _same_collection(self, said: Collection, due: Collection) -> bool:
        if len(said.items) != len(due.items) or len(due.items) > _MAX_ITEMS:
            return False
        brackets = {said.opening + said.closing, due.opening + due.closing}
        if len(brackets) == 1:
            same = self._same_ordered if due.is_ordered else self._same_unordered
            return same(said.items, due.items)
        if brackets <= {"", "{}"}:  # 1, 2 is as good as \{1, 2\}, and 5 as \{5\}
            return self._same_unordered(said.items, due.items)
        if brackets in ({"", "()"}, {"", ";"}, {";", "()"}):  # x = 1, y = 2 for (1, 2)
            return self._same_ordered(said.items, due.items)
        if brackets == {"()", "[]"}:  # intervals differ, vectors do not
            return len(due.items) > 2 and self._same_ordered(said.items, due.items)
        return False

    def _same_ordered(self, said: Sequence[str], due: Sequence[str]) -> bool:
        return len(said) == len(due) and all(self._same(a, g) for a, g in zip(said, due, strict=True))

    def _same_unordered(self, said: Sequence[str], due: Sequence[str]) -> bool:
        """Each gold item has its own equal among those said; the one at the same place is tried first."""
        left = list(said)
        if len(left) != len(due):
            return False
        for item in due:
            found = next((index for index, other in enumerate(left) if self._same(other, item)), None)
            if found is None:
                return False
            del left[found]
        return True

    def _same_matrix(self, said: list[list[str]], due: list[list[str]]) -> bool:
        return len(said) == len(due) and all(
            self._same_ordered(row, other) for row, other in zip(said, due, strict=True)
        )

    def _same_relation(self, answer: str, gold: str) -> bool | None:
        said, due = relation(answer), relation(gold)
        if due is None:  # 18 for x = 18 and for S = 3 * 6 = 18
            return None if said is None or set(said.signs) != {"="} else self._same(said.sides[-1], gold)
        if said is None:
            named = assigned(gold)
            return False if named is None else self._same(answer, named)
        if len(due.signs) > 1 or len(said.signs) > 1:
            if set(said.signs) == set(due.signs) == {"="}:
                return self._same(said.sides[0], due.sides[0]) and self._same(said.sides[-1], due.sides[-1])
            return said.signs == due.signs and self._same_ordered(said.sides, due.sides)
        return said.signs == due.signs and self._same_single_relation(said, due)

    def _same_single_relation(self, said: Relation, due: Relation) -> bool:
        if all(map(_same_text, said.sides, due.sides)):
            return True
        is_equation = due.signs == ["="]
        if is_equation and is_name(due.sides[0]) and _squeezed(said.sides[0]) == _squeezed(due.sides[0]):
            return self._same(said.sides[1], due.sides[1])
        if due.signs[0] not in ("=", "<", "\\le"):
            return self._same_ordered(said.sides, due.sides)
        if self._symbolic is None:
            raise Undecided
        return self._symbolic.same_relation(said.sides, due.sides, is_equation=is_equation)


def _squeezed(text: str) -> str:
    """Without spaces, but for those between digits: 1 4/5 is not 14/5."""
    return re.sub(r"(?<!\d)\s|\s(?!\d)|\\cdot(?=\s*[a-zA-Z\\(])", "", text)


def _same_text(answer: str, gold: str) -> bool | None:
    """True for the same characters but for spaces; times of day are compared whatever their dress."""
    if _squeezed(answer) == _squeezed(gold):
        return True
    if (said := _time_of_day(answer)) and (due := _time_of_day(gold)):
        return said[:-1] == due[:-1] and (said[-1] == due[-1] or " " in said[-1] + due[-1])
    return None


def _time_of_day(text: str) -> str | None:
    """4:30p for 04:30 P.M., "20:34 " for 20:34; None for what has neither minutes nor a half of the day."""
    match = re.fullmatch(r"0?(\d{1,2})(?:\s*:\s*(\d\d))?\s*(?:([ap])\.?\s*m\.?)?", text.lower())
    return f"{match[1]}:{match[2] or '00'}{match[3] or ' '}" if match and (match[2] or match[3]) else None


_LETTERS = re.compile(r"\(?([A-K])\)?(?:\s*(?:,|\band\b|和|&)?\s*\(?([A-K])\)?)*")
_CHOICE = re.compile(
    r"(?:(?:option|choice|answer|选项|选)\s*)?\(?([A-Ka-k])(?:\)|(?=[.:,])|$)\s*[.:,)]?\s*(.*)",
    re.DOTALL | re.IGNORECASE,
)
_LETTER_AND_TEXT = re.compile(r"\(?([A-H])[).:]\s*(\S.*)", re.DOTALL)


def _same_quantity(answer: str, gold: str) -> bool | None:
    """Exact values, units converted where both are known; None where the gold or the answer is no number."""
    gold_body, gold_unit = split_unit(gold)
    expected = number(gold_body)
    if expected is None:
        same = _same_in_base(answer, gold)
        return _same_ratio(answer, gold) if same is None else same
    answer_body, answer_unit = split_unit(answer)
    value = number(answer_body)
    if value is None:
        value, answer_unit = _number_with_letter(answer)
    if value is None and (said := _only_number(answer)):
        answer_body, answer_unit = split_unit(said)
        value = number(answer_body)
    if value is None:
        return False if _is_words(answer) and "," not in gold_body else _same_ratio(answer, gold)
    scale = _scale(answer_unit, gold_unit)
    if scale is None:
        return False
    same = _is_close(value * scale, expected, shown=answer_body + gold_body)
    # 24,112 may be two numbers: then the lists decide
    return same if same or "," not in answer_body + gold_body else None


def _same_in_base(answer: str, gold: str) -> bool | None:
    """4210_5 and, since the question names the base, 4210; not 4210_7. None where the gold names no base."""
    due = _IN_BASE.fullmatch(_squeezed(gold))
    said = _IN_BASE.fullmatch(_squeezed(answer))
    if not due or not due[2] or collection(answer):
        return None
    return said is not None and said[1] == due[1] and said[2] in (due[2], None)


_IN_BASE = re.compile(r"\(?([0-9A-F]+)\)?(?:_\{?(\d+)\}?)?")


def _is_close(value: Fraction, expected: Fraction, *, shown: str) -> bool:
    """Equal, or a decimal right to six places for a fraction that has no finite one (.333333 for 1/3)."""
    if value == expected or "." not in shown:
        return value == expected
    return _is_endless(expected) != _is_endless(value) and abs(value - expected) < _TOLERANCE * min(
        Fraction(1), 10 * abs(expected)
    )


def _is_endless(value: Fraction) -> bool:
    """Whether a fraction has no finite decimal form."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest != 1


def _scale(answer_unit: str, gold_unit: str) -> Fraction | None:
    """What the answer is multiplied by; 1 where a unit is missing or unknown, None where the two cannot agree."""
    said, due = unit(answer_unit), unit(gold_unit)
    if said is None or due is None:
        return Fraction(1)
    return said[1] / due[1] if said[0] == due[0] else None


def _number_with_letter(answer: str) -> tuple[Fraction | None, str]:
    """(5, m) for 5 m: with a bare number as gold a letter after the number is a unit, not a variable."""
    match = re.fullmatch(r"(.*[\d}.%])\s*([a-zA-Z])(?:\^[23])?", answer)
    return (number(match[1]), match[2]) if match and unit(match[2]) else (None, "")


_QUALIFIERS = re.compile(
    r"\b(?:sin|cos|tan|log|ln|sqrt|minus|negative|plus|times|half|twice|double|million|billion|trillion|thousand|hundred"
    r"|dozen|pi|over|divided|squared|cubed|more|less|than|least|most|between|greater|fewer|above|below|under|or|not|no"
    r"|from|to|each|base)\b|[半倍减加乘除负或]|大于|小于|超过|不|以上|以下|之间|至|到|分之|万|亿|又|几"
)
_COUNT = r"-?\d[\d,]*(?:\.\d+)?%?"


def _only_number(answer: str) -> str | None:
    """The one number in a short sentence (一共有36个, Janet earns 18 dollars), or None."""
    if len(answer) > 120 or _QUALIFIERS.search(answer.lower()) or not _is_words(re.sub(_COUNT, " ", answer)):
        return None
    found = re.findall(rf"(?<![\w.,-]){_COUNT}|(?<=[\u4e00-\u9fff]){_COUNT}", answer)
    words = re.sub(_COUNT, " ", answer)
    if len(found) != 1 or re.search(r"\d|(?<![A-Za-z'])[b-zB-HJ-Z](?![A-Za-z'])", words):
        return None  # a lone letter may be a variable
    return str(found[0]).rstrip(",")


def _is_words(text: str) -> bool:
    """Whether a text is prose: words and no mathematics."""
    return not re.search(r"[\\^_=+*/<>{}|()\[\]]", text) and bool(re.search(r"[A-Za-z]{3,}|[\u4e00-\u9fff]", text))


def _same_words(answer: str, gold: str) -> bool | None:
    """Words but for capitals and articles; no algebra where either side is prose."""
    if not _is_words(gold) and not re.search("[\u4e00-\u9fff]", gold):
        return False if _is_words(answer) and not re.fullmatch("[A-Za-z]{1,6}", answer) else None
    return _words(answer) == _words(gold)


def _words(text: str) -> list[str]:
    text = re.sub(r"\b(?:a|an|the)\b|[^\w\u4e00-\u9fff\\^/+=<>.-]", " ", text.lower())
    return [text.replace(" ", "")] if re.search("[\u4e00-\u9fff]", text) else text.split()


def _same_ratio(answer: str, gold: str) -> bool | None:
    """3:1 and 6:2; 1:9 and 1/9. Two digits after one colon may be a time of day and are compared as they stand."""
    said, due = _ratio(answer), _ratio(gold)
    if said and due:
        if len(said) != len(due):
            return False
        if len(due) == 2 and all(re.fullmatch(r"\d{1,2}:\d\d", _squeezed(text)) for text in (answer, gold)):
            return said == due
        return all(a * due[0] == g * said[0] for a, g in zip(said, due, strict=True))
    pair, other = (said, gold) if said else (due, answer)
    value = number(other)
    return None if pair is None or value is None else len(pair) == 2 and pair[0] / pair[1] == value


def _ratio(text: str) -> list[Fraction] | None:
    parts = text.split(":")
    values = [value for part in parts if (value := number(part))]
    return values if 1 < len(values) == len(parts) < 6 else None
