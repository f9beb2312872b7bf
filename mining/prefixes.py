"""URL prefixes of a host: which few to propose for labelling, and the labels that people or rules gave.

A label governs the pages under its prefix and under no longer labelled one (longest prefix wins). Proposals are cut
to fit that rule: the rows of a host part its pages so that the share of collected pages differs between rows and
hardly varies within one.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from math import log
from typing import NamedTuple

from mining.domains import wilson_lower
from mining.errors import ConfigError
from mining.url import PrefixParts, path_prefixes, prefix_parts

LABELS = ("math", "not_math")
SYNONYMS = {"in": "math", "out": "not_math"}
"""What people may write in labels.csv and audits.csv where the subject is not mathematics; tables hold LABELS."""
_COLUMNS = ("prefix", "label", "annotator", "labelled_at", "note")
SCORE_DIGITS = 15
_SCORE_UNIT = Decimal(1).scaleb(-SCORE_DIGITS)

# Years, ids, page numbers, dates, hashes: such folders name items, not sections, and a prefix of one covers nothing
# in the next crawl. `18.06` and `stat3202` are courses and stay.
_ITEM_FOLDER = re.compile(
    r"\d+|\d{4}[-_.]\d{1,2}(?:[-_.]\d{1,2})?|(?:page|p)[-_]?\d+|[0-9a-f]{16,}|"
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|.*\d{6,}.*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class PrefixConfig:
    """How the prefixes of a host are chosen."""

    max_depth: int = 4
    """Folders below the host that a prefix may have."""
    min_pages: int = 5
    """Pages that a row must govern when it is split off."""
    min_bound: float = 0.10
    """A row is proposed when the Wilson lower bound of its collected share exceeds this."""
    z: float = 1.96
    """Normal quantile of that bound."""
    split_cost: float = 1.0
    """Factor on the description length of one more row; higher gives fewer, larger prefixes."""
    max_rows: int = 50
    """Rows a host at most."""

    def __post_init__(self) -> None:
        if min(self.max_depth, self.min_pages - 1, self.max_rows - 1) < 0:
            raise ConfigError(
                f"max_depth={self.max_depth}, min_pages={self.min_pages}, max_rows={self.max_rows}: "
                "need at least 0, 1 and 1"
            )
        if not 0.0 <= self.min_bound < 1.0:
            raise ConfigError(f"min_bound={self.min_bound}: a share lies in [0, 1)")


@dataclass(frozen=True, slots=True)
class PrefixProposal:
    """A prefix and the pages that a label on it would govern."""

    prefix: str
    """`host/folder/` or `host/script?key=value`."""
    depth: int
    """Folders below the host."""
    pages: int
    """Pages under this prefix and under no longer one of the same host's rows; the counts below are of these."""
    collected: int
    share: float
    bound: float
    """Wilson lower bound of the share."""
    mean_score: float
    uncollected_tokens: int
    """Tokens of the uncollected pages: what a label math would add."""
    proposed: bool
    """Whether the prefix looks like mathematics; other rows are there to be labelled not_math."""


class Section(NamedTuple):
    """The pages of a host that lie under the very same prefixes: all that the choice of rows looks at."""

    prefixes: tuple[str, ...]
    """Those of `section_prefixes`, the host's first."""
    pages: int
    collected: int
    score_sum: Decimal
    """Of scores with SCORE_DIGITS digits after the point: decimals add up to the same in any order."""
    uncollected_tokens: int


@dataclass(slots=True)
class _Node:
    """A folder's pages, all that are below it."""

    parent: str | None
    pages: int = 0
    collected: int = 0


def section_prefixes(url: str, max_depth: int = 4) -> list[str]:
    """The prefixes of `url` from the host down to the first folder that is a date, an id or a page number."""
    prefixes = path_prefixes(url, max_depth)
    for place, prefix in enumerate(prefixes):
        if place and prefix.endswith("/") and _ITEM_FOLDER.fullmatch(prefix[:-1].rpartition("/")[2]):
            return prefixes[:place]
    return prefixes


def sections_of(rows: Iterable[tuple[str, bool, float, int]], cfg: PrefixConfig) -> list[Section]:
    """The sections of one host by their prefixes; rows: (url, collected, score, n_tokens) of every page of it."""
    found: dict[tuple[str, ...], Section] = {}
    for url, collected, score, n_tokens in rows:
        prefixes = tuple(section_prefixes(url, cfg.max_depth))
        before = found.get(prefixes) or Section(prefixes, 0, 0, Decimal(0), 0)
        found[prefixes] = Section(
            prefixes,
            before.pages + 1,
            before.collected + collected,
            before.score_sum + Decimal(repr(score)).quantize(_SCORE_UNIT, ROUND_HALF_UP),
            before.uncollected_tokens + (0 if collected else n_tokens),
        )
    return [found[prefixes] for prefixes in sorted(found)]


def _trie(sections: Iterable[Section], cfg: PrefixConfig) -> dict[str, _Node]:
    """Every prefix that governs enough pages, without those that have the very pages of a longer one."""
    nodes: dict[str, _Node] = {}
    for section in sections:
        above = None
        for prefix in section.prefixes:
            node = nodes.setdefault(prefix, _Node(above))
            node.pages += section.pages
            node.collected += section.collected
            above = prefix
    same_as_child = {
        node.parent for node in nodes.values() if node.parent is not None and nodes[node.parent].pages == node.pages
    }
    kept: dict[str, _Node] = {}
    for prefix in sorted(nodes, key=lambda p: (len(p), p)):
        node = nodes[prefix]
        parent: str | None = node.parent
        while parent is not None and parent not in kept:
            parent = nodes[parent].parent
        if prefix not in same_as_child and (parent is None or node.pages >= cfg.min_pages):
            kept[prefix] = _Node(parent, node.pages, node.collected)
    return kept


def _description_length(collected: int, pages: int) -> float:
    """Nats that tell which of the pages are collected, by their own share: n * H(k / n)."""
    if collected in (0, pages):
        return 0.0
    other = pages - collected
    return -(collected * log(collected / pages) + other * log(other / pages))


def _choose(nodes: dict[str, _Node], cfg: PrefixConfig) -> set[str]:
    """The prefixes whose rows describe the host best: minimum description length, one greedy split at a time.

    Li and Abe 1998 cut a thesaurus so; here a row may keep what its split-off folders leave, as labels do. A row
    costs half a log for its share and the log of the number of folders for its place.
    """
    roots = {prefix for prefix, node in nodes.items() if node.parent is None}
    governed = {prefix: (nodes[prefix].collected, nodes[prefix].pages) for prefix in nodes}
    chosen = set(roots)
    total = sum(nodes[root].pages for root in roots)
    price = cfg.split_cost * (0.5 * log(max(total, 1)) + log(max(len(nodes), 1)))

    def ruler(prefix: str) -> str:
        above = nodes[prefix].parent
        while above is not None and above not in chosen:
            above = nodes[above].parent
        assert above is not None, "every root is chosen"
        return above

    while len(chosen) < cfg.max_rows:
        best: tuple[float, float, str] | None = None
        for prefix in sorted(nodes.keys() - chosen):
            collected, pages = governed[prefix]
            if pages < cfg.min_pages:
                continue
            above = ruler(prefix)
            rest_collected, rest_pages = governed[above][0] - collected, governed[above][1] - pages
            gain = (
                _description_length(*governed[above])
                - _description_length(collected, pages)
                - _description_length(rest_collected, rest_pages)
            )
            # At equal gain the purer side becomes the longer prefix: a label math should be narrow.
            candidate = (round(gain, 9), collected / pages, prefix)
            if gain > price and (best is None or candidate[:2] > best[:2]):
                best = candidate
        if best is None:
            break
        prefix = best[2]
        collected, pages = governed[prefix]
        stop, higher = ruler(prefix), nodes[prefix].parent
        while higher is not None:
            governed[higher] = (governed[higher][0] - collected, governed[higher][1] - pages)
            higher = None if higher == stop else nodes[higher].parent
        chosen.add(prefix)
    return chosen


def propose(sections: Iterable[Section], cfg: PrefixConfig) -> list[PrefixProposal]:
    """The rows that part one host's pages: proposed ones first, then by what they would add, then by prefix.

    sections: all of the host, in any order. Folders that are dates, ids or page numbers are not descended into, so a
    blog by dates is one row.
    """
    found = list(sections)
    nodes = _trie(found, cfg)
    chosen = _choose(nodes, cfg) if nodes else set()
    members: dict[str, list[Section]] = {}
    for section in found:
        ruling = [prefix for prefix in section.prefixes if prefix in chosen]
        # A root that gave way to its only child has no page of its own.
        members.setdefault(ruling[-1], []).append(section)
    proposals = [_proposal(prefix, group, cfg) for prefix, group in members.items()]
    return sorted(proposals, key=lambda p: (not p.proposed, -p.uncollected_tokens, p.prefix))


def _proposal(prefix: str, group: Sequence[Section], cfg: PrefixConfig) -> PrefixProposal:
    pages, collected = sum(one.pages for one in group), sum(one.collected for one in group)
    bound = wilson_lower(collected, pages, cfg.z)
    return PrefixProposal(
        prefix=prefix,
        depth=prefix.partition("?")[0].count("/") - 1,
        pages=pages,
        collected=collected,
        share=collected / pages,
        bound=bound,
        mean_score=float(sum((one.score_sum for one in group), Decimal(0))) / pages,
        uncollected_tokens=sum(one.uncollected_tokens for one in group),
        proposed=pages >= cfg.min_pages and bound > cfg.min_bound,
    )


@dataclass(frozen=True, slots=True)
class Label:
    """What an annotator says of a prefix."""

    prefix: str
    """`host/path` without scheme; with or without the slash at its end."""
    label: str
    """math | not_math."""
    annotator: str = ""
    labelled_at: str = ""
    """ISO 8601."""
    note: str = ""


def labels_of(proposals: Iterable[PrefixProposal], *, annotator: str, labelled_at: str) -> list[Label]:
    """The labels that accept a host's proposals as they are: math for the proposed rows, not_math for rows inside.

    Without the second kind a proposed `host/` would take the `host/tags/` that was cut out of it.
    """
    rows = list(proposals)
    accepted = [prefix_parts(row.prefix) for row in rows if row.proposed]
    labels = []
    for row in rows:
        parts = prefix_parts(row.prefix)
        inside = any(
            parts.host == above.host
            and not above.parameters
            and parts.segments[: len(above.segments)] == above.segments
            for above in accepted
        )
        if row.proposed or inside:
            note = f"{row.collected} of {row.pages} collected"
            labels.append(Label(row.prefix, "math" if row.proposed else "not_math", annotator, labelled_at, note))
    return labels


@dataclass(frozen=True, slots=True)
class _HostLabels:
    depth: int
    """Segments of the longest prefix."""
    folders: dict[tuple[str, ...], Label]
    queries: dict[tuple[str, ...], list[tuple[frozenset[str], Label]]]
    """By path, the prefix with most parameters first."""


LabelIndex = dict[str, _HostLabels]


def label_index(labels: Iterable[Label]) -> LabelIndex:
    """Labels by host and path for `label_for`; a plain value that pickles. A later label replaces an equal prefix."""
    index: LabelIndex = {}
    for label in labels:
        parts = prefix_parts(label.prefix)
        found = index.get(parts.host)
        folders = found.folders if found else {}
        queries = found.queries if found else {}
        if parts.parameters:
            others = [pair for pair in queries.get(parts.segments, []) if pair[0] != parts.parameters]
            others.append((parts.parameters, label))
            queries[parts.segments] = sorted(others, key=lambda pair: (-len(pair[0]), sorted(pair[0])))
        else:
            folders[parts.segments] = label
        depth = max(found.depth if found else 0, len(parts.segments))
        index[parts.host] = _HostLabels(depth, folders, queries)
    return index


def label_for(url: str, labels_index: LabelIndex) -> Label | None:
    """The label of the longest prefix that covers `url` (see `mining.url.prefix_matches`), or None."""
    if not labels_index:
        return None
    page = prefix_parts(url)
    found = labels_index.get(page.host)
    if found is None:
        return None
    for parameters, label in found.queries.get(page.segments, ()):
        if parameters <= page.parameters:
            return label
    for depth in range(min(len(page.segments), found.depth), -1, -1):
        folder_label = found.folders.get(page.segments[:depth])
        if folder_label is not None:
            return folder_label
    return None


def read_labels(text: str) -> list[Label]:
    """The labels of a labels.csv, in its order; an exact repeat is dropped.

    Raises ConfigError, with the line, for a missing column, an empty prefix, an unknown label or two labels for one
    prefix.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    header = [name.strip() for name in next(reader, [])]
    if not header:
        return []
    missing = [name for name in ("prefix", "label") if name not in header]
    if missing:
        raise ConfigError(f"labels line 1: no column {missing[0]!r} in {header}; the header is {','.join(_COLUMNS)}")
    labels: list[Label] = []
    seen: dict[PrefixParts, tuple[str, int]] = {}
    for row in reader:
        line = reader.line_num
        if not any(cell.strip() for cell in row):
            continue
        if len(row) > len(header):
            raise ConfigError(f"labels line {line}: {len(row)} cells for {len(header)} columns; quote commas")
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        cells["label"] = SYNONYMS.get(cells.get("label", ""), cells.get("label", ""))
        label = Label(**{name: cells.get(name, "") for name in _COLUMNS})
        parts = prefix_parts(label.prefix)
        if not parts.host:
            raise ConfigError(f"labels line {line}: prefix {label.prefix!r} has no host; write host/path")
        if label.label not in LABELS:
            raise ConfigError(f"labels line {line}: label {label.label!r} is unknown; write {' or '.join(LABELS)}")
        before = seen.setdefault(parts, (label.label, line))
        if before[0] != label.label:
            raise ConfigError(
                f"labels line {line}: {label.prefix!r} is {label.label}, line {before[1]} says {before[0]}; keep one"
            )
        if before[1] == line:
            labels.append(label)
    return labels


def write_labels(labels: Iterable[Label]) -> str:
    """The labels as the text of a labels.csv, in the given order."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for label in labels:
        writer.writerow([label.prefix, label.label, label.annotator, label.labelled_at, label.note])
    return out.getvalue()
