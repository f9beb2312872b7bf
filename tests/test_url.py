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


# Spellings that stand as links in pages of the real web, or as a redirect and its target; each row is one page.
@pytest.mark.parametrize(
    "spellings",
    [
        # redirects of the web's servers
        (
            "https://understandinglinearalgebra.org/activities/share",
            "https://understandinglinearalgebra.org/activities/share/",
        ),
        ("https://sailormath.github.io/categories", "https://sailormath.github.io/categories/"),
        # trailing slash, index documents
        ("https://www.jagdverband.de/node/3850/", "https://www.jagdverband.de/node/3850"),
        ("https://wetter.tagesschau.de", "https://wetter.tagesschau.de/"),
        ("https://www.ndr.de", "https://www.ndr.de/index.html"),
        ("https://nnz-online.de/index.php", "https://www.nnz-online.de"),
        ("https://www.ibx.com/index.jsp?utm_source=Philly%20Voice&utm_content=SON", "https://www.ibx.com/"),
        (
            "https://doc.sagemath.org/html/en/reference/arithmetic_curves/index.html",
            "https://doc.sagemath.org/html/en/reference/arithmetic_curves/",
        ),
        (
            "https://harris-h.github.io/music",
            "https://harris-h.github.io/music/index.html",
            "https://harris-h.github.io/music/#!",
        ),
        # scheme, www, case of the host, ports
        ("https://eureka.dziennik.pl/", "http://eureka.dziennik.pl/"),
        ("https://www.r-project.org/", "https://www.R-project.org/"),
        ("https://bamboowine.github.io/", "http://BambooWine.github.io", "https://bamboowine.github.io:443/"),
        (
            "https://www.sphinx-doc.org/",
            "http://sphinx-doc.org/",
            "http://www.sphinx-doc.org:80",
            "https://www.sphinx-doc.org",
        ),
        (
            "http://www.rubydoc.info/github/sinatra/sinatra/Sinatra/Helpers/Stream",
            "http://rubydoc.info/github/sinatra/sinatra/Sinatra/Helpers/Stream",
        ),
        # tracking
        ("http://www.ExpressNews.com?utm_campaign=mysa", "http://expressnews.com"),
        ("https://www.bund.net/", "https://www.bund.net/?utm_term=buttonp7a593c79475d2654c79097f9da0f39"),
        ("https://twitter.com/HenningLobin/", "https://twitter.com/HenningLobin?ref_src=twsrc%5Etfw"),
        ("https://www.newsnation.in", "https://www.newsnation.in?ref=nn-logo"),
        (
            "https://kabarislamia.com/2015/03/30/jangan-membenci-satu-kaum-secara-berlebihan/",
            "https://kabarislamia.com/2015/03/30/jangan-membenci-satu-kaum-secara-berlebihan/?replytocom=5755",
        ),
        (
            "https://shop.jahr-tsv.de/jaeger/1988606?itemId=1988606&utm_campaign=menue&utm_source=JAEG&onwewe=0601",
            "https://shop.jahr-tsv.de/jaeger/1988606?itemId=1988606&utm_campaign=homepage&onwewe=0601",
        ),
        (
            "https://store.acponline.org/ebiz/productid/84029957?_ga=2.40829153.232870115.1586199231-1907619194.1585663792",
            "https://store.acponline.org/ebiz/productid/84029957?_ga=2.16632693.232870115.1586199231-1907619194.1585663792",
        ),
        (
            "https://aoc.media/paiment/inscription?level_id=3&referer=https://aoc.media/opinion/2019/12/09/pour-le",
            "https://aoc.media/paiment/inscription?level_id=3",
        ),
        # checksums and sessions
        (
            "https://www.rosalux.de/news/id/45292/wir-waren-fast-40-tage-in-quarantaene?cHash=39ac749d120d127296ab076c203053d3",
            "https://www.rosalux.de/news/id/45292/wir-waren-fast-40-tage-in-quarantaene",
        ),
        (
            "https://www.pocketpc.ch/windows-phone-7-allgemein/122760-microsoft-34.html?s=22c09551c71c1a6b64e4364ca45cbf28",
            "https://www.pocketpc.ch/windows-phone-7-allgemein/122760-microsoft-34.html",
        ),
        # escapes, dot segments, backslashes, doubled slashes
        (
            "https://guaren.github.io/tags/%E5%87%BA%E5%B7%AE/",
            "https://guaren.github.io/tags/出差/",
            "https://guaren.github.io/tags/%e5%87%ba%e5%b7%ae",
        ),
        (
            "https://www.sonnenenergie.de/index.php?id=37&tx_ttnews%5Brubrik%5D=21",
            "https://www.sonnenenergie.de//index.php?id=37&tx_ttnews[rubrik]=21",
        ),
        ("https://nwx.new-work.se/themenwelten/gesellschaft/\\", "https://nwx.new-work.se/themenwelten/gesellschaft"),
        ("https://oi-wiki.org/math/./poly/../base/", "https://oi-wiki.org/math/base"),
        ("https://www.blog.example/%7Eeuler/", "http://blog.example/~euler/index.htm"),
        # fragments that are places or buttons
        ("https://a-egoist.github.io/categories/SQL/", "https://a-egoist.github.io/categories/SQL/#!"),
        ("https://blog.givewell.org/2018/09/10/thread/#comment-949890", "https://blog.givewell.org/2018/09/10/thread/"),
        # international hosts
        ("https://münchen.de/kultur", "https://xn--mnchen-3ya.de/kultur", "https://MÜNCHEN.de/kultur/"),
    ],
    ids=lambda spellings: spellings[0],
)
def test_spellings_of_one_page_have_one_key(spellings):
    assert len({canonical_url(spelling) for spelling in spellings}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # pairs of the real web, both captured or linked, of different content
        ("https://zh.wikipedia.org/wiki/AWK", "https://zh.wikipedia.org/wiki/Awk"),
        ("https://www.curiosities.dev/publications/Kyklos", "https://www.curiosities.dev/publications/kyklos"),
        ("https://haifengl.github.io/api/scala/smile/math/", "https://haifengl.github.io/api/scala/smile/math.html"),
        ("https://math-comp.github.io/htmldoc_1_12_0/index_binder__.html", "https://math-comp.github.io/htmldoc_1_12_0/"),
        ("https://dnicolasespinoza.github.io/node49%202.html", "https://dnicolasespinoza.github.io/node49.html"),
        ("https://jakevdp.github.io/tag/animation.html", "https://jakevdp.github.io/tag/animation2.html"),
        ("https://search.cpan.org/perldoc?File::Rsync", "https://search.cpan.org/perldoc?File::RsyncP"),
        ("http://wir-empfehlen.info/?p=3289", "http://wir-empfehlen.info/?p=3290"),
        ("http://wir-empfehlen.info/?page_id=1140", "http://wir-empfehlen.info/"),
        ("http://acm.hdu.edu.cn/showproblem.php?pid=2222", "http://acm.hdu.edu.cn/showproblem.php?pid=2609"),
        ("https://www.sonnenenergie.de/index.php?id=30", "https://www.sonnenenergie.de/index.php?id=37"),
        (
            "https://mp.weixin.qq.com/s?__biz=MzI4MTY5NTk4Ng==&mid=2247484096&idx=1&sn=f22444670bec8505090cf377d",
            "https://mp.weixin.qq.com/s?__biz=MzI4MTY5NTk4Ng==&mid=2247484096&idx=2&sn=a89faf1e77b3501dd107dd2a2",
        ),
        ("https://ditib.de/detail1.php?id=765&sid=25", "https://ditib.de/detail1.php?id=765&sid=33"),
        ("https://www.medium.example/?s=covid19", "https://www.medium.example/"),
        ("https://twitter.com/#!/tageswoche", "https://twitter.com/#!/JobsnHireCom"),
        ("https://groups.google.com/forum/#!topic/sage-devel/M4NZdu-7O38", "https://groups.google.com/forum/"),
        (
            "https://www.icourse163.org/learn/BIT-268001?tid=1207014257#/learn/content?type=detail&id=1212094131",
            "https://www.icourse163.org/learn/BIT-268001?tid=1207014257#/learn/content?type=detail&id=1212094145",
        ),
        ("https://m.moneycontrol.com/glossary/", "https://www.moneycontrol.com/glossary/"),
        ("https://hassanchef.com/p/about_31.html?m=1", "https://hassanchef.com/p/about_31.html"),
        ("https://uusisuo.example/a?page=2", "https://uusisuo.example/a?page=3"),
        ("https://docs.sympy.org/1.11/modules/matrices/expressions.html", "https://docs.sympy.org/latest/modules/matrices/expressions.html"),
        # made up
        ("http://ex.org/Math", "http://ex.org/math"),
        ("http://ex.org/a?p=1", "http://ex.org/a?p=2"),
        ("http://ex.org/a?x=1&x=2", "http://ex.org/a?x=2&x=1"),
        ("http://ex.org/a?print=1", "http://ex.org/a"),
        ("http://ex.org/news?sid=7", "http://ex.org/news?sid=8"),
        ("http://m.ex.org/a", "http://ex.org/a"),
        ("http://ex.org:8080/a", "http://ex.org/a"),
        ("http://ex.org/c%2B%2B", "http://ex.org/c"),
        ("http://ex.org/a%2Fb", "http://ex.org/a/b"),
        ("http://a.github.io/x", "http://b.github.io/x"),
    ],
)  # fmt: skip
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


@given(st.text(alphabet="abAB/.%2f?&=;~é #!", max_size=40))
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
