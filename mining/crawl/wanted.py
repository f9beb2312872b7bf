"""What is looked up in an index of captures: labelled prefixes with their holes, prefixes, whole domains."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from mining.errors import ConfigError
from mining.prefixes import Label, label_for, label_index
from mining.url import host_of, prefix_parts

_IPV4 = re.compile(r"\d+(?:\.\d+){3}")
# The index's key (SURT) leaves out www, www2 and so on.
_WWW = re.compile(r"www\d*\.(?=.)")


class Query(NamedTuple):
    """One question to a CDX server: all captures that it finds hold all those wanted under one prefix or domain."""

    url: str
    match_type: str
    """prefix | host | domain, of pywb's CDX API."""


@dataclass(frozen=True)
class Wanted:
    """The captures to find, by their URLs."""

    labels: tuple[Label, ...] = ()
    """A URL is wanted where its longest labelled prefix is math; not_math cuts a hole."""
    prefixes: tuple[str, ...] = ()
    """`host/path` without scheme, as if labelled math."""
    domains: tuple[str, ...] = ()
    """Hosts with all their subdomains, but for what is labelled not_math."""

    def __post_init__(self) -> None:
        for domain in self.domains:
            if host_of(domain) != domain.lower().rstrip("/") or "." not in domain:
                raise ConfigError(f"domain {domain!r}: give a bare host such as ams.org")
        for prefix in self.prefixes:
            if "." not in prefix_parts(prefix).host:
                raise ConfigError(f"prefix {prefix!r}: has no host; write host/path without a scheme")
        if not self.hosts() and not self.domains:
            raise ConfigError("nothing is wanted: no prefix labelled math, no prefix and no domain was given")

    def all_labels(self) -> list[Label]:
        """Labels and prefixes; a prefix replaces an equal label."""
        return [*self.labels, *(Label(prefix, "math") for prefix in self.prefixes)]

    def hosts(self) -> list[str]:
        """The hosts that have a wanted prefix, without `www.`."""
        return sorted({prefix_parts(label.prefix).host for label in self.all_labels() if label.label == "math"})

    def matcher(self) -> Callable[[str], bool]:
        """Whether a URL is wanted: the longest labelled prefix decides, without one the domains do."""
        index = label_index(self.all_labels())
        domains = {domain.lower().rstrip("/") for domain in self.domains}

        def matches(url: str) -> bool:
            label = label_for(url, index)
            if label is not None:
                return label.label == "math"
            host = host_of(url)
            parts = host.split(".")
            return bool(domains) and any(".".join(parts[place:]) in domains for place in range(len(parts)))

        return matches

    def surt_ranges(self) -> list[tuple[str, str]]:
        """Sorted ranges [first, last) of url_surtkey outside of which nothing is wanted.

        A key is `org,example)/path`, or `org,example:8080)/path`; `org,example,` goes on to a subdomain.
        """
        ranges = []
        for host in self.hosts():
            for key in _surt_hosts(host):
                ranges += [(key + ")", key + "*"), (key + ":", key + ";")]
        for domain in self.domains:
            for key in _surt_hosts(domain.lower().rstrip("/")):
                ranges += [(key + ")", key + "*"), (key + ",", key + "-"), (key + ":", key + ";")]
        return sorted(set(ranges))

    def queries(self) -> list[Query]:
        """The questions to a CDX server, none inside another: a host, or the wanted prefixes of a host, or a domain."""
        queries = [Query(domain.lower().rstrip("/"), "domain") for domain in sorted(set(self.domains))]
        paths: dict[str, set[tuple[str, ...]]] = {}
        for label in self.all_labels():
            if label.label == "math":
                parts = prefix_parts(label.prefix)
                paths.setdefault(parts.host, set()).add(parts.segments)
        for host, found in sorted(paths.items()):
            for segments in sorted(found):
                if not any(segments[:depth] in found for depth in range(len(segments))):
                    path = "/".join((host, *segments))
                    queries.append(Query(path, "prefix" if segments else "host"))
        return queries


def _surt_hosts(host: str) -> list[str]:
    """The host as the index's keys begin; an address of numbers in both orders, because tools differ."""
    bare = _WWW.sub("", host, count=1) if _WWW.match(host) else host
    backwards = ",".join(reversed(bare.split(".")))
    return [bare, backwards] if _IPV4.fullmatch(bare) else [backwards]
