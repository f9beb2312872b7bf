"""The hosts of the mini web and what stands at each address: which kind of page, or a copy of which page.

Everything is a function of (seed, sizes, host number, page number): any page's address can be told without writing
the pages before it, so that copies may point anywhere and memory does not grow with the number of pages.

The archetypes are laid out for three rounds. The seed shows theorems and encyclopedia entries. Hosts of the first
group mix these with calculus, school problems, statistics or Chinese lectures: round 1 finds the covered half, the
prefix label brings in the rest. Hosts of the second group have only such newly learnt kinds, or mix them with
geometry, Q&A, exercises or Chinese exams, which hosts of the third group hold alone.
"""

import random
import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from math import gcd
from urllib.parse import quote

from toy_pages import ENCODINGS, Look
from toy_text import MATH_KINDS, Draft, draw_title, invented_names


@dataclass(frozen=True, slots=True)
class Section:
    """One folder of a site."""

    prefix: str
    pattern: str
    """The path below the prefix: {slug}, {title}, {id}, {year}, {month} are filled in."""
    kinds: dict[str, float]
    """Kind of page to its weight."""
    share: float = 1.0
    """Share of the site's pages."""

    @property
    def label(self) -> str:
        """math, mixed or nonmath, from the kinds."""
        found = {kind in MATH_KINDS for kind in self.kinds if not kind.endswith("listing")}
        return "mixed" if len(found) == 2 else "math" if found == {True} else "nonmath"


@dataclass(frozen=True, slots=True)
class Archetype:
    """A sort of host, `count` of them among every 120."""

    name: str
    count: int
    size: float
    """Pages relative to other hosts."""
    host: str
    """Host name: {name} and {user} are filled in."""
    language: str
    style: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """One host."""

    number: int
    host: str
    archetype: str
    language: str
    look: Look
    charset: str
    """What the bytes are encoded with."""
    header_charset: str
    """What the HTTP header says, empty for nothing."""
    sections: tuple[Section, ...]
    num_pages: int
    mirror_of: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What stands at one address."""

    site: int
    url: str
    kind: str
    role: str
    """original | exact | near | url | mirror | print."""
    source: tuple[int, int]
    """(site, page) whose text it shows; its own unless it is a copy."""
    section: int
    """Number of the section of its site."""


SLUG = "{slug}.html"
DATED = "{year}/{month}/{slug}/"
QUERY = "view.php?id={id}"
QUESTION = "{id}/{slug}"
TITLE = "{title}"
LISTED = 0.035
"""Share of tag and index pages among a math site's pages."""


def _all(prefix: str, pattern: str, listing: str = "listing", **kinds: float) -> tuple[Section, ...]:
    return (Section(prefix, pattern, {**kinds, listing: LISTED * sum(kinds.values())}),)


def _with(math: Section, share: float, *others: Section) -> tuple[Section, ...]:
    rest = (1 - share) / len(others)
    return (replace(math, share=share), *(replace(other, share=rest) for other in others))


ARCHETYPES = (
    # The seed's kinds beside others: where round 1's domains and prefixes lead to.
    Archetype("course-notes", 3, 0.9, "math.uni-{name}.edu", "en", "plain",
              _with(Section("/notes/", SLUG, {"theorem": 1}), 0.45,
                    Section("/calculus/", SLUG, {"calculus": 1, "listing": .08}))),
    Archetype("school-portal", 3, 3.0, "www.{name}learning.org", "en", "docs",
              _with(Section("/math/", SLUG, {"encyclopedia": .38, "school": .62, "listing": .03}), 0.7,
                    Section("/community/", SLUG, {"schoolnews": .6, "news": .4}))),
    Archetype("portal-zh", 3, 2.9, "www.{name}xuexi.cn", "zh", "press",
              _with(Section("/shuxue/", SLUG, {"zh_encyclopedia": .38, "zh_school": .62, "zh_listing": .03}), 0.7,
                    Section("/yuwen/", SLUG, {"zh_diary": .5, "zh_schoolnews": .5}))),
    Archetype("statistics-department", 2, 1.7, "stat.{name}.ac.uk", "en", "wiki",
              _with(Section("/methods/", TITLE, {"theorem": .4, "statistics": .6}), 0.7,
                    Section("/alumni/", TITLE, {"news": .5, "diary": .5}))),
    Archetype("university-zh", 2, 1.8, "staff.{name}.edu.cn", "zh", "plain",
              _with(Section("/~{user}/", SLUG, {"zh_encyclopedia": .45, "zh_lecture": .55}), 0.6,
                    Section("/~chen/", SLUG, {"zh_code": 1}),
                    Section("/~zhou/", SLUG, {"zh_diary": .6, "zh_travel": .4}))),
    Archetype("university-users", 2, 1.0, "people.{name}.edu", "en", "plain",
              _with(Section("/~{user}/notes/", SLUG, {"theorem": .5, "calculus": .5}), 0.5,
                    Section("/~marta/", SLUG, {"code": 1}), Section("/~owen/", SLUG, {"diary": .5, "recipe": .5}))),
    # Only kinds that round 2 has learnt.
    Archetype("worksheets", 2, 1.0, "www.{name}worksheets.com", "en", "blog", _all("/", SLUG, school=1)),
    Archetype("school-zh", 2, 1.0, "www.{name}shuxue.com", "zh", "press", _all("/", SLUG, "zh_listing", zh_school=1)),
    Archetype("statistics-blog", 1, 0.7, "{name}stats.blog", "en", "blog", _all("/", DATED, statistics=1)),
    Archetype("lectures-zh", 1, 1.0, "{name}.jiangyi.cn", "zh", "docs", _all("/", SLUG, "zh_listing", zh_lecture=1)),
    Archetype("calculus-site", 1, 0.8, "{name}calc.org", "en", "docs", _all("/", SLUG, calculus=1)),
    # Kinds of round 2 beside kinds of round 3.
    Archetype("lessons", 2, 1.0, "{name}-lessons.net", "en", "docs", _all("/lessons/", SLUG, calculus=.5,
                    geometry=.5)),
    Archetype("questions", 2, 1.6, "ask.{name}.com", "en", "forum",
              _with(Section("/questions/", QUESTION, {"qa": .5, "school": .5}), 0.65,
                    Section("/lounge/", QUESTION, {"diary": .5, "sport": .5}))),
    Archetype("maths-club", 1, 1.2, "{name}club.sch.uk", "en", "plain",
              _with(Section("/maths/", QUERY, {"school": .5, "exercises": .5}), 0.7,
                    Section("/trips/", QUERY, {"travel": .5, "schoolnews": .5}))),
    Archetype("exam-zh", 2, 1.0, "zhongkao.{name}.cn", "zh", "forum", _all("/ti/", QUERY, "zh_listing",
                    zh_school=.5, zh_exam=.5)),
    # Only kinds of round 3.
    Archetype("geometry-site", 1, 0.8, "{name}geometry.org", "en", "docs", _all("/", SLUG, geometry=1)),
    Archetype("answers", 1, 1.0, "{name}answers.net", "en", "forum", _all("/questions/", QUESTION, qa=1)),
    Archetype("exercise-site", 1, 0.8, "{name}practice.co.uk", "en", "plain", _all("/", SLUG, exercises=1)),
    Archetype("exams-zh", 1, 1.0, "www.{name}zhenti.com", "zh", "forum", _all("/", SLUG, "zh_listing", zh_exam=1)),
    # The seed's kinds alone, or under one prefix of an encyclopedia.
    Archetype("monograph", 1, 0.9, "{name}-project.org", "en", "docs", _all("/tag/", SLUG, theorem=1)),
    Archetype("wiki", 1, 1.4, "en.{name}pedia.org", "en", "wiki",
              _with(Section("/wiki/Mathematics/", TITLE, {"encyclopedia": 1}), 0.4,
                    Section("/wiki/", TITLE, {"travel": .4, "legal": .3, "news": .3}))),
    Archetype("wiki-zh", 1, 1.5, "zh.{name}baike.com", "zh", "wiki",
              _with(Section("/wiki/%E6%95%B0%E5%AD%A6/", TITLE, {"zh_encyclopedia": 1}), 0.4,
                    Section("/wiki/%E7%94%9F%E6%B4%BB/", TITLE, {"zh_travel": .5, "zh_recipe": .5}))),
    # Mixed blogs, by date or with a category.
    Archetype("blog", 5, 0.8, "blog.{name}.me", "en", "blog",
              (Section("/posts/", DATED, {"theorem": .12, "school": .12, "statistics": .08, "diary": .3,
                    "code": .2, "travel": .18}),)),
    Archetype("blog-zh", 4, 0.8, "{name}.xyz", "zh", "blog",
              (Section("/archives/", DATED, {"zh_encyclopedia": .12, "zh_lecture": .1, "zh_school": .12,
                    "zh_diary": .3, "zh_code": .2, "zh_travel": .16}),)),
    Archetype("blog-category", 2, 0.9, "www.{name}writes.com", "en", "blog",
              _with(Section("/category/math/", SLUG, {"theorem": .4, "school": .6}), 0.4,
                    Section("/category/life/", SLUG, {"diary": .5, "recipe": .5}))),
    Archetype("blog-category-zh", 1, 0.9, "www.{name}boke.net", "zh", "blog",
              _with(Section("/category/math/", SLUG, {"zh_encyclopedia": .4, "zh_school": .6}), 0.4,
                    Section("/category/life/", SLUG, {"zh_diary": 1}))),
    # Shared hosting: every user is a site of its own.
    Archetype("github-math", 2, 0.6, "{user}{name}.github.io", "en", "docs", _all("/notes/", SLUG, theorem=.5,
                    calculus=.5)),
    Archetype("github-code", 3, 0.9, "{user}{name}.github.io", "en", "docs", (Section("/", SLUG, {"code": .6,
                    "apidocs": .4}),)),
    Archetype("blogspot-school", 2, 0.6, "{name}{user}.blogspot.com", "en", "blog", _all("/", DATED, school=1)),
    Archetype("blogspot-life", 3, 0.8, "{name}{user}.blogspot.com", "en", "blog", (Section("/", DATED,
                    {"diary": .5, "recipe": .3, "travel": .2}),)),
    # General hosts.
    Archetype("press", 6, 2.0, "www.{name}times.com", "en", "press",
              _with(Section("/news/", DATED, {"news": 1}), 0.4, Section("/sport/", DATED, {"sport": 1}),
                    Section("/business/", DATED, {"finance": 1}), Section("/travel/", DATED, {"travel": 1}))),
    Archetype("markets", 4, 1.3, "{name}markets.com", "en", "press", (Section("/", SLUG, {"finance": 1}),)),
    Archetype("kitchen", 4, 1.3, "{name}kitchen.com", "en", "blog", (Section("/recipes/", SLUG, {"recipe": 1}),)),
    Archetype("club", 3, 1.3, "www.{name}sports.net", "en", "press", (Section("/", QUERY, {"sport": 1}),)),
    Archetype("developer", 5, 1.5, "{name}.dev", "en", "docs",
              _with(Section("/blog/", SLUG, {"code": 1}), 0.6, Section("/reference/", SLUG, {"apidocs": 1}))),
    Archetype("guide", 3, 1.3, "{name}guide.travel", "en", "blog", (Section("/", SLUG, {"travel": 1}),)),
    Archetype("shop", 4, 1.5, "shop.{name}.com", "en", "press", (Section("/product/", QUERY, {"shop": 1}),)),
    Archetype("law", 3, 1.3, "www.{name}law.org", "en", "plain", (Section("/cases/", SLUG, {"legal": 1}),)),
    Archetype("school-office", 3, 1.3, "www.{name}.k12.us", "en", "press", (Section("/", SLUG, {"schoolnews": 1}),)),
    Archetype("spam", 3, 0.7, "{name}-best-deals.top", "en", "blog", (Section("/", SLUG, {"spam": 1}),)),
    Archetype("news-zh", 4, 1.9, "news.{name}.com.cn", "zh", "press",
              _with(Section("/shehui/", DATED, {"zh_news": 1}), 0.4,
                    Section("/caijing/", DATED, {"zh_finance": 1}), Section("/tiyu/", DATED, {"zh_sport": 1}))),
    Archetype("kitchen-zh", 2, 1.2, "www.{name}meishi.com", "zh", "blog", (Section("/", SLUG, {"zh_recipe": 1}),)),
    Archetype("developer-zh", 3, 1.2, "{name}.tech", "zh", "docs", (Section("/", SLUG, {"zh_code": 1}),)),
    Archetype("guide-zh", 2, 1.2, "www.{name}lvyou.cn", "zh", "blog", (Section("/", SLUG, {"zh_travel": 1}),)),
    Archetype("shop-zh", 3, 1.3, "item.{name}.cn", "zh", "press", (Section("/item/", QUERY, {"zh_shop": 1}),)),
    Archetype("diary-zh", 2, 0.9, "{name}.wang", "zh", "blog", (Section("/", DATED, {"zh_diary": .7,
                    "zh_travel": .3}),)),
    Archetype("school-office-zh", 2, 1.0, "www.{name}zx.cn", "zh", "press", (Section("/", SLUG,
                    {"zh_schoolnews": 1}),)),
    Archetype("spam-zh", 2, 0.7, "www.{name}88.cc", "zh", "blog", (Section("/", SLUG, {"zh_spam": 1}),)),
    Archetype("german", 1, 0.9, "www.{name}-kurier.de", "de", "press", (Section("/", SLUG, {"german": 1}),)),
    Archetype("french", 1, 0.9, "www.{name}-voyages.fr", "fr", "blog", (Section("/", SLUG, {"french": 1}),)),
    Archetype("mirror-math", 1, 0.7, "mirror.{name}.net", "en", "plain", ()),
    Archetype("mirror-press", 1, 0.7, "cache.{name}.info", "en", "press", ()),
)  # fmt: skip
"""Every sort of host; the counts add up to 120."""

_MIRRORED = {"mirror-math": "course-notes", "mirror-press": "press"}
_CHINESE_CHARSETS = (
    ("gbk", "utf-8", "gbk"),
    ("gb18030", "", ""),
    ("big5", "big5", ""),
    ("gbk", "gbk", "gbk"),
    ("gb2312", "", "gb2312"),
    ("gbk", "utf-8", ""),
    ("big5", "", "big5"),
    ("gb18030", "", "gb2312"),
)
_OTHER_CHARSETS = (
    ("windows-1252", "", "iso-8859-1"),
    ("iso-8859-1", "utf-8", ""),
    ("windows-1252", "", ""),
    ("utf-16", "utf-16", ""),
    ("iso-8859-1", "iso-8859-1", "iso-8859-1"),
    ("windows-1252", "windows-1252", ""),
)
_UTF_8 = (
    ("utf-8", "utf-8", "utf-8"),
    ("utf-8", "utf-8", ""),
    ("utf-8", "", "utf-8"),
    ("utf-8", "UTF-8", "utf-8"),
    ("utf-8", "", ""),
)
"""(encoding, charset in the header, charset in a <meta>): right, wrong or missing."""
_COPY_RATES = (("exact", 0.010), ("near", 0.022), ("print", 0.012), ("url", 0.018))
_USERS = ("alice", "bruno", "chloe", "dmitri", "emre", "fiona", "gustav", "helga", "ilya", "june", "kofi", "lena")


class World:
    """All sites, and the place at each page number. Holds the hosts, never the pages."""

    def __init__(self, *, seed: int, num_pages: int, num_hosts: int) -> None:
        self.seed = seed
        self.num_pages = num_pages
        self.sites = _make_sites(seed, num_pages, num_hosts)
        self._ends = list(accumulate(site.num_pages for site in self.sites))
        self._stride = next(n for n in range(int(num_pages * 0.618) + 1, 2 * num_pages + 2) if gcd(n, num_pages) == 1)
        self._sisters: dict[str, list[int]] = {}
        for site in self.sites:
            self._sisters.setdefault(site.archetype, []).append(site.number)

    def page_at(self, position: int) -> tuple[int, int]:
        """(site, page) that stands at `position` of the crawl: hosts are well mixed."""
        slot = (position * self._stride + self.seed) % self.num_pages
        site = bisect_right(self._ends, slot)
        return site, slot - (self._ends[site - 1] if site else 0)

    def rng(self, site: int, page: int, purpose: int = 0) -> random.Random:
        """The page's own random numbers; `purpose` keeps independent streams apart."""
        return random.Random((((self.seed * 4 + purpose) << 24) + site << 24) + page)

    def place(self, site_number: int, page: int) -> Place:
        """Address, kind and source of a page."""
        site = self.sites[site_number]
        if site.mirror_of is not None:
            shown = self.place(site.mirror_of, page)
            url = shown.url.replace(self.sites[site.mirror_of].host, site.host, 1)
            return Place(site_number, url, shown.kind, "mirror", shown.source, shown.section)
        role = self._role(site_number, page)
        source = self._find_source(site_number, page, role) if role != "original" else (site_number, page)
        if source == (site_number, page):
            section, kind = self._section_and_kind(site, page)
            url = self._address(site_number, page, site_number, page, section)
            return Place(site_number, url, kind, "original", source, section)
        section, kind = self._section_and_kind(self.sites[source[0]], source[1])
        if role in ("print", "url"):
            url = self._variant_url(
                self._address(*source, *source, section), role, page, self.sites[source[0]].sections[section]
            )
        else:
            url = self._address(site_number, page, *source, section)
        return Place(site_number, url, kind, role, source, section)

    def title(self, site_number: int, page: int) -> str:
        """The title of the text at (site, page)."""
        kind = self._section_and_kind(self.sites[site_number], page)[1]
        return draw_title(kind, Draft(self.rng(site_number, page)))

    def neighbours(self, site_number: int, page: int) -> list[tuple[str, str]]:
        """(URL, title) of up to three original pages of the same site."""
        site = self.sites[site_number]
        links: list[tuple[str, str]] = []
        for step in (1, 2, 3, 4, 5):
            other = (page + step) % site.num_pages
            if other != page and len(links) < 3 and self._role(site_number, other) == "original":
                section = self._section_and_kind(site, other)[0]
                url = self._address(site_number, other, site_number, other, section)
                links.append((url, self.title(site_number, other)))
        return links

    def _role(self, site: int, page: int) -> str:
        if self.sites[site].mirror_of is not None:
            return "mirror"
        draw = self.rng(site, page, 1).random()
        for role, rate in _COPY_RATES:
            if draw < rate:
                return role
            draw -= rate
        return "original"

    def _find_source(self, site: int, page: int, role: str) -> tuple[int, int]:
        """An original page for a copy to show, now and then (exact, near) of a sister host; itself if there is none."""
        rng = self.rng(site, page, 2)
        big5 = self.sites[site].charset == "big5"  # in traditional characters a copy shares no shingle
        sisters = [n for n in self._sisters[self.sites[site].archetype] if (self.sites[n].charset == "big5") == big5]
        for _ in range(20):
            other = rng.choice(sisters) if role in ("exact", "near") and rng.random() < 0.3 else site
            candidate = rng.randrange(self.sites[other].num_pages)
            if (other, candidate) != (site, page) and self._role(other, candidate) == "original":
                return other, candidate
        return site, page

    def _section_and_kind(self, site: Site, page: int) -> tuple[int, str]:
        """Section number and kind: spread evenly over the site's pages, so that small sites have all their kinds."""
        spread = (page * 0.6180339887 + site.number * 0.37) % 1.0
        for number, section in enumerate(site.sections):
            if spread < section.share or number == len(site.sections) - 1:
                break
            spread -= section.share
        within = min(spread / section.share, 0.999999) * sum(section.kinds.values())
        for kind, weight in section.kinds.items():
            if within < weight:
                return number, kind
            within -= weight
        return number, kind

    def _address(self, site_number: int, page: int, text_site: int, text_page: int, section_number: int) -> str:
        site = self.sites[site_number]
        section = site.sections[section_number]
        identity = page * 7 + site_number % 7 + 11
        fields = {"id": identity, "year": 2010 + page * 5 % 14, "month": f"{page * 7 % 12 + 1:02d}"}
        if "{slug}" in section.pattern or "{title}" in section.pattern:
            title = re.sub("⟦.*?⟧", "", self.title(text_site, text_page)).lower()
            words = re.findall(r"[a-z0-9]+", title)[:7]
            if "{title}" in section.pattern and site.language == "zh":
                words = [quote(re.sub(r"\W", "", title)[:12])]
            fields["slug"] = "-".join([*words, str(identity)])
            fields["title"] = "_".join([*(word[:1].upper() + word[1:] for word in words), f"({identity})"])
        return f"https://{site.host}{section.prefix}{section.pattern.format(**fields)}"

    def _variant_url(self, url: str, role: str, page: int, section: Section) -> str:
        if role == "print":
            return url.replace(section.prefix, f"{section.prefix}print/{page}/", 1)
        joiner = "&" if "?" in url else "?"
        campaign = ("utm_source=newsletter", "utm_source=twitter&utm_medium=social", "fbclid=IwAR0", "PHPSESSID=5f2c")
        return f"{url}{joiner}{campaign[page % 4]}{page:x}"


def default_hosts(num_pages: int) -> int:
    """How many hosts a web of this size has: 120 for 3,000 pages, about 7,000 for a million."""
    return max(30, round(120 * (num_pages / 3000) ** 0.7))


def _make_sites(seed: int, num_pages: int, num_hosts: int) -> list[Site]:
    order = _interleaved()
    chosen = [order[i % len(order)] for i in range(num_hosts)]
    rng = random.Random(seed * 7919 + 17)
    weights = [archetype.size * rng.uniform(0.8, 1.25) for archetype in chosen]
    firsts = {archetype.name: number for number, archetype in reversed(list(enumerate(chosen)))}
    mirrors = {n: firsts[_MIRRORED[a.name]] for n, a in enumerate(chosen) if _MIRRORED.get(a.name) in firsts}
    for number, original in mirrors.items():
        weights[number] = min(weights[number], weights[original] * 0.9)
    bounds = [round(end / sum(weights) * num_pages) for end in accumulate(weights)]
    names = list(invented_names())
    rng.shuffle(names)
    sites: list[Site] = []
    num_chinese = 0
    for number, archetype in enumerate(chosen):
        low = bounds[number - 1] if number else 0
        name = names[number % len(names)].lower() + (str(number // len(names)) if number >= len(names) else "")
        num_chinese += archetype.language == "zh"
        nth = num_chinese - 1 if archetype.language == "zh" else number - num_chinese
        sites.append(_make_site(archetype, number, nth=nth, name=name, num_pages=bounds[number] - low, rng=rng))
    for number, original in mirrors.items():
        if sites[number].num_pages <= sites[original].num_pages:
            sites[number] = replace(sites[number], mirror_of=original, sections=sites[original].sections)
    return [site if site.sections else _as_press(site) for site in sites]


def _as_press(site: Site) -> Site:
    """A mirror whose original is not there: an ordinary news host."""
    return replace(site, archetype="press-small", sections=(Section("/", DATED, {"news": 1}),))


def _make_site(archetype: Archetype, number: int, *, nth: int, name: str, num_pages: int, rng: random.Random) -> Site:
    user = _USERS[number % len(_USERS)]
    host = archetype.host.format(name=name, user=user)
    sections = tuple(replace(s, prefix=s.prefix.replace("{user}", user)) for s in archetype.sections)
    charset, header, meta = _charset(archetype, nth)
    encoding = ENCODINGS[number % len(ENCODINGS)]
    site_name = ("{}数学网" if any(s.label == "math" for s in sections) and rng.random() < 0.3 else "{}之家").format(
        name.capitalize()
    )
    look = Look(
        site_name=site_name
        if archetype.language == "zh"
        else f"{name.capitalize()} {rng.choice(('Online', 'Notes', 'Daily', 'Hub', 'Net'))}",
        language=archetype.language,
        style=archetype.style,
        encoding=encoding,
        meta_charset=meta,
        arithmetic_as_formulas=rng.random() < 0.2,
        loads_math_script=any(s.label != "nonmath" for s in sections) or rng.random() < 0.15,
    )
    return Site(number, host, archetype.name, archetype.language, look, charset, header, sections, num_pages)


def _charset(archetype: Archetype, nth: int) -> tuple[str, str, str]:
    """(encoding, header, meta) of the `nth` host of its language: each 5th Chinese, 12th other is not UTF-8."""
    choices, every = (_CHINESE_CHARSETS, 5) if archetype.language == "zh" else (_OTHER_CHARSETS, 12)
    if nth % every != 3:
        return _UTF_8[nth % len(_UTF_8)]
    found = choices[nth // every % len(choices)]
    if found[0] == "big5" and any(section.label != "nonmath" for section in archetype.sections):
        return "gbk", "", "gbk"  # traditional mathematics would be a language of its own, on one host
    return found


@lru_cache(maxsize=1)
def _interleaved() -> tuple[Archetype, ...]:
    """The 120 hosts in an order whose every beginning has about the whole's mixture."""
    spread = [((copy + 0.5) / a.count, n, a) for n, a in enumerate(ARCHETYPES) for copy in range(a.count)]
    return tuple(archetype for _, _, archetype in sorted(spread, key=lambda item: item[:2]))
