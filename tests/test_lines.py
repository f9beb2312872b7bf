"""What a line is said to be, and that both twins of the facts agree on every text."""

import random
import time

import pytest

from mining.html import lines
from mining.html.asides import CREDIT_SIGNS, OPENERS
from mining.html.delimiters import CLOSE, MASKED_TICK, mark
from mining.html.lines import (
    facts,
    facts_in_python,
    holds_marks,
    holds_marks_in_python,
    without_marks_in_python,
    without_odd_characters_in_python,
)
from mining.html.marks import HEADING, LINK_END, LINK_START

NEEDS_COMPILED = pytest.mark.skipif(lines.compiled is None, reason="no compiled twin here")
LINK = f"{LINK_START}one page{LINK_END}"
SIGNS_OF_RULES = "\x01\x02\x03 \t(){}[]=;:,./\\-+*#<>|^$!?\"'•·»«–—…”≤≥∈。！？；：」），、"
# Every character and word that a rule names, with others of each kind of string: ASCII, Latin-1, two bytes, four.
PIECES = (
    *SIGNS_OF_RULES, *"abcXYZ_09\r\x0b\x1c\x85\xa0\u3000中ㄅ가²٣İſKÉñß😀", "()", "\n", "\n\n", " " * 90, "word " * 20,
    mark("x", "mathml", display=False), CLOSE, MASKED_TICK, LINK, LINK_START,
    *OPENERS, *CREDIT_SIGNS, *(word.upper() for word in (*sorted(OPENERS)[:40], *CREDIT_SIGNS)),
)  # fmt: skip


FACTS = ("LINKED", "HEADED", "TABBED", "BARE", "MOSTLY_LINKS", "STRONG", "CODE", "COLON", "OPENER", "FIGURES", "BLANK")


def names_of(fact: int) -> str:
    return " ".join(name for name in (*FACTS, "SIGN") if fact & getattr(lines, name))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "BLANK"),
        (f"  {LINK_END}", "BLANK"),
        ("word", ""),
        ("One sentence that ends.", "STRONG"),
        ("Short.", ""),
        ("w" * 60, "STRONG"),
        (CLOSE, "STRONG"),
        ("x = 1", "STRONG CODE FIGURES"),
        ("她在巴黎读书。", "STRONG"),
        ("她在巴黎读书", ""),
        (f"{HEADING}Roots", "HEADED"),
        ("f()", "CODE FIGURES"),
        ("f (b)", "FIGURES"),
        ("f (b)" + "w" * 76, "STRONG"),
        ("one\ttwo", "TABBED CODE"),
        (f"{LINK} | {LINK} 2", "LINKED BARE MOSTLY_LINKS FIGURES"),
        (f"to {LINK}", "LINKED MOSTLY_LINKS"),
        (f"{LINK} .", "LINKED BARE MOSTLY_LINKS"),
        (f"{LINK} is what one needs to read.", "LINKED STRONG"),
        ("三：", "STRONG COLON"),
        ("Photo: somebody", "COLON OPENER SIGN"),
        ("seen by (REUTERS)", "STRONG FIGURES SIGN"),
        ("© somebody", "SIGN"),
        ("• 3 Share: this", "COLON OPENER FIGURES"),
        ("sharper", ""),
        ("Share " + "w" * 180, "STRONG"),
    ],
)
def test_facts_of_a_line(line, expected):
    (fact,) = facts(line, OPENERS, CREDIT_SIGNS, is_prose=True)
    assert names_of(fact) == expected


def test_asides_are_looked_for_in_prose_only():
    assert facts("Teilen\n© x", OPENERS, CREDIT_SIGNS, is_prose=False) == [0, 0]


def test_every_line_has_facts_as_split_counts_them():
    for text in ("", "\n", "a\n", "\na", "a\r\nb\x85c"):
        assert len(facts(text, OPENERS, CREDIT_SIGNS, is_prose=True)) == len(text.split("\n"))


@NEEDS_COMPILED
@pytest.mark.parametrize("seed", range(8))
def test_twins_agree_on_texts_of_all_pieces(seed):
    draw = random.Random(seed)
    for _ in range(800):
        text = "".join(draw.choices(PIECES, k=draw.randrange(1, 60)))
        for is_prose in (True, False):
            expected = facts_in_python(text, OPENERS, CREDIT_SIGNS, is_prose=is_prose)
            assert lines.compiled.facts(text, is_prose, OPENERS, CREDIT_SIGNS) == expected, repr(text)
        assert lines.compiled.holds_marks(text) == holds_marks_in_python(text)
        assert lines.compiled.without_marks(text) == without_marks_in_python(text), repr(text)
        assert lines.compiled.without_odd_characters(text) == without_odd_characters_in_python(text), repr(text)


@NEEDS_COMPILED
def test_twins_agree_on_every_character():
    for code in (
        *range(0x3100),
        *range(0xA000, 0xABFF, 7),
        *range(0xFE00, 0x1F100),
        0x10F000,
        0x10F0FF,
        0x10F100,
        0x10FFFF,
    ):
        text = f"{chr(code)}\n{chr(code)}by{chr(code)} a{chr(code)}\n{LINK}{chr(code)}{LINK}\n{chr(code) * 3}{LINK}."
        expected = facts_in_python(text, OPENERS, CREDIT_SIGNS, is_prose=True)
        assert lines.compiled.facts(text, True, OPENERS, CREDIT_SIGNS) == expected, hex(code)
    for code in (*range(0x11000), *range(0x10F000, 0x110000, 5)):
        text = f"a{chr(code)}b"
        assert lines.compiled.without_odd_characters(text) == without_odd_characters_in_python(text), hex(code)


@NEEDS_COMPILED
def test_signs_that_the_table_cannot_hold_are_refused():
    for signs in (("",), ("中",), tuple(f"a{n}" for n in range(65)), (b"x",)):
        with pytest.raises(ValueError, match=r"string that begins|at most"):
            lines.compiled.facts("text", True, OPENERS, signs)


def test_marks_are_found_and_other_characters_of_their_width_are_not():
    assert holds_marks("a" + mark("x", "script", display=True)) and holds_marks(MASKED_TICK)
    assert not any(map(holds_marks, ("", "plain", "中文", "😀", "\U0010ffff")))


@pytest.mark.parametrize(
    "piece", [LINK_START, LINK_END, " ", "\t", "(", "©", "by ", f"{LINK_START}a{LINK_END}", ". ", "1 ", "。"]
)
@pytest.mark.parametrize("ending", ["", "x", LINK_START])
def test_no_line_takes_quadratic_time(piece, ending):
    text = piece * (200_000 // len(piece)) + ending
    started = time.process_time()
    facts(text, OPENERS, CREDIT_SIGNS, is_prose=True)
    facts_in_python(text, OPENERS, CREDIT_SIGNS, is_prose=True)
    assert time.process_time() - started < 2
