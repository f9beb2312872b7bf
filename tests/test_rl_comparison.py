from collections.abc import Sequence

import pytest

from rl.comparison import Undecided, Verdict, compare
from rl.structures import Collection, Region, Relation, assigned, collection, joined_cases, matrix, region, relation


class Recorder:
    """An engine that says yes and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def same_value(self, answer: str, gold: str) -> bool:
        self.asked.append((answer, gold))
        return True

    def same_relation(self, answer: Sequence[str], gold: Sequence[str], *, is_equation: bool) -> bool:
        self.asked.append((*answer, *gold, is_equation))
        return True


@pytest.mark.parametrize(
    ("answer", "gold", "rule"),
    [
        ("\\frac{x}{2}", "\\dfrac{x}{2}", "exact"),
        ("(B)", "B", "choice"),
        ("0.5", "\\frac12", "numeric"),
        ("2, 1", "1, 2", "structure"),
        ("Even", "even", "text"),
    ],
)
def test_the_rule_that_decided_is_named(answer: str, gold: str, rule: str) -> None:
    assert compare(answer, gold) == Verdict(True, rule)


@pytest.mark.parametrize(("answer", "gold"), [("(x+1)^2", "x^2+2x+1"), ("2x+2y=2", "x+y=1"), ("(1, a+b)", "(1, b+a)")])
def test_algebra_is_not_guessed(answer: str, gold: str) -> None:
    with pytest.raises(Undecided):
        compare(answer, gold)


def test_the_engine_is_asked_about_the_parts_that_rules_leave() -> None:
    engine = Recorder()
    assert compare("(0.5, a+b)", "(\\frac{1}{2}, b+a)", engine) == Verdict(True, "structure")
    assert compare("36\\sqrt{x} cm", "36\\sqrt{y}\\text{ cm}", engine).correct
    assert compare("2x+2y=2", "x+y=1", engine).correct
    assert engine.asked == [("a+b", "b+a"), ("36\\sqrt{x}", "36\\sqrt{y}"), ("2x+2y", "2", "x+y", "1", True)]


def test_the_engine_is_not_asked_where_a_part_already_differs() -> None:
    engine = Recorder()
    assert not compare("(3, a+b)", "(4, b+a)", engine).correct
    assert not compare("1, 2, a+b", "1, 2", engine).correct
    assert not compare("about a dog", "x+1", engine).correct
    assert engine.asked == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1, 2", Collection("", ["1", "2"], "")),
        ("1 and 2", Collection("", ["1", "2"], "")),
        ("(1,2)", Collection("(", ["1", "2"], ")")),
        ("[1,2)", Collection("[", ["1", "2"], ")")),
        ("\\{1,(2,3)\\}", Collection("{", ["1", "(2,3)"], "}")),
        ("a; b", Collection(";", ["a", "b"], "")),
        ("(1,2)\\cup (3,4)", Collection("U", ["(1,2)", "(3,4)"], "")),
        ("3\\pm 2", Collection("", ["3+ 2", "3- 2"], "")),
        ("(1,2),(3,4)", Collection("", ["(1,2)", "(3,4)"], "")),
        ("f(1,2)", None),
        ("(x+1)(x+2)", None),
        ("5", None),
    ],
)
def test_collection(text: str, expected: Collection | None) -> None:
    assert collection(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=5", Relation(["x", "5"], ["="])),
        ("3>x", Relation(["x", "3"], ["<"])),
        ("b>a\\ge c", Relation(["c", "a", "b"], ["\\le", "<"])),
        ("1<x\\le 3", Relation(["1", "x", "3"], ["<", "\\le"])),
        ("P(X=2)", None),
        ("x=", None),
        ("\\left x", None),
    ],
)
def test_relation(text: str, expected: Relation | None) -> None:
    assert relation(text) == expected


def test_assigned_value() -> None:
    assert assigned("x=5") == "5"
    assert assigned("f(3) = 2 + 3 = 5") == "5"
    assert assigned("a_{n}=2n") == "2n"
    assert assigned("x\\in [1,2)") == "[1,2)"
    assert assigned("x^2+y^2=1") is None
    assert assigned("x<5") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1<x\\le 3", Region(["(1,3]"], "x")),
        ("x>2", Region(["(2,\\infty)"], "x")),
        ("x<1 or x\\ge 4", Region(["(-\\infty,1)", "[4,\\infty)"], "x")),
        ("\\{x|-2\\le x<1\\}", Region(["[-2,1)"], "x")),
        ("x\\in [1,2)", Region(["[1,2)"], "x")),
        ("(1,+\\infty)", Region(["(1,\\infty)"], "")),
        ("(0,1)\\cup (1,2]", Region(["(0,1)", "(1,2]"], "")),
        ("x+y<2", None),
        ("x<1 or y>4", None),
        ("a<b<c", None),
    ],
)
def test_region(text: str, expected: Region | None) -> None:
    assert region(text) == expected


def test_matrix_and_cases() -> None:
    assert matrix("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}") == [["1", "2"], ["3", "4"]]
    assert matrix("[\\begin{array}{cc}1&2\\end{array}]") == [["1", "2"]]
    assert matrix("\\begin{vmatrix} 1 & 2 \\\\ 3 & 4 \\end{vmatrix}") is None
    assert joined_cases("\\begin{cases} x=1 \\\\ y=2 \\end{cases}") == "x=1, y=2"
    assert joined_cases("x=1") == "x=1"
