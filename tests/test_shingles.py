"""Shingles: what stays different in mathematics, what is folded away, and that the hashes never change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.minhash import jaccard
from mining.shingles import shingles, text_digest

WORKSHEET = "Worksheet. 1. Compute 12 + 35. 2. Compute 48 - 19. 3. Solve 3 x = 21. 4. Solve 7 y = 56. Show your work."


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
    assert jaccard(shingles(one), shingles(other)) <= 0.5


def test_two_worksheets_with_other_numbers_are_not_near_duplicates():
    other = WORKSHEET.translate(str.maketrans("123456789", "987654321"))
    assert jaccard(shingles(WORKSHEET), shingles(other)) < 0.1


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
    assert shingles(twin) == shingles(WORKSHEET)


def test_number_of_shingles_is_tokens_less_n_plus_one():
    assert len(shingles("a b c d e f g", 5)) == 3
    assert len(shingles("a b a b a b a b", 2)) == 2  # only "a b" and "b a"


def test_chinese_counts_by_character():
    # Nine characters without the comma: five windows of five.
    assert len(shingles("证明：三角形，内角和。", 5)) == len("证明三角形内角和") - 5 + 1


def test_short_pages_match_only_themselves():
    assert len(shingles("Hello world")) == 1
    assert shingles("Hello world") == shingles(" Hello\nworld ")
    assert shingles("Hello world") != shingles("world Hello")
    assert shingles("") == shingles(" \n。") == []


def test_hashes_are_the_same_in_every_process_and_version():
    assert shingles("Let x = 1", 5) == [6827198905647221686]
    assert text_digest("a  b\n") == text_digest("a b") == "e932d71afddc92588044f8a624582c4c"


@given(st.text(max_size=200), st.integers(1, 9))
def test_any_text_gives_sorted_distinct_63_bit_integers(text, n):
    found = shingles(text, n)
    assert found == sorted(set(found))
    assert all(0 <= value < 1 << 63 for value in found)


def test_digest_keeps_case_and_punctuation():
    assert len({text_digest(t) for t in ("a b", "A b", "a b.", "ab")}) == 4
