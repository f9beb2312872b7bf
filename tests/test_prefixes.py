"""Prefix proposals on hosts whose right cut is plain, and the labels file."""

import pickle
import random

import pytest

from mining.errors import ConfigError
from mining.prefixes import (
    Label,
    PrefixConfig,
    label_for,
    label_index,
    labels_of,
    propose,
    read_labels,
    section_prefixes,
    sections_of,
    write_labels,
)

CFG = PrefixConfig()


def pages(folder: str, total: int, collected: int, *, tokens: int = 100) -> list[tuple[str, bool, float, int]]:
    return [
        (f"http://ex.org/{folder}p-{i}.html", i < collected, 1.0 if i < collected else -1.0, tokens)
        for i in range(total)
    ]


def table(rows):
    return {p.prefix: (p.pages, p.collected, p.proposed) for p in propose(sections_of(rows, CFG), CFG)}


def test_pure_folder_is_cut_out_of_a_mixed_host():
    rows = pages("math/", 20, 16) + pages("shop/", 40, 0) + pages("", 5, 0)
    assert table(rows) == {"ex.org/math/": (20, 16, True), "ex.org/": (45, 0, False)}


def test_poor_folder_is_cut_out_of_a_good_host_and_labelled_not_math():
    rows = pages("", 40, 30) + pages("notes/", 30, 22) + pages("tags/", 20, 0)
    # notes/ has the share of the root's own pages: no row of its own.
    assert table(rows) == {"ex.org/": (70, 52, True), "ex.org/tags/": (20, 0, False)}
    labels = labels_of(propose(sections_of(rows, CFG), CFG), annotator="rules", labelled_at="2025-01-01T00:00:00Z")
    assert [(label.prefix, label.label) for label in labels] == [("ex.org/", "math"), ("ex.org/tags/", "not_math")]


def test_even_host_is_one_row():
    rows = pages("a/", 20, 10) + pages("b/", 20, 11) + pages("c/", 20, 9)
    assert table(rows) == {"ex.org/": (60, 30, True)}


def test_nested_section_is_found_below_a_poor_folder():
    rows = pages("docs/math/", 15, 14) + pages("docs/api/", 60, 0) + pages("docs/", 5, 0) + pages("", 5, 0)
    assert table(rows) == {"ex.org/docs/math/": (15, 14, True), "ex.org/": (70, 0, False)}


def test_rejected_host_proposes_nothing():
    assert not any(proposed for _, _, proposed in table(pages("a/", 30, 1) + pages("b/", 30, 0)).values())


def test_site_in_one_folder_is_named_by_that_folder():
    assert table(pages("algebra-precalculus/", 12, 6)) == {"ex.org/algebra-precalculus/": (12, 6, True)}


def test_row_numbers_by_hand():
    (row,) = propose(sections_of(pages("", 10, 3, tokens=50), CFG), CFG)
    assert (row.prefix, row.depth, row.share) == ("ex.org/", 0, 0.3)
    assert row.bound == pytest.approx(0.10779, abs=1e-5)
    assert row.mean_score == pytest.approx((3 * 1.0 - 7 * 1.0) / 10)
    assert row.uncollected_tokens == 350


def test_rows_part_the_pages_of_the_host():
    rows = pages("a/x/", 17, 9) + pages("a/", 8, 0) + pages("b/", 33, 1) + pages("", 3, 3)
    found = propose(sections_of(rows, CFG), CFG)
    assert sum(p.pages for p in found) == len(rows)
    assert sum(p.collected for p in found) == 13


def test_order_of_the_pages_does_not_matter():
    rows = pages("a/x/", 17, 9) + pages("a/", 8, 0) + pages("b/", 33, 1)
    shuffled = rows[:]
    random.Random(0).shuffle(shuffled)
    assert propose(sections_of(rows, CFG), CFG) == propose(sections_of(shuffled, CFG), CFG)


def test_forum_section_is_a_query_prefix():
    def thread(forum: int, number: int, hit: bool):
        return (f"http://ex.org/viewtopic.php?f={forum}&t={number}", hit, 0.0, 10)

    rows = [thread(12, i, i < 18) for i in range(20)] + [thread(3, i, False) for i in range(60)]
    assert table(rows)["ex.org/viewtopic.php?f=12"] == (20, 18, True)


@pytest.mark.parametrize(
    "url",
    [
        "http://ex.org/2024/09/13/lora-3/",
        "http://ex.org/2024-09-13/x/y.html",
        "http://ex.org/page/2/x.html",
        "http://ex.org/9f86d081884c7d659a2feaa0/x.html",
        "http://ex.org/question-1234567/x.html",
    ],
)
def test_dates_ids_and_page_numbers_are_not_descended_into(url):
    assert section_prefixes(url) in (["ex.org/"], ["ex.org/", "ex.org/page/"])


@pytest.mark.parametrize("folder", ["18.06", "stat3202", "v7.3.0", "ch2", "MATH20101"])
def test_course_and_chapter_names_are_sections(folder):
    assert section_prefixes(f"http://ex.org/{folder}/x.html")[-1] == f"ex.org/{folder}/"


def test_no_pages_give_no_rows():
    assert propose([], CFG) == []


@pytest.fixture
def index():
    return label_index(
        [
            Label("ex.org", "math"),
            Label("ex.org/tags/", "not_math"),
            Label("ex.org/tags/algebra", "math"),
            Label("bb.org/view.php?f=12", "math"),
            Label("bb.org/view.php?f=12&sub=news", "not_math"),
        ]
    )


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("http://www.ex.org/", "math"),
        ("http://ex.org/a/b/c/d/e", "math"),
        ("http://ex.org/tags", "not_math"),
        ("http://ex.org/tags/cooking/", "not_math"),
        ("http://ex.org/tags/algebra/2.html", "math"),
        ("http://ex.org/tags/algebraic", "not_math"),
        ("http://ex.org/tagset", "math"),
        ("http://other.org/tags/", None),
        ("http://bb.org/view.php?t=9&f=12", "math"),
        ("http://bb.org/view.php?t=9&f=12&sub=news", "not_math"),
        ("http://bb.org/view.php?f=1", None),
    ],
)
def test_longest_labelled_prefix_wins(index, url, label):
    found = label_for(url, pickle.loads(pickle.dumps(index)))
    assert (found.label if found else None) == label


def test_labels_survive_writing_and_reading():
    labels = [
        Label("ex.org/a/", "math", "mia", "2025-02-03T04:05:06Z", 'says "yes", twice\nor so'),
        Label("例え.jp/数学", "not_math"),
    ]
    assert read_labels(write_labels(labels)) == labels
    assert read_labels("\ufeff" + write_labels(labels)) == labels
    assert read_labels("") == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("ex.org/a,maths,,,\n", r"line 2: label 'maths' is unknown; write math or not_math"),
        ("ex.org,math,,,\n,math,,,\n", r"line 3: prefix '' has no host"),
        ("ex.org/a,math,,,\nex.org/b,math,,,\nwww.ex.org/a/,not_math,,,\n", r"line 4: .* line 2 says math"),
        ("ex.org/a,math,me,now,one,two\n", r"line 2: 6 cells for 5 columns"),
    ],
)
def test_bad_label_rows_are_refused_with_their_line(body, message):
    with pytest.raises(ConfigError, match=message):
        read_labels("prefix,label,annotator,labelled_at,note\n" + body)


def test_labels_without_their_columns_are_refused():
    with pytest.raises(ConfigError, match="no column 'label'"):
        read_labels("prefix,verdict\nex.org,math\n")


def test_in_and_out_are_read_as_the_labels_of_any_subject():
    found = read_labels("prefix,label\ncook.org/soup/,in\ncook.org/news/,out\ncook.org/soup,math\n")
    assert [(one.prefix, one.label) for one in found] == [("cook.org/soup/", "math"), ("cook.org/news/", "not_math")]


def test_repeated_labels_count_once():
    text = "prefix,label,annotator,labelled_at,note\nex.org/a,math,,,\n\nex.org/a/,math,,,\n"
    assert [label.prefix for label in read_labels(text)] == ["ex.org/a"]
