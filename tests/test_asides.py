"""Lines beside an article go where a page has no formulas; what a text needs stays."""

import pytest

from mining.html import asides
from mining.html.extract import ExtractConfig, extract
from mining.html.lines import facts
from mining.html.marks import HEADING, LINK_END, LINK_START

PROSE = [f"Paragraph {n} of the article says something about rivers, and ends in a full stop." for n in range(40)]


def without_asides(lines: list[str]) -> list[str]:
    known = facts("\n".join(lines), asides.OPENERS, asides.CREDIT_SIGNS, is_prose=True)
    return asides.without_asides(lines, known)


@pytest.mark.parametrize(
    "line",
    [
        "Foto: Anna Meier",
        "A hunter in the steppe (Photo by Jane Doe)",
        "The city of Uglii/Getty Images",
        "© Daniel Müller / Greenpeace",
        "Copyright 2019 by D. Espinoza",
        "Anna Meier Getty Images",
        "Read more: Alibaba poised to launch a listing",
        "Lesen Sie auch",
        f"{LINK_START}Related articles{LINK_END}",
        "相关文章",
        "Leave a comment",
        "Subscribe to our newsletter and never miss a story",
        "Comments (35)",
        "Teilen",
    ],
)
def test_credits_announcements_and_invitations_go_wherever_they_stand(line):
    assert without_asides([*PROSE[:20], line, *PROSE[20:]]) == PROSE


@pytest.mark.parametrize(
    "line",
    [
        "Updated 1:39 am EST, Wednesday, November 20, 2019",
        "18.11.2019, 19:11 Uhr",
        "2023-04-16",
        "发布时间：2021年3月4日",
        "By Mike Wuerthele and Malcolm Owen",
        "Kategorie: News",
    ],
)
def test_dates_and_authors_go_at_the_ends_only(line):
    assert without_asides([line, *PROSE]) == PROSE
    assert without_asides([*PROSE, line]) == PROSE
    assert line in without_asides([*PROSE[:20], line, *PROSE[20:]])


@pytest.mark.parametrize(
    "line",
    [
        "Category theory",
        "Text classification",
        "By the end of this section, you will be able to:",
        "120\t0.7500",
        "173",
        "Register:",
        "(c) The dog barked",
        "Facebook marketing in five steps",
        "The photographer Ansel Adams lived in Yosemite.",
        "Subscribe to the topic with the client's subscribe method, then publish to it from another terminal.",
        "source code",
        "Definition: ap.cpp:167",
    ],
)
def test_lines_that_only_begin_alike_stay(line):
    assert without_asides([line, *PROSE]) == [line, *PROSE]
    assert without_asides([*PROSE[:20], line, *PROSE[20:]]) == [*PROSE[:20], line, *PROSE[20:]]


def test_an_announcement_takes_its_short_lines_until_a_sentence_or_a_heading():
    titles = ["Robots in the kitchen", "A walk to the sea"]
    assert without_asides([*PROSE, "You may also like", *titles]) == PROSE
    assert without_asides([*PROSE[:9], "Read next", *titles, *PROSE[9:]]) == PROSE
    heading = f"{HEADING}The second part"
    assert without_asides([*PROSE[:9], "Read next", heading, *PROSE[9:]]) == [*PROSE[:9], heading, *PROSE[9:]]


def test_a_lone_heading_at_the_end_goes():
    heading = f"{HEADING}More about rivers"
    assert without_asides([*PROSE, heading, "", f"{LINK_START}{LINK_END}"]) == PROSE
    assert without_asides([*PROSE, heading, "Rivers run"]) == [*PROSE, heading, "Rivers run"]
    # Headings alone are a list.
    for lines in ([*PROSE, heading, heading], ["Rivers", heading]):
        assert without_asides(lines) == lines


def test_captions_go_from_prose_and_stay_beside_formulas_and_code():
    article = "".join(f"<p>{line}</p>" for line in PROSE)
    figure = "<figure><img src=x><figcaption>A river, seen from above</figcaption></figure>"

    def text_of(extra: str) -> str:
        page = f"<html><body><article>{article}{figure}{extra}</article></body></html>"
        return extract(page, "https://example.org/", ExtractConfig()).text

    assert "seen from above" not in text_of("")
    assert "seen from above" in text_of(r"<p>\(x^2\) \(y^2\) \(z^2\) \(x+y\) \(y+z\)</p>")
    assert "seen from above" in text_of("<pre>int main();</pre>")
