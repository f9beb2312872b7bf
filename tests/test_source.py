"""The article's source is found, furniture is cut from it, and both twins of `clean` agree on every page."""

import random
import time

import pytest
from formula_match import formulas_in

from mining.html import source
from mining.html.charset import decode
from mining.html.extract import ExtractConfig, extract
from mining.html.furniture import drop_link_lines, judged
from mining.html.hints import HINT_OF_CODE, HINT_OF_TAG, HINT_OF_WORD, formula_selector, hints_in
from mining.html.marks import HEADING, LINK_END, LINK_START
from mining.html.source import Cleaned, clean_in_python
from mining.warc import read_responses

TWINS = [pytest.param(clean_in_python, id="python")]
if source.compiled:
    TWINS.append(pytest.param(lambda html: source.compiled.clean(html, judged), id="compiled"))

PROSE = "A sentence, with commas, that is long enough, as sentences go, to weigh something. "


@pytest.fixture(params=TWINS)
def clean(request):
    return request.param


def test_scripts_styles_and_comments_go_but_for_formulas(clean):
    page = (
        "<body><script>a < b</script><STYLE>p{}</STYLE><!-- <p>no</p> --><p>yes</p>"
        '<script type="math/tex">x^2</script></body>'
    )
    assert clean(page)[0] == '<body><p>yes</p><script type="math/tex">x^2</script></body>'


@pytest.mark.parametrize(
    "furniture",
    [
        "<nav>menu</nav>", "<NAV>menu</NAV>", "<aside><p>aside</aside>", '<div class="site-footer"><div>x</div></div>',
        '<ul id="breadcrumbs"><li>Home</ul>', '<div role="navigation">x</div>', '<span aria-hidden="true">x</span>',
        '<div style="display: none">x</div>', "<div hidden>x</div>", '<img class="banner" src="a.png">',
        "<div class=cookie-notice>x</div>", "<div class=post-author-box>x</div>", '<div id="tag-list">x</div>',
        "<p class=wp-caption-text>x</p>", '<div data-note="a > b" class="share">x</div>',
    ],
)  # fmt: skip
def test_furniture_is_cut(clean, furniture):
    text = f"<p>{PROSE * 4}</p>"
    assert clean(f"<body>{text}{furniture}{text}</body>")[0] == f"<body>{text}{text}</body>"


@pytest.mark.parametrize(
    "kept",
    [
        '<div class="has-sidebar">x</div>', '<div class="post-content share">x</div>',
        '<div class="solution" style="display:none">x</div>', '<details hidden class="answer">x</details>',
        '<mjx-container class="MathJax CtxtMenu_Attached_0">x</mjx-container>', "<p class=exercise>x</p>",
        '<blockquote class="twitter-tweet">x</blockquote>', "<div class=has-article-share>x</div>",
        '<span class="katex"><span class="katex-html" aria-hidden="true">x</span></span>',
    ],
)  # fmt: skip
def test_text_and_formulas_are_not_furniture(clean, kept):
    page = f"<body><p>{PROSE * 4}</p>{kept}</body>"
    assert clean(page)[0] == page


def test_furniture_that_never_closes_or_holds_the_page_stays(clean):
    assert clean(f"<body><nav><p>{PROSE}</p>")[0] == f"<body><nav><p>{PROSE}</p>"
    page = f'<body><div class="widget">{PROSE * 9}</div>{PROSE}</body>'
    assert clean(page)[0] == page


def test_links_are_marked_and_anchors_are_not(clean):
    assert clean('<a name="x"></a><a href="/y">y</a>')[0] == (
        f'<a name="x"></a>{LINK_END}{LINK_START}<a href="/y">y</a>{LINK_END}'
    )


def test_article_is_taken_with_the_heading_before_it(clean):
    article = f"<article><p>{PROSE * 6}</p></article>"
    page = f"<body><header><h1>Title</h1><p>by me, today</p></header>{article}<div><p>more, of, this</p></div></body>"
    cleaned = Cleaned(*clean(page))
    assert cleaned.source == f"<h1>{HEADING}Title</h1>{article}"
    assert cleaned.num_left_out == 3


def test_heading_before_an_article_of_sections_is_its_title(clean):
    sections = f"<h1>One</h1><p>{PROSE * 3}</p><h1>Two</h1><p>{PROSE * 3}</p>"
    page = f"<body><h1>Title</h1><h1><a href=/>Site</a></h1><article>{sections}</article></body>"
    assert f"{HEADING}Title" not in clean(page)[0]
    page = page.replace("<h1><a href=/>Site</a></h1>", "")
    assert clean(page)[0].startswith(f"<h1>{HEADING}Title</h1><article>")
    assert clean(page.replace("<h1>Two</h1>", ""))[0].startswith("<article>")


def test_signs_of_formulas_are_counted_page_and_part(clean):
    article = f"<article><p>{PROSE * 6} $x$ <math><mi>x</mi></math></p></article>"
    script = '<script type="math/tex">\\pi</script>'
    cleaned = Cleaned(*clean(f"<body>{article}<p>{script}</p><script>$y$</script></body>"))
    assert (cleaned.num_signs, cleaned.num_signs_kept) == (2 + 4 + 1 + 4, 2 + 4)
    assert cleaned.scripts == "<script>$y$</script>"


def test_prices_are_no_signs_of_formulas_where_nothing_typesets_them(clean):
    prices = "<p>from $250 to $300, or $x, or \\$5</p>"
    assert Cleaned(*clean(f"<body>{prices}</body>")).num_signs == 2
    assert Cleaned(*clean(f"<body>{prices}<script src=MathJax.js></script></body>")).num_signs == 5


def test_scripts_are_kept_for_a_typesetter_or_a_formula_only(clean):
    script = "<script>macros = {}</script>"
    assert Cleaned(*clean(f"<body>x{script}</body>")).scripts == ""
    assert Cleaned(*clean(f"<body>$x${script}</body>")).scripts == script
    for name in ("MathJax", "mathjax", "katex"):
        named = f"<script>{name}.go()</script>"
        assert Cleaned(*clean(f"<body>x{named}</body>")).scripts == named


def test_tags_code_and_hints_are_those_of_the_article(clean):
    page = f"<body><nav><pre>x</pre><sup>2</sup></nav><p>{PROSE}</p><p>x<b>y</b></p></body>"
    assert Cleaned(*clean(page))[-3:] == (8, False, 0)
    page = f"<body><p>{PROSE}</p><pre>x</pre> a<sup>2</sup> mathematics</body>"
    assert Cleaned(*clean(page))[-3:] == (8, True, HINT_OF_TAG | HINT_OF_WORD | HINT_OF_CODE)


HINTS = (
    "<sub", "<sup", "<SUB", "<SuP", "<summary", "<script", "<math", "<mjx-c", "<mjx", "<m:math", "<mml:math", "<m:x",
    "<d-math", "<dt-math", "<tex-math", "<la-tex", "<eq", "<eqn", "<em", "<img ", "<IMG\n", "<img", "<Img ", "<span ",
    "<span\t ", "<span", "class=", "'", '"', "data-", "katex", "wp-katex", "wp-", "MathJax", "MathJax-Element",
    "Jax-Element", "arithmatex", "asciimath", "tex", "text", "tex.", "latex", "formula", "equation", "ql-formula",
    "span-in", "cht=tx", "eeimg", "Wiris", "$", "\\", "math", "m", "<pre", "<CODE", "<textarea", "<co", "jax_ignore",
    "tex2jax_ignore", " ", ">", "<", "</p>", "x", "é", "中", "=", "&lt;math", "alt='$x$'", "«math",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_hints_are_the_same_in_both_twins_and_hide_no_formula(seed):
    draw = random.Random(seed)
    for _ in range(1500):
        page = "".join(draw.choices(HINTS, k=draw.randrange(1, 9)))
        assert formula_selector(page, hints_in(page)) == formula_selector(page), page
        if source.compiled:
            assert source.compiled.clean(page, judged) == clean_in_python(page), page


def test_question_and_answer_stand_side_by_side(clean):
    page = f"<main><article>{PROSE * 2}</article><article>{PROSE * 9}</article></main>"
    assert clean(page)[0] == page


def test_rendered_katex_loses_its_drawing_where_it_keeps_its_source(clean):
    page = (
        '<p><span class="katex"><span class="katex-mathml"><math><mi>x</mi></math></span>'
        '<span class="katex-html" aria-hidden="true"><span>x</span></span></span></p>'
    )
    assert "katex-html" not in clean(page)[0] and "<mi>x</mi>" in clean(page)[0]


@pytest.mark.parametrize(
    "page",
    [
        "", "<", "<a", "</", "<!--", "<!-->x", "<script", "<script>", '<p class="', "<p class=>x", "<p =''>x",
        '<a =">">x', "<nav><nav></nav>", "</nav><nav>", "<P CLASS='Menu'>x", "<p/class=menu>x</p>", "<ÿ>",
        "<p id=\u3000nav>x", "\x00<b>", "<li class=menu>a<li>b", "<td class=ad><td>", "<style>" + "<" * 50,
        "<a href=x>" * 20, "\\newcomma<", "a \\newcommand{\\lt}{<} $x$ <b", "<a =\"" * 70 + ">x, y",
        "x < y, <b", "<p title=\"a'b\" id='nav'>x</p>",
    ],
)  # fmt: skip
def test_twins_agree_on_odd_markup(page):
    if not source.compiled:
        pytest.skip("no compiled twin here")
    assert source.compiled.clean(page, judged) == clean_in_python(page)


def _real_pages(real_data, name, count):
    for raw in read_responses(str(real_data / "web" / name), max_payload_bytes=1 << 20):
        if raw.http_status == 200 and "html" in (raw.content_type or "") and raw.payload and count:
            count -= 1
            yield decode(raw.payload, http_content_type=raw.content_type)[0]


@pytest.mark.real
def test_twins_agree_on_real_pages_whole_and_mutated(real_data):
    if not source.compiled:
        pytest.skip("no compiled twin here")
    draw = random.Random(5)
    for page in _real_pages(real_data, "part-00001.warc.gz", 150):
        cut = page[: draw.randrange(len(page))][:40_000]
        at = draw.randrange(len(cut) + 1)
        torn = (
            cut[:at] + draw.choice(("<", ">", '"', "'", "</div>", "<!--", "<nav>", "=")) + cut[at + draw.randrange(9) :]
        )
        for html in (page, torn):
            assert source.compiled.clean(html, judged) == clean_in_python(html)


@pytest.mark.parametrize("ending", ["", ">", '=">"', "</script>-->"])
@pytest.mark.parametrize(
    "piece",
    [
        "<nav>", '<a ="', "<a ", "<a", "<div class=menu>", "<article>", "<!--", "<script>", "</script", "<p =", "< ",
        "<img ", "<span ", "m", "<script>x", " ", "<code",
    ],
)  # fmt: skip
def test_no_markup_takes_quadratic_time(clean, piece, ending):
    page = "<script>" * (piece == "</script") + piece * (120_000 // len(piece)) + ending
    started = time.process_time()
    clean(page)
    assert time.process_time() - started < 3


def test_lone_surrogates_do_not_stop_the_cleaner():
    assert "a" in source.clean("<p>a \ud800 b</p>").source
    assert extract("<p>a \ud800 b</p>", "u", ExtractConfig()).text.startswith("a")


def test_runs_of_links_go_and_text_with_links_stays():
    menu = "".join(f"{LINK_START}Page {n}{LINK_END}\n" for n in range(4))
    text = f"See {LINK_START}this page{LINK_END} for the proof.\n" * 9
    assert drop_link_lines(menu + text + menu) == text.replace(LINK_START, "").replace(LINK_END, "").rstrip("\n")


def test_teasers_far_from_the_article_go_where_the_page_has_no_formulas():
    article = f"{PROSE * 3}\n" * 6
    teasers = (
        f"Read more\n{LINK_START}A headline of another page{LINK_END}\nIt sums up what that page says, in a line.\n" * 3
    )
    assert "It sums up" not in drop_link_lines(article + teasers, is_prose=True)
    assert "It sums up" in drop_link_lines(article + teasers)


def test_what_stands_before_the_title_goes_where_the_page_has_no_formulas():
    before, article = f"{HEADING}Hot topics\n{PROSE * 2}\n", f"{HEADING}A walk along the river\n{PROSE * 3}\n" * 3
    title = "A walk along the river | The Paper"
    assert drop_link_lines(before + article, title, is_prose=True).startswith("A walk along the river\n")
    assert "Hot topics" in drop_link_lines(before + article, title)
    assert "Hot topics" in drop_link_lines(before + article, "River walks", is_prose=True)
    assert "Hot topics" in drop_link_lines(before * 9 + article, title, is_prose=True)


def test_short_lines_of_formulas_are_text():
    body = "".join(f"<p>\\(x_{n} = {n}\\)</p>" for n in range(60))
    page = f'<script src="MathJax.js"></script><body><p>Values</p>{body}<p>Share</p><p>Like</p></body>'
    text = extract(page, "u", ExtractConfig()).text
    assert len(formulas_in(text)) == 60 and text.startswith("Values")


def test_heading_and_last_lines_stay_and_linked_ones_around_them_go():
    lines = [
        f"{LINK_START}Home{LINK_END}",
        "",
        f"{HEADING}Chapter 3",
        "today",
        f"{HEADING}3.1 Roots",
        "",
        *[PROSE * 2] * 4,
    ]
    tail = ["the last item", f"{LINK_START}Previous{LINK_END}", "Share"]
    text = drop_link_lines("\n".join((*lines, *tail)))
    assert text.startswith("Chapter 3\ntoday\n3.1 Roots\n") and text.endswith("\nthe last item")


def test_links_that_a_sentence_announces_stay():
    links = [f"• {LINK_START}Resource {n}{LINK_END}" for n in range(3)]
    text = "\n".join((PROSE, "Three resources:", *links, PROSE))
    assert "Resource 2" in drop_link_lines(text)
    assert "Resource" not in drop_link_lines(text.replace("resources:", "resources"))


def test_figures_keep_their_code_and_tables_and_lose_line_numbers():
    page = (
        f"<body><p>{PROSE * 4}</p><figure class='highlight'><table><tr><td class='gutter'><pre>1</pre></td>"
        "<td class='code'><pre>int main();</pre></td></tr></table><figcaption>Listing</figcaption></figure></body>"
    )
    text = extract(page, "u", ExtractConfig()).text
    assert "int main();" in text and "Listing" in text and "1" not in text
