"""URL keys: which addresses are one page, which are not, and that no address can break them."""

import csv
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.url import canonical_url, host_of, path_prefixes, prefix_matches, registered_domain, url_prefix_key


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://WWW.Example.ORG:80/", "example.org"),
        ("https://example.org:443", "example.org"),
        ("http://example.org:8080/a", "example.org:8080/a"),
        ("https://user:secret@example.org/a#proof", "example.org/a"),
        ("https://www.curiosities.dev/publications/", "curiosities.dev/publications"),
        ("https://www.sonnenenergie.de//index.php?id=30&no_cache=1", "sonnenenergie.de?id=30&no_cache=1"),
        ("http://ex.org/docs/Default.aspx", "ex.org/docs"),
        ("http://ex.org/index.html/index.html", "ex.org"),
        ("http://ex.org/index.php/Main_Page", "ex.org/index.php/Main_Page"),
        (
            "https://www.stern.de/a--parlament-8961728.html?utm_campaign=alle&utm_medium=rss-feed",
            "stern.de/a--parlament-8961728.html",
        ),
        ("http://ex.org/q?b=2&a=1&a=0&gclid=x&fbclid=y&spm=1.2", "ex.org/q?a=1&a=0&b=2"),
        ("http://ex.org/q?a=1&amp;b=2", "ex.org/q?a=1&b=2"),
        ("http://ex.org/t;jsessionid=1A2B3C?x=1", "ex.org/t?x=1"),
        ("http://ex.org/(S(lit3py55t21z5v55vlm25s55))/orders.aspx", "ex.org/orders.aspx"),
        ("http://ex.org/f.php?PHPSESSID=77ab&f=2", "ex.org/f.php?f=2"),
        ("http://ex.org/f.php?sid=0123456789abcdef0123456789abcdef&f=2", "ex.org/f.php?f=2"),
        ("http://slashdot.org/article.pl?sid=00/01/23/1547", "slashdot.org/article.pl?sid=00/01/23/1547"),
        ("http://ex.org/%7euser/caf%c3%a9", "ex.org/~user/caf%C3%A9"),
        ("http://ex.org/~user/café", "ex.org/~user/caf%C3%A9"),
        ("http://en.wikipedia.org/wiki/Group_%28mathematics%29", "en.wikipedia.org/wiki/Group_(mathematics)"),
        ("http://bummfilm.de/page/index.php?scroll=%DCber", "bummfilm.de/page?scroll=%DCber"),
        ("http://ex.org/a%2Fb", "ex.org/a%2Fb"),
        ("http://ex.org/a/./b/../c/", "ex.org/a/c"),
        ("http://ex.org/s?q=two%20words", "ex.org/s?q=two+words"),
        ("http://münchen.de/", "xn--mnchen-3ya.de"),
        ("ftp://ex.org/a", "ftp://ex.org/a"),
    ],
)
def test_canonical_url_of_real_shapes(url, key):
    assert canonical_url(url) == key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://ex.org/Math", "http://ex.org/math"),
        ("http://ex.org/a?p=1", "http://ex.org/a?p=2"),
        ("http://ex.org/a?x=1&x=2", "http://ex.org/a?x=2&x=1"),
        ("http://ex.org/a?print=1", "http://ex.org/a"),
        ("http://ex.org/news?sid=7", "http://ex.org/news?sid=8"),
        ("http://m.ex.org/a", "http://ex.org/a"),
        ("http://ex.org/c%2B%2B", "http://ex.org/c"),
        ("http://a.github.io/x", "http://b.github.io/x"),
    ],
)
def test_different_pages_keep_different_keys(one, other):
    assert canonical_url(one) != canonical_url(other)


@pytest.mark.parametrize(
    "url", ["", "//", "http://", "http://[::1", "http://ex.org:99999999/", "%", "http://%zz/%zz?%zz", "javascript:x"]
)
def test_malformed_urls_give_a_best_effort(url):
    assert isinstance(canonical_url(url), str)
    assert host_of(url) == host_of(canonical_url(url))
    assert path_prefixes(url)[0] == host_of(url) + "/"


@given(st.text(max_size=60).map(lambda s: "http://ex.org/" + s) | st.text(max_size=40))
def test_any_text_is_survived_and_canonical_urls_stay_as_they_are(url):
    key = canonical_url(url)
    assert canonical_url(key) == key
    url_prefix_key(url)
    path_prefixes(url)
    assert registered_domain(host_of(url)) is not None


@given(st.text(alphabet="abAB/.%2f?&=;~é ", max_size=40))
def test_canonical_url_is_idempotent_where_escapes_and_separators_mix(tail):
    key = canonical_url("http://ex.org/" + tail)
    assert canonical_url(key) == key


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("levi-heath.github.io", "levi-heath.github.io"),
        ("a.b.github.io", "b.github.io"),
        ("terrytao.wordpress.com", "terrytao.wordpress.com"),
        ("math.stackexchange.com", "stackexchange.com"),
        ("www.bbc.co.uk", "bbc.co.uk"),
        ("github.io", "github.io"),
        ("192.168.0.1", "192.168.0.1"),
        ("localhost", "localhost"),
        ("toy.invalidtld", "toy.invalidtld"),
        ("", ""),
    ],
)
def test_registered_domain_honours_private_suffixes(host, domain):
    assert registered_domain(host) == domain


def test_host_is_lower_case_punycode_without_port():
    assert host_of("HTTP://WWW.Example.Org:8080/A") == "www.example.org"
    assert host_of("https://例え.jp/") == "xn--r8jz45g.jp"


def test_prefix_key_keeps_www_and_the_query_of_script_sites_only():
    assert url_prefix_key("https://www.ex.org/a/b?x=1#f") == "www.ex.org/a/b"
    assert url_prefix_key("http://ex.org/view.php?f=3&utm_source=x") == "ex.org/view.php?f=3"
    assert url_prefix_key("http://ex.org/?p=2895") == "ex.org/?p=2895"


def test_path_prefixes_are_folders_only():
    assert path_prefixes("https://camerongeisler.github.io/algebra-precalculus/sec-cylinders.html") == [
        "camerongeisler.github.io/",
        "camerongeisler.github.io/algebra-precalculus/",
    ]
    assert path_prefixes("http://ex.org/a/b/c/d/e/f", max_depth=2) == ["ex.org/", "ex.org/a/", "ex.org/a/b/"]


@pytest.mark.parametrize(
    ("url", "section"),
    [
        ("http://ex.org/forum/viewtopic.php?f=12&t=9931", "ex.org/forum/viewtopic.php?f=12"),
        ("http://ex.org/index.php?id=77&topic_name=algebra", "ex.org/index.php?topic_name=algebra"),
        ("http://ex.org/?cat=algebra&paged=3", "ex.org/?cat=algebra"),
    ],
)
def test_query_driven_sites_have_a_section_prefix(url, section):
    assert path_prefixes(url)[-1] == section


@pytest.mark.parametrize("url", ["http://ex.org/?p=2895", "http://ex.org/detail1.php?id=765", "http://ex.org/a?cat=x"])
def test_ids_and_queries_of_path_sites_make_no_section(url):
    assert not any("?" in prefix for prefix in path_prefixes(url))


@pytest.mark.parametrize(
    ("prefix", "url", "covered"),
    [
        ("ex.org/math", "http://ex.org/math", True),
        ("ex.org/math", "https://www.ex.org/math/x?y=1", True),
        ("ex.org/math/", "http://ex.org/math", True),
        ("ex.org/math", "http://ex.org/mathew", False),
        ("ex.org/math", "http://ex.org/Math/", False),
        ("ex.org", "http://ex.org/anything", True),
        ("ex.org", "http://sub.ex.org/", False),
        ("ex.org/v.php?f=3", "http://ex.org/v.php?t=1&f=3", True),
        ("ex.org/v.php?f=3", "http://ex.org/v.php?f=33", False),
        ("ex.org/~anna", "http://ex.org/%7Eanna/notes.html", True),
    ],
)
def test_prefixes_match_whole_segments(prefix, url, covered):
    assert prefix_matches(prefix, url) is covered


@given(st.sampled_from(["http://ex.org/a/b/c.html", "http://ex.org/v.php?f=3&t=1", "http://ex.org/a//b/"]))
def test_every_prefix_of_a_url_covers_it(url):
    assert all(prefix_matches(prefix, url) for prefix in path_prefixes(url))


@pytest.mark.real
def test_host_table_prefixes_cover_their_own_hosts(real_data):
    with (real_data / "web" / "hosts.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) > 800
    for row in rows:
        assert host_of(f"https://{row['host']}/") == row["host"]
        assert prefix_matches(row["host"] + row["path_prefix"], f"https://{row['host']}{row['path_prefix']}x.html")


@pytest.mark.parametrize(
    "piece", ["/", "a/", "../", ".", ":", ":1", "%", "%41", "?a=1&", ";sid=", "1a", "é", "&amp;", "@"]
)
def test_a_long_hostile_url_takes_no_quadratic_time(piece):
    url = "http://ex.org" + piece * (200_000 // len(piece))
    start = time.perf_counter()
    canonical_url(url)
    path_prefixes(url)
    assert time.perf_counter() - start < 5
