"""Grades and rewards by rule: exact, then numeric, then math-verify."""

from dataclasses import dataclass

from rl.answers import final_answer, last_boxed, normalise, number

# Beyond this no honest answer lies, and symbolic comparison may run away.
_MAX_ANSWER_CHARS = 300


@dataclass(frozen=True)
class Grade:
    """What the grader says of one completion."""

    correct: bool | None
    """None: the grader crashed or ran out of time; the completion is left out, never counted as wrong."""
    answer: str | None
    """The final answer in normal form; None where the text states none."""
    rule: str
    """none | exact | numeric | math_verify | crash:<TypeName>: what decided."""


def grade(text: str, gold: str, *, boxed_only: bool = False, timeout_s: int = 3) -> Grade:
    """The grade of a completion against the gold answer; `boxed_only` accepts no answer outside \\boxed{}."""
    found = last_boxed(text) if boxed_only else final_answer(text)
    if found is None or not found.strip():
        return Grade(False, None, "none")
    answer, expected = normalise(found), normalise(gold)
    if answer.replace(" ", "") == expected.replace(" ", ""):
        return Grade(True, answer, "exact")
    value, expected_value = number(answer), number(expected)
    if value is not None and expected_value is not None:
        return Grade(value == expected_value, answer, "numeric")
    if value is None and expected_value is not None and not any(mark in answer for mark in "\\^*/("):
        return Grade(False, answer, "numeric")  # words where a number is due: no symbolic engine will help
    return _symbolic(answer, expected, timeout_s=timeout_s)


def _symbolic(answer: str, expected: str, *, timeout_s: int) -> Grade:
    if len(answer) > _MAX_ANSWER_CHARS:
        return Grade(False, answer, "none")
    try:
        from math_verify import parse, verify
        from math_verify.errors import TimeoutException
    except ImportError:
        return Grade(False, answer, "none")
    try:
        # raise_on_error: by default math-verify turns its own crashes into "wrong"
        gold_parsed = parse(f"${expected}$", parsing_timeout=timeout_s, raise_on_error=True)
        answer_parsed = parse(f"${answer}$", parsing_timeout=timeout_s, raise_on_error=True)
        correct = verify(gold_parsed, answer_parsed, timeout_seconds=timeout_s, raise_on_error=True)
    except (Exception, TimeoutException) as error:  # sympy raises anything; the caller counts it by name
        return Grade(None, answer, f"crash:{type(error).__name__}")
    return Grade(bool(correct), answer, "math_verify")
