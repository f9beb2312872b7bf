"""Decontamination: planted leaks are found through changes of layout, innocents stay, evidence points at the text."""

import gzip
import itertools
import json
import pickle
import random

import pytest
from rewritten_leaks import rewritten

from mining.decontaminate import (
    BenchmarkItem,
    DecontaminateConfig,
    benchmark_items,
    build,
    clean,
    find,
)
from mining.errors import ConfigError
from mining.grams import fold, tokens, units_of
from mining.inputs import find_files
from mining.spark.corpus import read_benchmarks
from mining.warc import read_responses

JANET = "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and sells the rest."
MEDIAN = (
    "Let $x$ be real. Find the median of $\\left(\\dfrac{1}{2}, x^2-3, \\ 7\\right)$ when it is least, i.e. minimal."
)
TEA = "妈咪买了3盒茶叶，一盒茶叶有6小包，一共买了多少小包茶叶？"
SHORT = "What is 17 times 23?"
CFG = DecontaminateConfig()
ITEMS = [
    BenchmarkItem("gsm8k", "1", JANET),
    BenchmarkItem("math", "2", MEDIAN),
    BenchmarkItem("cmath", "3", TEA),
    BenchmarkItem("svamp", "4", SHORT),
    BenchmarkItem("svamp", "5", "Why?"),
]
INDEX = build(ITEMS, CFG)


def found(text, index=INDEX):
    return [(match.benchmark, match.rule) for match in find(text, index)]


@pytest.mark.parametrize(
    "spellings",
    [
        (
            r"\frac{1}{2}",
            r"\frac {1} {2}",
            r"\frac12",
            r"\frac 1 2",
            r"\frac  12",
            r"\dfrac{1}2",
            r"\tfrac1{2}",
            r"\cfrac{ 1 }{ 2 }",
        ),
        (r"$x^{10}$", r"\(x^10\)", r"$$ x ^ {10} $$", r"\[x^{ 10 }\]"),
        (r"90^\circ", r"90^{\circ}", r"90 ^ { \circ }", "90°", r"$90$°"),
        (r"f'(x)", r"f^{\prime}(x)", r"f^\prime(x)", "f’(x)"),
        (r"\left\{1,\,2\right\}", "{1, 2}", r"\{1,2\}", r"\lbrace 1 , 2 \rbrace"),
        (r"a \le b", r"a\leq b", r"a \leqslant b", "a≤b", "ａ≤ｂ"),
        (r"x \lt 3", "x < 3", "x＜3"),
        (r"|x| \ne \pm 1", r"\lvert x\rvert \neq ± 1", "|x| ≠ ±1"),
        (r"\sin\alpha", r"sin \alpha", "sin α"),
        (r"\$5 and 10\%", "$5 and 10%", "5 and 10％"),
        (r"1, 2, \ldots, n", "1,2,…,n", "1, 2, ..., n"),
        ("pages 3-5", "pages 3–5", "pages 3 -- 5", "pages 3−5"),
        ("“It’s” so", '"It\'s" so', "``It's'' so", "«It's» so".replace("«", "„").replace("»", "“")),
        ("so\u200b far", "so far", "so\u00a0far", "so\n\tfar", "ＳＯ　ｆａｒ"),
        ("妈妈，买了３盒（红）茶。", "妈妈,买了3盒(红)茶.", "妈妈买了3盒（红）茶！", "妈妈 买了 3 盒 ( 红 ) 茶"),
        ("甲——乙", "甲—乙", "甲--乙", "甲 - 乙"),
        ("比是2：3", "比是2:3", "比是2∶3"),
    ],
    ids=lambda spellings: spellings[0],
)
def test_spellings_of_one_text_are_the_same_tokens(spellings):
    assert len({tuple(tokens(spelling)) for spelling in spellings}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 apples", "4 apples"), ("x + 1", "x - 1"), (r"\frac{1}{2}", r"\frac{12}{}"), ("x^2", "x_2"),
        ("a < b", "a > b"),
        ("3.14", "3 14"), ("买3盒", "买4盒"), (r"\sin x", r"\cos x"), ("f(x)", "f x"), (r"\alpha", r"\beta"),
        ("1,000", "1000"),
    ],
)  # fmt: skip
def test_numbers_and_operators_are_not_normalised(one, other):
    assert tokens(one) != tokens(other)


def test_tokens_of_english_latex_and_chinese():
    assert tokens("Let $x_1 \\le 3.50$, don't!") == ["let", "x", "_", "1", r"\leq", "3.50", "don", "t"]
    assert tokens("\\left( \\dfrac{1}{2},3 \\right)") == ["(", r"\frac", "1", "2", "3", ")"]
    assert tokens("已知ｘ≤２，求１，０００。") == ["已", "知", "x", r"\leq", "2", "求", "1", "000"]
    assert tokens("a×b÷c") == ["a", r"\times", "b", r"\div", "c"]


@pytest.mark.parametrize(
    ("leak", "benchmark"),
    [
        (JANET, "gsm8k"),
        (JANET.upper().replace("’", "'"), "gsm8k"),
        (JANET.replace(" ", "\n  "), "gsm8k"),
        (JANET.replace(".", " !").replace(" ", "\u00a0"), "gsm8k"),
        ("$$x$$ be real; find the median of \\( ( \\frac 1 2 , x ^ {2} - 3, 7 ) \\) when it is least", "math"),
        (MEDIAN.replace("$", "").replace("\\left", "").replace("\\right", ""), "math"),
        ("妈咪买了３盒茶叶,一盒茶叶有６小包", "cmath"),
        (TEA.replace("，", "").replace("？", "?"), "cmath"),
        ("Q: what is 17 TIMES 23", "svamp"),
    ],
)
def test_planted_leak_is_found_through_changed_layout(leak, benchmark):
    assert {name for name, _ in found(f"Some words before.\n{leak}\nand some after it.")} == {benchmark}


@pytest.mark.parametrize(
    "innocent",
    [
        JANET.replace("16", "17").replace("three", "four").replace("sells", "gives"),
        "She eats three for breakfast every morning and no more",  # nine units of the text, then another
        "What is 17 times 24?",
        "What is 17 + times 23",  # a sign between two units
        "妈咪买了4盒茶叶，一盒茶叶有5小包",
        "",
        "Why? Why?",
    ],
)
def test_innocent_text_is_left_alone(innocent):
    assert found(innocent) == []


def test_nine_units_pass_and_ten_do_not():
    words = [f"word{letter}" for letter in "abcdefghijk"]
    index = build([BenchmarkItem("b", "1", " ".join(words))], CFG)
    assert found("x " + " ".join(words[:9]) + " y", index) == []
    assert found("x " + " ".join(words[:10]) + " y", index) == [("b", "ten_gram")]


def test_signs_between_units_must_agree_but_do_not_count():
    # Ten units: if a b c d then find e f g. Counted with their signs the first ten would end at `find`.
    index = build([BenchmarkItem("b", "1", "if a + b + c + d then find e + f + g + h")], CFG)
    assert found("if a+b+c+d then find e+f+g", index) == [("b", "ten_gram")]
    assert found("if a+b+c+d then find e+f", index) == []
    assert found("if a+b+c+d then find e+f-g", index) == []
    assert found("-if a+b+c+d then find e+f+g-", index) == [("b", "ten_gram")]


def test_wordless_grams_match_only_when_asked():
    counting = " ".join(str(i) for i in range(1, 15))
    items = [BenchmarkItem("b", "1", counting)]
    assert found("Table: " + counting, build(items, CFG)) == []
    assert build(items, CFG).ignored == (("b", "1", "question", counting, "no_word"),)
    assert found(counting, build(items, DecontaminateConfig(min_words=0))) == [("b", "ten_gram")]


def test_evidence_points_at_the_text():
    page = "Intro line.\nHomework: " + JANET + "\nOutro."
    (match,) = find(page, INDEX)
    assert page[match.place : match.end] == JANET.rstrip(".")
    assert (match.item, match.gram) == ("1", "janet s ducks lay 16 eggs per day she eats")


def test_offsets_survive_characters_that_grow_when_lowered():
    page = "İİİ Ｗide\n" + JANET
    (match,) = find(page, INDEX)
    assert page[match.place :].startswith("Janet")


def test_two_leaks_of_one_item_are_two_runs():
    assert found(JANET + " Other words between the two of them. " + JANET) == [("gsm8k", "ten_gram")] * 2
    assert [match.units for match in find(JANET + " words " + JANET, INDEX)] == [19, 19]


def test_ten_gram_removes_its_lines_and_no_others():
    page = "Keep this.\n" + JANET + "\nKeep that."
    cleaned = clean(page, find(page, INDEX), CFG)
    assert (cleaned.text, cleaned.action) == ("Keep this.\nKeep that.", "segment")
    across = JANET.replace("day. ", "day.\n")
    assert clean("A.\n" + across + "\nB.", find("A.\n" + across + "\nB.", INDEX), CFG).text == "A.\nB."


def test_page_goes_where_nothing_is_left_or_the_option_says_so():
    assert clean(JANET, find(JANET, INDEX), CFG).text is None
    page = "Keep this.\n" + JANET
    cfg = DecontaminateConfig(remove="page")
    assert clean(page, find(page, build(ITEMS, cfg)), cfg).action == "page"


def test_clean_page_is_returned_as_it_is():
    assert clean("nothing here", [], CFG).text == "nothing here"


@pytest.mark.parametrize(("rule", "inside", "alone"), [("contains", 1, 1), ("whole_line", 0, 1), ("off", 0, 0)])
def test_short_questions_follow_their_rule(rule, inside, alone):
    index = build(ITEMS, DecontaminateConfig(short_rule=rule))
    assert len(find("I asked: what is 17 times 23, roughly?", index)) == inside
    assert len(find("Quiz\n  What is 17 times 23?\nGood luck", index)) == alone


def test_short_match_removes_the_page():
    page = "Quiz\nWhat is 17 times 23?\nGood luck"
    assert clean(page, find(page, INDEX), CFG).text is None


def test_short_answers_are_innocent_unless_asked_for():
    items = list(benchmark_items({"id": 9, "question": "Solve it now please", "answer": "x = 2"}, "b"))
    assert [item.part for item in items] == ["question", "answer"]
    assert find("so that x = 2 follows", build(items, CFG)) == []
    assert build(items, CFG).ignored == ()
    assert build(items, CFG).short_answers == {"b": 1}
    long = [BenchmarkItem("b", "9", "we see that x = 2 and so", "answer")]
    assert find("now we see that x = 2 and so on", build(long, CFG)) == []
    assert len(find("now we see that x = 2 and so on", build(long, DecontaminateConfig(short_answers=True)))) == 1


def test_texts_below_three_units_are_reported_as_ignored():
    assert INDEX.ignored == (("svamp", "5", "question", "Why?", "too_short"),)
    report = INDEX.report()
    assert report["not_sought"] == [
        {"benchmark": "svamp", "item": "5", "part": "question", "text": "Why?", "reason": "too_short"}
    ]
    assert report["benchmarks"]["svamp"] == {"items": 2, "short_answers_not_sought": 0}
    json.dumps(report)


def test_phrases_of_many_items_are_reported_and_can_be_excused():
    phrase = "where m and n are relatively prime positive integers find"
    items = [BenchmarkItem("b", str(i), f"word{chr(97 + i)} {phrase} m{i}") for i in range(12)]
    index = build(items, CFG)
    assert ("where m and n are relatively prime positive integers find", 12) in index.common
    assert len(find("so " + phrase + " m + n", index)) == 12
    assert find("so " + phrase + " m + n", build(items, DecontaminateConfig(max_items_per_gram=11))) == []


def test_index_is_the_same_for_any_order_and_survives_pickling():
    other = build(reversed(ITEMS), CFG)
    copy = pickle.loads(pickle.dumps(INDEX))
    for index in (other, copy):
        assert index.grams.tolist() == INDEX.grams.tolist()
        assert index.items == INDEX.items
        assert find(JANET + SHORT, index) == find(JANET + SHORT, INDEX)


def test_empty_benchmarks_match_nothing():
    assert find(JANET, build([], CFG)) == []


def test_question_carries_its_options():
    row = {"id": "a/1", "question": "Which is prime?", "options": ["A)4", "B)5"], "solution": "5.", "answer": None}
    assert [(item.part, item.text) for item in benchmark_items(row, "b")] == [
        ("question", "Which is prime?\nA)4\nB)5"),
        ("solution", "5."),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        {"ngram": 2},
        {"short_rule": "fuzzy"},
        {"remove": "site"},
        {"max_items_per_gram": -1},
        {"min_words": -1},
        {"max_hosts_per_short": -1},
    ],
)
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        DecontaminateConfig(**bad)


@pytest.mark.real
def test_every_long_gsm8k_and_cmath_question_finds_itself_in_a_page(real_data):
    for name in ("gsm8k.test", "cmath.test"):
        with gzip.open(real_data / "benchmarks" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        index = build((item for row in rows for item in benchmark_items(row, name)), CFG)
        assert index.ignored == ()
        for row in rows:
            page = f"An exercise\n{row['question'].replace(', ', ' , ')}\nand its answer."
            assert (name, row["id"]) in {(match.benchmark, match.item) for match in find(page, index)}


@pytest.mark.real
@pytest.mark.slow
def test_rewritten_problems_of_every_benchmark_are_found_in_real_pages(real_data):
    """Questions and solutions of all files at once, English and Chinese; host pages are found clean without them."""
    pages = [
        raw.payload.decode("utf-8", "replace")[2000:6000]
        for raw in itertools.islice(
            read_responses(str(real_data / "web/part-00002.warc.gz"), max_payload_bytes=1 << 20), 400
        )
    ]
    files = find_files(["benchmarks/*.jsonl.gz"], data_dir=str(real_data), field="benchmarks")
    items = list(read_benchmarks(files))
    rng = random.Random(0)
    by_part = {}
    for item in items:
        by_part.setdefault((item.benchmark, item.part), []).append(item)
    planted = []
    for part in by_part.values():
        long = (one for one in rng.sample(part, len(part)) if len(units_of(fold(one.text)).hashes) >= 12)
        planted += itertools.islice(long, 25)
    assert len({one.benchmark for one in planted}) == len(files) == 34
    assert {one.part for one in planted} == {"question", "solution", "answer"}
    index = build(items, CFG)
    missed = []
    for number, item in enumerate(planted):
        host = pages[number % len(pages)]
        page = f"{host}\nAn exercise: {rewritten(item.text, number)}\n{host}"
        found = {(match.benchmark, match.item): match for match in find(page, index)}
        if (item.benchmark, item.item) not in found:
            missed.append(item)
    assert len(planted) > 1000
    # Polynomials, series of numbers: no gram of them has a word, and the index says so.
    ignored = {(text.benchmark, text.item, text.text) for text in index.ignored}
    missed = [one for one in missed if (one.benchmark, one.item, one.text) not in ignored]
    assert missed == []
