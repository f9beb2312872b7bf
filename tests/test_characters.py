"""The compiled functions over a text's characters give what those in Python give, on every text."""

import random
import sys
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mining import compiled
from mining.classifier import fasttext_line, line_in_python
from mining.ingest import IngestConfig, read_pages
from mining.language import (
    ENGLISH,
    LONGEST_ENGLISH,
    count_words_in_python,
    identify,
    prose_in_python,
    scripts_in_python,
)
from mining.page import Page, count_cjk_in_python, estimate_tokens

pytestmark = pytest.mark.skipif(compiled.characters is None, reason="no compiled twin here")

SIGNS = "+-*/=<>^±×÷≤≥≠≈∈∑∫√∞→⇒|%$€£{}_#@\\[]()`'’~!:;,.&\"? \t\n\r\0\x0b\x1c\x85\xa0\u2028\u3000"
# What a rule names, with others of each kind of string (ASCII, Latin-1, two bytes, four) and of each kind of number.
PIECES = (
    *SIGNS, *"abcxyzABCXYZ0129éßÀ²½٣๒ªµǅİıſKΑωшЖאةठ中设函㐀䶿䷀鿿豈ㄅぁゖ゛がアヺ・ーㇰｦﾟ가힣힤ㄱᄀ😀𝒙𝟘𠀀𯨟\ud800\udfff",
    "$$", "$$x$$", "$$$", "\\begin{", "\\end{align}", "\\begin{align}", "\\label{eq:1}", "\\tag{", "\\ref{",
    "\\eqref{a}", "\\cite{", "\\frac", "\\\\[", "\\(", "don't", "l’école", "x'é", "12345", "123456", "http", "a_b",
    "https://a.b/c?d=1", "```", "`x`", "the", "there", "these's", "设函数在闭区间上", "x" * 29, "y" * 31, "z" * 60,
    " " * 199, "w " * 150,
)  # fmt: skip


def assert_twins_agree(text: str) -> None:
    fast = compiled.characters
    assert fast is not None
    lower = text.lower()
    assert fast.line(lower) == line_in_python(lower), repr(text)
    assert fast.line(text) == line_in_python(text), repr(text)
    prose = prose_in_python(text)
    assert fast.prose(text) == prose, repr(text)
    for one in (text, prose):
        assert fast.scripts(one) == scripts_in_python(one), repr(text)
        assert fast.count_words(one.lower(), ENGLISH, LONGEST_ENGLISH) == count_words_in_python(one.lower()), repr(text)
    assert fast.count_cjk(text) == count_cjk_in_python(text), repr(text)


def test_every_character_is_taken_alike() -> None:
    blocks = (range(0x3500), range(0x4D00, 0x4F00), range(0x9F00, 0xB000, 3), range(0xD700, 0x11000))
    codes = [*(code for block in blocks for code in block), *range(0x11000, sys.maxunicode + 1, 61)]
    for start in range(0, len(codes), 8):
        few = [chr(code) for code in codes[start : start + 8]]
        assert_twins_agree("".join(few) + "".join(f" a{one}1{one}{one}\\b{one}" for one in few))


def test_mixtures_of_what_the_rules_name_are_taken_alike() -> None:
    draw = random.Random(0)
    for _ in range(4_000):
        assert_twins_agree("".join(draw.choices(PIECES, k=draw.randint(0, 40))))


@settings(max_examples=500, deadline=None)
@given(st.text(st.one_of(st.sampled_from(SIGNS), st.characters(codec=None)), max_size=80))
@example("")
def test_any_text_is_taken_alike(text: str) -> None:
    assert_twins_agree(text)


@pytest.mark.parametrize("num", [29, 30, 31, 59, 60, 61, 199, 200, 201, 499, 500, 501, 3999, 4000, 4001])
def test_bounds_of_patterns_are_taken_alike(num: int) -> None:
    for inside in ("a", "é", "\n", "}", "设") if num < 1000 else "é":
        for before, after in (("$", "$"), ("$$", "$$"), ("$$", "$"), ("`", "`"), ("\\begin{", "}"), ("\\tag{", "}")):
            assert_twins_agree(f"x {before}{inside * num}{after} y")
            assert_twins_agree(f"x {before}{inside * num}")


def test_the_compiled_line_is_worked_by_hand() -> None:
    assert fasttext_line("设函数 $f(x)=2024$ \\begin{align} L’Hôpital's") == "设函 函数 f x = <d4> l’h ôpital's"
    assert estimate_tokens("中文 four") == 2 + (5 + 3) // 4


def test_what_is_no_string_is_refused() -> None:
    fast = compiled.characters
    assert fast is not None
    for call in (fast.line, fast.prose, fast.scripts, fast.count_cjk):
        with pytest.raises(TypeError, match="b'bytes' is no string"):
            call(b"bytes")
    with pytest.raises(TypeError):
        fast.count_words("the", {"the"}, 3)


def real_pages(real_data) -> Iterator[Page]:
    path = real_data / "web" / "part-00005.warc.gz"
    for page in read_pages(str(path), warc_file=path.name, crawl="", cfg=IngestConfig()):
        if isinstance(page, Page):
            yield page


@pytest.mark.real
def test_real_pages_come_out_the_same_without_a_compiler(real_data, monkeypatch) -> None:
    pages = list(real_pages(real_data))
    lines = [fasttext_line(page.text) for page in pages]
    found = [(page.language, page.language_score, page.n_tokens) for page in pages]
    monkeypatch.setattr(compiled, "characters", None)
    assert lines == [fasttext_line(page.text) for page in pages]
    assert found == [(*identify(page.text), estimate_tokens(page.text)) for page in pages]
