import sys
import types

import pytest

from rl.rewards import grade

RIGHT = [
    ("\\boxed{18}", "18"),
    ("\\boxed{18元}", "18"),
    ("答案是18元。", "18"),
    ("答案是十八。", "18"),
    ("The answer is 1,000.", "1000"),
    ("\\boxed{0.5}", "\\frac{1}{2}"),
    ("\\boxed{50\\%}", "0.5"),
    ("\\boxed{1\\frac{1}{2}}", "1.5"),
    ("\\boxed{( 1,2 )}", "(1, 2)"),
    ("\\boxed{1+x}", "x + 1"),  # needs math-verify
    ("\\boxed{\\frac{\\sqrt{4}}{2}}", "1"),  # likewise
]
WRONG = [
    ("\\boxed{17}", "18"),
    ("\\boxed{}", "18"),
    ("no number here", "18"),
    ("\\boxed{10\\%}", "10"),
    ("\\boxed{0.001}", "0.0005"),  # an absolute tolerance of 1e-3 calls these equal
    ("\\boxed{x}", "x + 1"),
    ("\\boxed{several}", "18"),
]


@pytest.mark.parametrize(("text", "gold"), RIGHT)
def test_right_answer_is_accepted(text: str, gold: str) -> None:
    assert grade(text, gold).correct is True


@pytest.mark.parametrize(("text", "gold"), WRONG)
def test_wrong_answer_is_refused(text: str, gold: str) -> None:
    assert grade(text, gold).correct is False


def test_boxed_only_refuses_an_answer_outside_the_box() -> None:
    assert grade("The answer is 18.", "18", boxed_only=True).correct is False
    assert grade("The answer is \\boxed{18}.", "18", boxed_only=True).correct is True


def test_a_crashed_grader_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_args: object, **_kwargs: object) -> None:
        raise RecursionError

    errors = types.SimpleNamespace(TimeoutException=TimeoutError)
    monkeypatch.setitem(sys.modules, "math_verify", types.SimpleNamespace(parse=crash, verify=crash))
    monkeypatch.setitem(sys.modules, "math_verify.errors", errors)
    graded = grade("\\boxed{x^2}", "x + 1")
    assert graded.correct is None and graded.rule == "crash:RecursionError"
