"""The mini web's promises: same bytes for the same seed, exact truth, no page without its record."""

import gzip
import hashlib
import json
import re
from base64 import b32encode
from collections import Counter
from pathlib import Path

import pytest
from toy_pages import ENCODINGS, formula
from toy_sites import ARCHETYPES, World, default_hosts
from toy_text import MATH_KINDS, edit_words, problem_grams
from toy_web import ToyWebConfig, main, make_page, write_toy_web

from mining.errors import ConfigError
from mining.warc import read_responses

SMALL = {"pages": 1200, "hosts": 120, "seed": 3}


@pytest.fixture(scope="module")
def web(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("toy")
    write_toy_web(ToyWebConfig(out=out, workers=1, **SMALL))
    return out


@pytest.fixture(scope="module")
def truth(web) -> list[dict]:
    return [json.loads(line) for line in (web / "web" / "truth.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def responses(web) -> dict:
    files = sorted((web / "web").glob("part-*.warc.gz"))
    return {r.url: r for file in files for r in read_responses(str(file), max_payload_bytes=10**7) if not r.problem}


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=0, num_pages=3000, num_hosts=120)


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def lines_of(path: Path) -> list[dict]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.decode().splitlines()]


def test_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(web, tmp_path):
    write_toy_web(ToyWebConfig(out=tmp_path, workers=2, **SMALL))
    assert all_bytes(tmp_path) == all_bytes(web)


def test_a_smaller_web_leaves_no_file_of_the_larger_one_behind(web, tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "part-00009.warc.gz").write_bytes(b"old")
    write_toy_web(ToyWebConfig(out=tmp_path, pages=150, hosts=30, seed=4))
    assert [p.name for p in sorted((tmp_path / "web").glob("part-*"))] == ["part-00000.warc.gz"]
    assert (tmp_path / "web" / "part-00000.warc.gz").read_bytes() != (web / "web" / "part-00000.warc.gz").read_bytes()


def test_every_page_of_truth_has_one_readable_record(truth, responses):
    assert len(truth) == 1200
    assert len({row["url"] for row in truth}) == 1200
    assert all(responses[row["url"]].http_status == 200 for row in truth)


def test_digests_are_right_where_no_oddity_says_otherwise(truth, responses):
    for row in truth:
        record = responses[row["url"]]
        if row["oddity"] not in ("wrong_digest", "truncated_by_crawler", "gzip_encoded", "chunked"):
            assert record.payload_digest == "sha1:" + b32encode(hashlib.sha1(record.payload).digest()).decode()
    oddities = Counter(row["oddity"] for row in truth)
    assert oddities[None] > 1100
    assert len(oddities) > 5


def test_records_without_a_page_are_there_and_in_no_truth(truth, responses, web):
    urls = {row["url"] for row in truth}
    others = Counter(r.http_status for url, r in responses.items() if url not in urls)
    assert others[404] and others[301] and others[200]


def test_the_last_member_of_a_file_is_cut_and_one_length_lies(web):
    first, second = (web / "web" / f"part-0000{n}.warc.gz" for n in (0, 1))
    with pytest.raises(EOFError):
        gzip.decompress(first.read_bytes())
    record = gzip.decompress(second.read_bytes()).split(b"https://", 1)[0]
    assert record.startswith(b"WARC/1.0\r\nWARC-Type: warcinfo\r\n")
    liar = next(r for r in gzip.decompress(second.read_bytes()).split(b"WARC/1.0\r\n") if b"/odd/length" in r)
    head, _, rest = liar.partition(b"\r\n\r\n")
    stated = int(re.search(rb"Content-Length: (\d+)", head)[1])
    assert stated == len(rest.removesuffix(b"\r\n\r\n")) + 60


def test_exact_and_url_copies_have_the_bytes_of_their_original(truth, responses):
    checked = 0
    for row in truth:
        if row["duplicate_kind"] in ("exact", "url") and row["duplicate_of"] in responses and row["oddity"] is None:
            original = responses[row["duplicate_of"]]
            if not original.truncated:
                assert responses[row["url"]].payload == original.payload
                checked += 1
    assert checked > 10


def test_originals_of_copies_are_original_pages(world):
    places = [world.place(*world.page_at(position)) for position in range(world.num_pages)]
    assert len({place.url for place in places}) == len(places)
    by_url = {place.url: place for place in places}
    roles = Counter(place.role for place in places)
    assert set(roles) == {"original", "exact", "near", "url", "mirror", "print"}
    for place in places:
        original = by_url[world.place(*place.source).url]
        assert original.role == "original"
        assert original.kind == place.kind


def test_the_mixture_is_as_promised(world):
    kinds = Counter(world.place(*world.page_at(position)).kind for position in range(world.num_pages))
    math = sum(n for kind, n in kinds.items() if kind in MATH_KINDS)
    chinese = sum(n for kind, n in kinds.items() if kind in MATH_KINDS and kind.startswith("zh_"))
    other_chinese = sum(n for kind, n in kinds.items() if kind not in MATH_KINDS and kind.startswith("zh_"))
    assert 0.25 <= math / 3000 <= 0.31
    assert (kinds["school"] + kinds["zh_school"]) / math >= 0.35
    assert 0.25 <= chinese / math <= 0.75
    assert 0.25 <= other_chinese / (3000 - math) <= 0.75
    assert all(kinds[kind] >= 15 for kind in MATH_KINDS)


def test_archetypes_fill_120_hosts():
    assert sum(archetype.count for archetype in ARCHETYPES) == 120


def test_hosts_grow_slower_than_pages():
    assert default_hosts(3000) == 120
    assert 5000 < default_hosts(1_000_000) < 10_000


def test_host_table_counts_every_page_once(web, truth):
    header, *rows = [line.split("\t") for line in (web / "web" / "hosts.tsv").read_text("utf-8").splitlines()]
    assert header[:4] == ["host", "path_prefix", "language", "label"]
    assert sum(int(row[8]) for row in rows) == len(truth)
    assert {row[3] for row in rows} == {"math", "mixed", "nonmath"}
    for row in rows:
        if row[3] == "math":
            assert row[8] == "0" or float(row[9]) > 0.6


def test_leaked_questions_stand_on_their_pages_and_nowhere_else(web, truth, responses):
    items = {row["id"]: row for path in (web / "benchmarks").iterdir() for row in lines_of(path)}
    assert len(items) == 800
    grams = {gram for item in items.values() for gram in problem_grams(item["question"])}
    leaks = 0
    for row in truth:
        record = responses[row["url"]]
        if row["kind"] not in ("school", "zh_school", "qa") or record.truncated:
            continue
        text = re.sub(r"<[^>]+>", "\n", decoded(record.payload, row["url"]))
        found = any(gram in grams for line in text.replace(" \n", " ").split("\n\n") for gram in problem_grams(line))
        if row["contaminated_with"] is None:
            assert not found, row["url"]
        elif row["duplicate_of"] is None:
            question = problem_grams(items[row["contaminated_with"]]["question"])
            assert question <= problem_grams(text) or row["duplicate_kind"] == "near"
            leaks += 1
    assert leaks > 3


def decoded(payload: bytes, url: str) -> str:
    for charset in (
        ("utf-16", "utf-8", "gb18030") if payload[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8", "gb18030")
    ):
        try:
            return payload.decode(charset)
        except UnicodeDecodeError:
            continue
    return payload.decode("latin-1")


def test_problem_sets_are_disjoint(web):
    benchmark = [row for path in sorted((web / "benchmarks").iterdir()) for row in lines_of(path)]
    sft, rl, held_out = (lines_of(web / "problems" / f"{name}.jsonl") for name in ("sft", "rl", "eval"))
    questions = [row["question"] for row in (*benchmark, *sft, *rl)]
    assert len(questions) == 800 + 2000 + 4000 == len(set(questions))
    assert set(sft[0]) == {"id", "question", "answer", "solution", "language"}
    assert [(row["id"], row["question"]) for row in held_out] == [
        (row["id"], row["question"]) for row in benchmark[400:]
    ] + [(row["id"], row["question"]) for row in benchmark[:400]]
    assert all(row["solution"].rstrip("。.").endswith(f"\\boxed{{{row['answer']}}}") for row in rl)


def test_charsets_are_declared_rightly_wrongly_and_not_at_all(world):
    declared = {(site.charset, site.header_charset, site.look.meta_charset) for site in world.sites}
    assert any(charset != "utf-8" and header == "utf-8" for charset, header, _ in declared)
    assert any(charset != "utf-8" and not header and not meta for charset, header, meta in declared)
    assert any(charset != "utf-8" and header == charset for charset, header, _ in declared)


def test_a_page_is_encoded_as_its_site_says(world):
    from toy_web import Problems

    site = next(site for site in world.sites if site.charset in ("gbk", "gb2312", "gb18030"))
    _, row, served_by, body = make_page(world, Problems(benchmark={"en": {}, "zh": {}}), site.number, 0)
    assert served_by.number == site.number
    assert row["language"] == "zh"
    assert "之家" in body.decode(site.charset) or "数学网" in body.decode(site.charset)
    with pytest.raises(UnicodeDecodeError):
        body.decode("utf-8")


def test_an_edited_page_keeps_its_formulas_and_most_of_its_words():
    import random

    words = [f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(200)]
    body = " ".join(words) + "\nBut ⟦x^{2} = 9⟧ stays."
    edited = edit_words(body, random.Random(1), share=0.03)
    assert edited != body
    assert "⟦x^{2} = 9⟧ stays." in edited
    assert len(set(words) - set(edited.split())) <= 6  # 3% of 204 words is 6 edits


def test_formula_encodings_by_hand():
    squared = {
        "dollars": "$x^{2}$",
        "parentheses": r"\(x^{2}\)",
        "custom_delimiters": "[math]x^{2}[/math]",
        "math_script": '<span class="MathJax_Preview"></span><script type="math/tex">x^{2}</script>',
        "math_container": '<span class="math-container">$x^{2}$</span>',
        "sup_sub": '<span class="formula"><i>x</i><sup>2</sup></span>',
        "mathml": '<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">'
        "<msup><mi>x</mi><mn>2</mn></msup></math>",
        "pandoc": r'<span class="math inline">\(x^{2}\)</span>',
    }
    assert {encoding: formula("x^{2}", encoding) for encoding in squared} == squared


def test_every_encoding_but_plain_mathml_and_sup_sub_carries_the_latex():
    for encoding in ENCODINGS:
        shown = formula(r"\frac{a}{b}", encoding, display=True)
        assert (r"\frac{a}{b}" in shown) == (encoding not in ("mathml", "sup_sub")), encoding


def test_fractions_and_signs_become_mathml():
    assert formula(r"\frac{1}{n} \le 3", "mathml") == (
        '<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline"><mrow>'
        "<mfrac><mn>1</mn><mi>n</mi></mfrac><mo>≤</mo><mn>3</mn></mrow></math>"
    )


@pytest.mark.parametrize("sizes", [{"pages": 50}, {"pages": 2_000_000}, {"pages": 300, "hosts": 5}, {"workers": 0}])
def test_impossible_sizes_are_refused(sizes, tmp_path):
    with pytest.raises(ConfigError, match="choose"):
        ToyWebConfig(out=tmp_path, **sizes)


def test_command_line_says_what_is_wrong_and_exits_2(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--pages", "7"]) == 2
    assert "--pages 7: choose 100 to 1,000,000" in capsys.readouterr().err
    (tmp_path / "file").write_text("in the way")
    assert main(["--out", str(tmp_path / "file"), "--pages", "200"]) == 2
    assert "cannot write" in capsys.readouterr().err
