"""Addresses as values: the deduplication key, host, registered domain, folder prefixes and prefix matching.

Nothing here raises on a hostile URL and nothing touches the network or the disk: the public suffix list is the
snapshot inside tldextract. All keys are scheme-less (`host/path?query`), the shape of a prefix in labels.csv.
"""

import contextlib
import re
from functools import lru_cache
from typing import NamedTuple

import idna
import tldextract

# Hosting sites where every user has a host of their own, missing from the private part of the public suffix list.
_SHARED_HOSTS = (
    "wordpress.com",
    "substack.com",
    "tumblr.com",
    "livejournal.com",
    "wikidot.com",
    "fandom.com",
    "typepad.com",
    "weebly.com",
    "wixsite.com",
    "neocities.org",
    "sourceforge.io",
    "gitee.io",
    "gitbook.io",
    "pbworks.com",
)
_SUFFIXES = tldextract.TLDExtract(
    suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True, extra_suffixes=_SHARED_HOSTS
)

_PARTS = re.compile(
    r"(?:([a-z][a-z0-9+.\-]*):(?=//))?(?://)?([^/?#\\]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.IGNORECASE | re.DOTALL
)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})|([^A-Za-z0-9\-._~!$'()*,:@/&+=;])")
# Decoded wherever met; the rest of the reserved ASCII keeps its escape, because a server may read it as syntax.
_ALWAYS_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$'()*,:@")
_HOST_UNSAFE = re.compile(r"[^a-z0-9.\-_\[\]:%]")

_TRACKING = re.compile(
    r"(?:utm_\w+|itm_\w+|pk_\w+|mtm_\w+|hsa_\w+|_hs\w+|gclid|gclsrc|dclid|gbraid|wbraid|fbclid|msclkid|yclid|twclid|"
    r"ttclid|srsltid|igshid|mc_cid|mc_eid|mkt_tok|_ga|_gl|wt_z?mc|cmpid|ocid|icid|trk|spm|spm_id_from|scm|"
    r"ref|ref_src|ref_url|referrer|referer|share_source|share_token|vd_source|replytocom|sharer?id|"
    # TYPO3's checksum of the other parameters: it says nothing that they do not.
    r"chash)",
    re.IGNORECASE,
)
_SESSION = re.compile(
    r"(?:jsessionid|phpsessid|aspsessionid\w*|asp\.net_sessionid|cfid|cftoken|sessionid|session_id|sessid|oscsid|zenid)",
    re.IGNORECASE,
)
_MAYBE_SESSION = re.compile(r"(?:sid|s|session|sess)", re.IGNORECASE)
# `sid` also names stories and `s` searches ("sid=7", "sid=00/01/23", "s=covid19"): dropped only where the value is as
# long as session ids are and looks drawn at random.
_RANDOM_VALUE = re.compile(r"(?:[0-9a-f]{16,}|(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{16,})", re.IGNORECASE)
_SESSION_IN_PATH = re.compile(r";(?:jsessionid|phpsessid|sid|session_?id)=[^/;]*|/\([sS]\([A-Za-z0-9]{16,}\)\)", re.I)
_INDEX = re.compile(r"(?:index|default)\.(?:x?html?|shtml|php[345]?|aspx?|jsp|cgi|pl)", re.IGNORECASE)
# `#!` alone is a button; with something behind it, the script of the page loads another one.
_PAGE_FRAGMENT = re.compile(r"(?:!/?|/)[^/!]", re.DOTALL)

_QUERY_DRIVEN = re.compile(r"\.(?:php[345]?|aspx?|jsp|cgi|pl|do|dll|cfm|action)$", re.IGNORECASE)
_SECTION_KEY = re.compile(
    r"(?:f|fid|forum|forum_?id|board|b|cat|cat_?id|category|cid|c|section|sec|topic|subject|tag|group|ns|namespace|"
    r"dir|lang|chapter|course|module|mod|type|option|view|page_?name|dept)",
    re.IGNORECASE,
)
_ITEM_KEY = re.compile(
    r"(?:.*id|p|page|paged|pg|pid|t|tid|topic_?id|thread|post|start|offset|limit|n|num|no|q|query|search|s|title|"
    r"name|date|day|month|year|time|sort|order|key|token|rev|oldid|diff|action|print|format|u|user|url|file)",
    re.IGNORECASE,
)
_WORDY_VALUE = re.compile(r"[A-Za-z][A-Za-z_\-]{0,23}")


class _Parts(NamedTuple):
    scheme: str
    host: str
    port: str
    path: str
    query: str
    fragment: str


def _split(url: str) -> _Parts:
    """The parts of any string read as a URL; a missing scheme means that the host comes first."""
    # Browsers drop tabs and line ends inside an address and controls around it.
    cleaned = re.sub(r"[\t\r\n]", "", url).strip("".join(map(chr, range(33))) + "\u00a0\u3000")
    match = _PARTS.match(cleaned)
    assert match is not None, "every group of the pattern may be empty"
    scheme, authority, path, query, fragment = (part or "" for part in match.groups())
    authority = authority.rpartition("@")[2]
    port = ""
    while True:
        authority = authority.rstrip(".:")
        host, colon, digits = authority.rpartition(":")
        if not (colon and digits.isascii() and digits.isdigit()):
            break
        authority, port = host, digits
    return _Parts(scheme.lower(), _normal_host(authority), port, path, query, fragment)


@lru_cache(maxsize=4096)
def _normal_host(host: str) -> str:
    """`host` in lower case and punycode, without a trailing dot; what IDNA refuses is percent-encoded."""
    if not host.isascii():
        with contextlib.suppress(UnicodeError, ValueError, IndexError):
            host = idna.encode(host, uts46=True).decode("ascii")
    host = host.lower().strip(".")
    return _HOST_UNSAFE.sub(lambda m: _percent(m.group()).lower(), host)


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def _normal_escape(match: re.Match[str]) -> str:
    if match.group(1) is None:
        return _percent(match.group(2))
    byte = int(match.group(1), 16)
    return chr(byte) if byte in _ALWAYS_PLAIN else f"%{byte:02X}"


def _normal_path(path: str) -> str:
    """The path with `/` first, escapes normalised, dot segments resolved, repeated slashes and session ids gone."""
    path = _SESSION_IN_PATH.sub("", path.replace("\\", "/"))
    kept: list[str] = []
    segments = _ESCAPE.sub(_normal_escape, path).split("/")
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    folder = bool(kept) and segments[-1] in ("", ".", "..")
    return "/" + "/".join(kept) + ("/" if folder else "")


def _parameters(query: str) -> list[tuple[str, str]]:
    """`(key, '=value')` pairs in their order, without tracking and session parameters; a bare key has value ''."""
    pairs = []
    # `&amp;` is what careless pages write into their links.
    for part in query.replace("&amp;", "&").split("&"):
        normal = _ESCAPE.sub(_normal_escape, part).replace("%20", "+")
        key, equals, value = normal.partition("=")
        drop = (
            not normal
            or _TRACKING.fullmatch(key)
            or _SESSION.fullmatch(key)
            or (_MAYBE_SESSION.fullmatch(key) and _RANDOM_VALUE.fullmatch(value))
        )
        if not drop:
            pairs.append((key, equals + value))
    return pairs


def _without_www(host: str) -> str:
    while host.startswith("www.") and "." in host[4:]:
        host = host[4:]
    return host


def canonical_url(url: str) -> str:
    """The key under which two addresses count as one page: `host/path?query`, the path's case kept.

    http and https are one scheme and left out, as are `www.`, default ports, user names, tracking parameters, session
    ids, index documents and the trailing slash. Parameters are sorted by name (repeats keep their order), escapes
    normalised. A fragment is left out but for one that names a page of its own (`#!/page`, `#/page`). Print views,
    mobile hosts and page numbers are other pages: near-duplicate search finds them by their text. Idempotent.
    """
    parts = _split(url)
    host = _without_www(parts.host)
    if parts.port not in ("", "80", "443"):
        host = f"{host}:{parts.port}"
    path = _normal_path(parts.path)
    while True:
        path = path.rstrip("/")
        folder, slash, last = path.rpartition("/")
        if not (slash and _INDEX.fullmatch(last)):
            break
        path = folder
    pairs = sorted(_parameters(parts.query), key=lambda pair: pair[0])
    query = "&".join(key + value for key, value in pairs)
    scheme = "" if parts.scheme in ("", "http", "https") else parts.scheme + "://"
    fragment = _ESCAPE.sub(_normal_escape, parts.fragment) if _PAGE_FRAGMENT.match(parts.fragment) else ""
    return f"{scheme}{host}{path}" + (f"?{query}" if query else "") + (f"#{fragment}" if fragment else "")


def host_of(url: str) -> str:
    """The host of `url` in lower-case punycode, without port; `www.` is kept. '' where there is none."""
    return _split(url).host


@lru_cache(maxsize=65536)
def registered_domain(host: str) -> str:
    """The domain that one owner holds (`a.b.github.io` -> `b.github.io`); the host itself where no suffix is known."""
    found = _SUFFIXES.extract_str(host)
    if not found.suffix or not found.domain:
        return host
    return f"{found.domain}.{found.suffix}"


def _is_query_driven(path: str) -> bool:
    """Whether the query, not the path, says which page is meant."""
    return path.endswith("/") or _QUERY_DRIVEN.search(path) is not None


def url_prefix_key(url: str) -> str:
    """`host/path` as prefixes are written: no scheme, `www.` and trailing slash as given, no fragment.

    The query stays (order kept, tracking dropped) where it chooses the page: after a folder or a script name.
    """
    parts = _split(url)
    path = _normal_path(parts.path)
    pairs = _parameters(parts.query) if _is_query_driven(path) else []
    return parts.host + path + ("?" + "&".join(key + value for key, value in pairs) if pairs else "")


def _section_parameter(pairs: list[tuple[str, str]]) -> str:
    """The first parameter that looks like a section of the site (`f=12`, `cat=algebra`), or ''."""
    for key, value in pairs:
        if _SECTION_KEY.fullmatch(key) and 1 < len(value) <= 25:
            return key + value
    for key, value in pairs:
        if not _ITEM_KEY.fullmatch(key) and _WORDY_VALUE.fullmatch(value[1:]):
            return key + value
    return ""


def path_prefixes(url: str, max_depth: int = 4) -> list[str]:
    """The folders that hold `url`, shortest first: `host/`, `host/a/`, ... at most `max_depth` below the host.

    A page's own name is no prefix. A query-driven page adds one more, `host/path?key=value`, for the parameter
    that looks like a section; ids, page numbers and searches do not.
    """
    parts = _split(url)
    path = _normal_path(parts.path)
    folders = path.split("/")[1:-1][:max_depth]
    prefix = parts.host + "/"
    prefixes = [prefix]
    for folder in folders:
        prefix += folder + "/"
        prefixes.append(prefix)
    if parts.query and _is_query_driven(path):
        section = _section_parameter(_parameters(parts.query))
        if section:
            prefixes.append(f"{parts.host}{path}?{section}")
    return prefixes


class PrefixParts(NamedTuple):
    """A prefix or address cut up for matching."""

    host: str
    """Without `www.`: people write prefixes without it."""
    segments: tuple[str, ...]
    """Path segments, no empty ones: `/math` and `/math/` are the same folder."""
    parameters: frozenset[str]
    """`key=value` texts, all of which a page must have."""


def prefix_parts(prefix: str) -> PrefixParts:
    """A prefix (or URL) cut at segment borders; a scheme, port or fragment in it is ignored."""
    parts = _split(prefix)
    segments = tuple(segment for segment in _normal_path(parts.path).split("/") if segment)
    parameters = frozenset(key + value for key, value in _parameters(parts.query)) if parts.query else frozenset()
    return PrefixParts(_without_www(parts.host), segments, parameters)


def prefix_matches(prefix: str, url: str) -> bool:
    """Whether `prefix` covers `url`, whole segments only: `ex.org/math` has `/math` and `/math/x`, not `/mathew`.

    A prefix with a query covers exactly its path, and of that the pages that have all its parameters.
    """
    wanted, page = prefix_parts(prefix), prefix_parts(url)
    if wanted.host != page.host:
        return False
    if wanted.parameters:
        return wanted.segments == page.segments and wanted.parameters <= page.parameters
    return wanted.segments == page.segments[: len(wanted.segments)]
