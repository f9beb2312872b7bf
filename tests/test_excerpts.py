"""Pages that an annotator is shown: from the right prefix, both kinds, few, the same on every call."""

import pytest

from mining.page import PAGES_SCHEMA
from mining.spark import recall
from mining.spark.excerpts import page_excerpts

pytestmark = pytest.mark.spark

SITES = {
    "http://www.x.org/notes/{}": 40,
    "https://x.org/shop/{}": 9,
    "http://x.org/{}": 3,
    "http://y.org/notes/{}": 4,
}


def test_excerpts_are_of_the_longest_prefix_few_of_either_kind_and_cut(spark) -> None:
    urls = [form.format(n) for form, count in SITES.items() for n in range(count)]
    ids = {url: f"{place:032x}" for place, url in enumerate(urls)}
    text = "x" * 5000
    pages = spark.createDataFrame(
        [(ids[url], url, f"Title {url}", text) for url in urls], "page_id string, url string, title string, text string"
    )
    assert {"page_id", "url", "title", "text"} <= set(PAGES_SCHEMA.names)
    scores = spark.createDataFrame(
        [(ids[url], url, url.split("/")[2], "x.org", "en", 10, 0.5) for url in urls], recall.SCORES
    )
    taken = [url for place, url in enumerate(urls) if place % 4 == 0 and "x.org/" in url]
    collected = spark.createDataFrame([(ids[url],) for url in taken], "page_id string")

    def draw() -> dict:
        return page_excerpts(
            pages.repartition(3),
            scores.repartition(2),
            collected,
            hosts=["x.org", "www.x.org", "y.org"],
            rows=["x.org/", "x.org/shop/", "x.org/notes/", "y.org/"],
            wanted=["x.org/", "x.org/notes/"],
            per_prefix=5,
            max_chars=100,
        )

    found = draw()
    assert set(found) == {"x.org/", "x.org/notes/"}
    notes = found["x.org/notes/"]
    assert [one.collected for one in notes] == [True] * 5 + [False] * 5
    assert all(one.url.startswith("http://www.x.org/notes/") and one.title == f"Title {one.url}" for one in notes)
    assert all((one.url in taken) == one.collected for one in notes)
    assert {len(one.text) for one in notes} == {100}
    assert sorted(one.url for one in found["x.org/"]) == [f"http://x.org/{n}" for n in range(3)]
    assert draw() == found
    assert page_excerpts(
        pages, scores, collected, hosts=[], rows=["x.org/"], wanted=[], per_prefix=5, max_chars=9
    ) == {}  # fmt: skip
