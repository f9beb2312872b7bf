"""A page's main text survives, its furniture goes, and no page can hang or crash the worker."""

import contextlib
import random
import resource
import time
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from mining.errors import RecordError
from mining.html.charset import decode
from mining.html.extract import ExtractConfig, extract

CFG = ExtractConfig()
QUESTION = (Path(__file__).parent / "fixtures" / "html" / "question.html").read_text()


def text_of(body: str) -> str:
    return extract(f"<html><body>{body}</body></html>", "https://example.org/", CFG).text


def test_question_page_comes_out_whole():
    page = extract(QUESTION, "https://example.org/q/7", CFG)
    assert page.title == "Why is the derivative of x^2 equal to 2x? - Maths Answers"
    for part in (
        "# Why is the derivative of $x^{2}$ equal to 2x?"[2:],
        "for $f(x) = x^2$ the derivative is $f'(x) = 2x$, and I paid $5 for a book and $7 for another",
        "\n$$f'(x) = \\lim_{h \\to 0} \\frac{(x+h)^2 - x^2}{h}$$\n",
        "\n$$\\lim_{h \\to 0} (2x + h) = 2x.$$\n",
        "x\tf(x)\tslope\n1\t1\t2\n3\t9\t6",
        'for x in $VALUES; do echo "\\(x\\) is $x"; done',
        "Divide by $h$.",
    ):
        assert part in page.text


def test_furniture_of_the_question_page_goes():
    text = extract(QUESTION, "https://example.org/q/7", CFG).text
    for part in ("cookies", "Accept all", "Users", "magnets", "Copyright", "Privacy", "MathJax ="):
        assert part not in text


def test_question_page_counts_its_formulas():
    page = extract(QUESTION, "https://example.org/q/7", CFG)
    # Inline: f(x)=x^2, f'(x)=2x, h, h; display: the quotient and its limit; one sup in the heading.
    assert page.formulas_by_kind == {"delimited": (6, 6), "sup_sub": (1, 1)}


def test_headings_lists_and_lines_survive():
    text = text_of("<h2>Proof</h2><p>First<br>second</p><ol><li>one</li><li>two</li></ol><p>End of proof.</p>")
    assert text.split("\n")[:4] == ["Proof", "", "First", "second"]
    assert "1. one" in text and "2. two" in text


def test_short_list_that_main_content_drops_is_kept():
    items = "".join(f"<li>Exercise {n}: find the root of the polynomial.</li>" for n in range(1, 4))
    assert text_of(f"<h1>Sheet</h1><ul>{items}</ul>").count("Exercise") == 3


PARAGRAPH = "<p>A paragraph that is long enough to be taken for the main content of a page by any measure.</p>" * 8


def test_text_list_between_paragraphs_keeps_its_bullets_and_link_list_goes():
    text = text_of(
        f"{PARAGRAPH}<ul><li>Let x be real.</li><li>Then x² is not negative.</li></ul>{PARAGRAPH}"
        '<ul><li><a href="/a">Home</a></li><li><a href="/b">Archive</a></li></ul>'
    )
    assert "• Let x be real.\n  • Then x² is not negative." in text
    assert "Archive" not in text


def test_chinese_characters_alone_between_tags_survive():
    text = text_of(f"{PARAGRAPH}<p>若<b>甲</b>且<code>b</code>为<i>真</i>。</p>")
    assert text.endswith("若甲且b为真。")


def test_a_page_that_a_name_would_empty_is_taken_whole():
    text = text_of(
        '<div class="section" id="Comments"><h1>Comments</h1><p>In this language, a comment starts with %.</p></div>'
    )
    assert text == "Comments\n\nIn this language, a comment starts with %."


def test_text_without_main_content_keeps_everything():
    cfg = ExtractConfig(main_content=False)
    body = "<html><body><h1>A</h1><p>First.</p><p>Second.</p></body></html>"
    assert extract(body, "u", cfg).text == "A\n\nFirst.\n\nSecond."


def test_output_is_cut_at_a_line():
    cfg = ExtractConfig(max_text_chars=50)
    page = "<html><body>" + "<p>Ten words of text stand in this one line here.</p>" * 5 + "</body></html>"
    assert extract(page, "u", cfg).text == "Ten words of text stand in this one line here."


def test_invisible_and_icon_characters_go():
    assert text_of("<p>so\u00adft\u200b \u00a0space \ue88e\x07end of the line</p>") == "soft  space end of the line"


BOMBS = {
    "too_deep": "<div>" * 300_000,
    "too_many_nodes": "<b></b>" * 300_000,
    "too_many_attributes": "<div " + " ".join(f"a{n}=1" for n in range(50_000)) + ">x</div>",
    "too_large": "x" * (CFG.max_bytes + 1),
}


@pytest.mark.parametrize("reason", BOMBS)
def test_bomb_is_counted_not_fatal(reason):
    started = time.process_time()
    page = f"<html><body><p>Some text.</p>{BOMBS[reason]}"
    if reason == "too_large":
        with pytest.raises(RecordError) as caught:
            extract(page, "https://example.org/", CFG)
        assert caught.value.reason == reason
    else:
        found = extract(page, "https://example.org/", CFG)
        assert found.guard == reason and found.text.startswith("Some text.")
    assert time.process_time() - started < 2


def test_text_without_markup_holds_no_scripts():
    page = "<script>var a = 1</script><style>.x{}</style><!-- no --><p>yes" + "<div>" * 3_000
    found = extract(page, "u", ExtractConfig(main_content=False))
    assert (found.guard, found.text) == ("too_deep", "yes")


@pytest.mark.parametrize(
    "page",
    [
        "<title" * 60_000, "<pre>a" + "\t" * 60_000 + "\nb", "<pre>a" + " " * 60_000 + "\t\t",
        '<script type="math/tex">x%' + " " * 60_000 + "</script>",
        '<math><annotation encoding="' + "tex" * 30_000 + '">x<b>y</b></annotation></math>',
    ],
    ids=["title", "tabs", "blanks", "cdata", "annotation"],
)  # fmt: skip
def test_no_pattern_takes_quadratic_time(page):
    started = time.process_time()
    extract(page, "u", CFG)
    assert time.process_time() - started < 2


def test_page_that_takes_too_long_comes_out_without_markup():
    page = "<p>Some text &amp; a root.</p>" + "<math><msqrt><mi>x</mi></msqrt></math>" * 2_000
    found = extract(page, "u", ExtractConfig(max_cpu_s=0.001))
    assert found.guard == "cpu_time" and found.text.startswith("Some text & a root.\nx")
    assert extract(page, "u", CFG).guard == ""


@pytest.mark.parametrize(
    "body",
    [
        "<div>" * 1_400 + "deep",
        "<span class='katex'>" * 1_400 + "deep",
        "<math>" + "<mfrac>" * 900 + "<mi>x</mi>",
        "x" + "<sup>2" * 1_400,
        "<script src='MathJax.js'></script><p>" + "\\( " * 60_000,
        "<script src='MathJax.js'></script><p>" + "{$$a " * 15_000,
        "<script src='MathJax.js?config=AM_HTMLorMML'></script><p>" + "`((((a" * 10_000,
        "<pre>" + " " * 500_000 + "x",
        "<table><tr><td colspan=999999999999>a</td></tr></table>",
        "<p>" + "(a)<sup>2</sup>" * 8_000,
        "<script" * 20_000,
    ],
    ids=["div", "katex", "mfrac", "sup", "openers", "braces", "ticks", "spaces", "colspan", "brackets", "scripts"],
)
def test_hostile_page_takes_linear_time(body):
    started = time.process_time()
    with contextlib.suppress(RecordError):
        extract(f"<html><body>{body}", "https://example.org/", CFG)
    assert time.process_time() - started < 4


def test_broken_copies_of_a_page_never_raise_another_error():
    rng = random.Random(5)
    pieces = [
        "<math>",
        "<sub>",
        "</sup>",
        "$",
        "$$",
        "\\(",
        "\\[",
        "{",
        "}",
        '"',
        "<table>",
        "\x00",
        "<script>",
        "&#x10F000;x",
    ]
    for _ in range(150):
        page = QUESTION
        for _ in range(rng.randint(1, 12)):
            at = rng.randrange(len(page))
            page = page[:at] + rng.choice(pieces) * rng.choice((1, 1, 20)) + page[at + rng.randint(0, 60) :]
        found = extract(page, "u", CFG)
        assert found.formulas_kept <= found.formulas_found
        assert not any("\U0010f000" <= char <= "\U0010f1ff" for char in found.text)


def test_empty_page_is_empty_text():
    found = extract("", "u", CFG)
    assert (found.title, found.text, found.formulas_found, found.formulas_by_kind) == ("", "", 0, {})


@pytest.mark.real
def test_real_crawl_file_raises_only_record_errors(real_data):
    path = sorted((real_data / "web").glob("part-*.warc.gz"))[-1]
    num_pages = num_refused = found = kept = 0
    for record in ArchiveIterator(str(path), record_types=WarcRecordType.response):
        headers = record.http_headers
        if headers is None or headers.status_code != 200 or "html" not in (headers.get("Content-Type") or "html"):
            continue
        num_pages += 1
        try:
            html, _ = decode(record.reader.read(), http_content_type=headers.get("Content-Type"))
            page = extract(html, record.headers["WARC-Target-URI"], CFG)
        except RecordError:
            num_refused += 1
            continue
        found += page.formulas_found
        kept += page.formulas_kept
    assert num_pages > 500
    assert num_refused < 0.01 * num_pages
    assert kept > 0.95 * found > 0


PIECES = (
    "<div>", "</div>", "<math>", "<sup>", "<table>", "<script>", "<!--", "-->", '"', "'", ">", "<", "$", "$$", "\\(",
    "\\[", "\\begin{align}", "{", "}", "\\newcommand{\\a}{", "&lt;", "&#x10F000;", "\x00", "\u200f", "<svg>",
    "<template>", "<select>", "<plaintext>", "<a href=x>", "class=", "<mjx-container>", '<span class="katex">',
)  # fmt: skip


def _mutated(page: str, draw: random.Random) -> str:
    """A real page with pieces of markup thrown in, stretches cut, moved and repeated."""
    for _ in range(draw.randint(1, 10)):
        at, other = sorted((draw.randrange(len(page) + 1), draw.randrange(len(page) + 1)))
        match draw.randrange(4):
            case 0:
                page = page[:at] + draw.choice(PIECES) * draw.choice((1, 3, 300)) + page[at:]
            case 1:
                page = page[:at] + page[min(other, at + 2_000) :]
            case 2:
                page = page[:other] + page[at : at + 5_000] * 2 + page[other:]
            case _:
                page = page[:other]
    return page


@pytest.mark.real
def test_mutated_real_pages_neither_raise_nor_hang_nor_grow(real_data):
    draw = random.Random(23)
    path = sorted((real_data / "web").glob("part-*.warc.gz"))[0]
    pages = []
    for record in ArchiveIterator(str(path), record_types=WarcRecordType.response):
        payload = record.reader.read()
        if record.http_headers and record.http_headers.status_code == 200 and 500 < len(payload) < 120_000:
            with contextlib.suppress(RecordError):
                pages.append(decode(payload, http_content_type=record.http_headers.get("Content-Type"))[0])
        if len(pages) == 250:
            break
    slowest = 0.0
    grown_from = 0
    for number in range(1_500):
        page = _mutated(draw.choice(pages), draw)
        started = time.process_time()
        found = extract(page, "u", CFG)
        slowest = max(slowest, time.process_time() - started)
        assert found.formulas_kept <= found.formulas_found
        assert not any("\U0010f000" <= char <= "\U0010f1ff" or char in "\x01\x02\x03" for char in found.text)
        if number == 500:
            grown_from = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert slowest < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown_from < 100_000, "kilobytes of growth"


PROSE = "<p>" + "This sentence, with its commas, is what the page says, and it ends in a full stop. " * 8 + "</p>"


def main_text_of(body: str) -> str:
    return extract(
        f"<html><body><main>{PROSE}{body}</main></body></html>", "https://example.org/", ExtractConfig()
    ).text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<ol start=3><li>third</li><li>fourth</li></ol>", "  3. third\n  4. fourth"),
        ("<ol start=999999><li>x</li></ol>", "  1. x"),
        ("<table><tr><td><p>subs</p></td><td>\n<p>50 <b>us</b></p></td></tr></table>", "subs\t50 us"),
        ("<table><tr><td><div>a</div></td><td>b</td></tr></table>", "a\tb"),
        ("<table><tr><td></td><td>b</td><td> </td><td>d</td></tr></table>", "\n\tb\t\td"),
        ('<dl><dt><strong>width</strong><span class="classifier">int</span></dt></dl>', "width int"),
        ('<pre><span class="meta">#include</span> &lt;map&gt;\n\t\tint x;</pre>', "#include <map>\n\t\tint x;"),
        (
            'A word<details class="ptx-footnote"><summary class="ptx-footnote__number"><sup>1</sup></summary>'
            '<div class="ptx-footnote__contents">as said</div></details> goes on.',
            "A word 1 as said goes on.",
        ),
        (r'Take <span class="math inline">\(P\)</span><sub>0</sub>.', "Take $P_{0}$."),
        (r'So <span class="math inline">\(P\)</span><sup>1</sup> is.', "So $P$1 is."),
        ("Since C<sub>n</sub>H<sub>2n</sub> burns", "Since $C_{n}H_{2n}$ burns"),
        ("Since C<sub>3</sub>H<sub>6</sub>O<sub>3</sub> burns", "Since C3H6O3 burns"),
        (r'costs $<span class="math inline">\(b\)</span> now', r"costs \$$b$ now"),
        ("<h3>2019-21</h3><p>Two years, with commas, and a full stop at the end of it all.</p>", "2019-21\n"),
        (
            "<h2>References</h2><ul><li><a href=a>One paper</a></li><li><a href=b>Two papers</a></li></ul>",
            "References\n\n  • One paper\n  • Two papers",
        ),
        (
            "<ul><li>Numpy</li><li><a href=a>nosetests</a></li><li><a href=b>pyflakes</a></li><li>gdb</li></ul>"
            + PROSE,
            "• nosetests\n  • pyflakes\n",
        ),
    ],
)
def test_small_structures_stay_as_a_reader_sees_them(body, expected):
    assert expected in main_text_of(body)


def test_lines_that_only_lead_to_other_pages_go():
    header = '<div class="header"><p>Next: <a rel="next" href="b">B</a>, Up: <a href="c">C</a></p></div>'
    assert main_text_of(header + PROSE) == main_text_of(PROSE)
    related = "<h2>Related posts</h2><ul><li><a href=a>One post</a></li><li><a href=b>Two posts</a></li></ul>"
    assert "post" not in main_text_of(related)
