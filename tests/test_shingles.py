"""Shingles: what stays different in mathematics, what is folded away, and that the hashes never change."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.shingles import shingles, text_digest, tokens, windows

WORKSHEET = "Worksheet. 1. Compute 12 + 35. 2. Compute 48 - 19. 3. Solve 3 x = 21. 4. Solve 7 y = 56. Show your work."


def found(text: str, n: int = 5) -> list[int]:
    return shingles(tokens(text), n).tolist()


def jaccard(one: str, other: str) -> float:
    a, b = set(found(one)), set(found(other))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f(x) = x^2 - 1", "f(x) = x^2 + 1"),
        ("$a < b$ for all a", "$a > b$ for all a"),
        ("the function $\\Gamma(n)$", "the function $\\gamma(n)$"),
        ("n! grows", "n grows"),
        ("f'(x) = 0", "f(x) = 0"),
        ("2×3", "2÷3"),
        ("3.14", "314"),
    ],
)
def test_texts_that_differ_in_one_sign_are_no_near_duplicates(one, other):
    assert jaccard(one, other) <= 0.5


def test_two_worksheets_with_other_numbers_are_not_near_duplicates():
    other = WORKSHEET.translate(str.maketrans("123456789", "987654321"))
    assert jaccard(WORKSHEET, other) < 0.1


@pytest.mark.parametrize(
    "twin",
    [
        WORKSHEET.replace(" ", "\n\t "),
        WORKSHEET.replace("1", "１").replace("+", "＋"),
        WORKSHEET.replace("work.", "work"),
        "“" + WORKSHEET + "”",
    ],
)
def test_white_space_width_and_sentence_punctuation_do_not_count(twin):
    assert found(twin) == found(WORKSHEET)


def test_number_of_shingles_is_tokens_less_n_plus_one():
    assert len(found("a b c d e f g", 5)) == 3
    assert len(found("a b a b a b a b", 2)) == 2  # only "a b" and "b a"


def test_chinese_counts_by_character():
    # Nine characters without the punctuation: five windows of five.
    assert len(found("证明：三角形，内角和。", 5)) == len("证明三角形内角和") - 5 + 1


def test_pages_of_fewer_than_five_tokens_match_only_themselves():
    assert len(found("Hello world")) == 1
    assert found("Hello world") == found(" Hello,\nworld! ".replace("!", "."))
    assert found("Hello world") != found("world Hello")
    assert found("") == found(" \n。") == []


def test_one_word_of_a_page_of_ten_makes_another_page():
    # 6 shingles of 10 tokens; the fifth token is in five of them: 1 of 11 is shared.
    assert jaccard("a b c d e f g h i j", "a b c d X f g h i j") == 1 / 11
    # A word more at the end of 20 tokens leaves 16 of 17.
    assert jaccard("a b c d e f g h i j k l m n o p q r s t", "a b c d e f g h i j k l m n o p q r s t u") == 16 / 17


_AS_WORDS = re.compile(
    r"\\[A-Za-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0300-\u1fff]+"
    r"|[0-9]+(?:[.,][0-9]+)*"
    r"|[A-Za-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0300-\u1fff]+"
    r"|[^\s.,;:?\"“”‘’«»、。·…]"
)


@settings(max_examples=400)
@given(st.text(alphabet="aZ\\.,12 +é证。αx\n^-_{}…", max_size=40))
def test_tokens_are_those_of_a_regular_expression(text):
    words, got = _AS_WORDS.findall(text), tokens(text)
    assert len(got.hashes) == len(words)
    assert got.is_number.tolist() == [word[0].isdigit() for word in words]
    # Equal hashes for equal words, and only for these.
    assert len(set(got.hashes.tolist())) == len(set(words))
    assert len(set(zip(words, got.hashes.tolist(), strict=True))) == len(set(words))


def test_shingles_are_odd_where_a_number_is_in_their_middle():
    # "a b 7 c d" has 7 in its middle, "b 7 c d e" has c.
    assert sorted(value & 1 for value in found("a b 7 c d e")) == [0, 1]


def test_windows_keep_their_order_and_repeats():
    runs = windows(tokens("a b a b a b"), 2)
    assert len(runs) == 5 and runs[0] == runs[2] == runs[4] and runs[1] == runs[3] != runs[0]


def test_hashes_are_the_same_in_every_process_and_version():
    assert found("Let x = 1", 5) == [1720252400]
    assert windows(tokens("Let x = 1"), 3).tolist() == [1079740209, 1743258917]
    assert text_digest("a  b\n") == text_digest("a b") == "e932d71afddc92588044f8a624582c4c"


@given(st.text(max_size=200), st.integers(1, 9))
def test_any_text_gives_sorted_distinct_31_bit_integers(text, n):
    values = found(text, n)
    assert values == sorted(set(values))
    assert all(0 <= value < 1 << 31 for value in values)


def test_digest_keeps_case_and_punctuation():
    assert len({text_digest(t) for t in ("a b", "A b", "a b.", "ab")}) == 4
