"""The search for duplicates over index rows in memory; `spark/near_dups.py` is the same search for what does not fit.

A page's number is its place in the order of preference, so of each group the smallest number stays.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mining.band_index import sets_of
from mining.minhash import DedupConfig, Sets, Similarities, similarities

DUPLICATES_SCHEMA = pa.schema(
    [("page_id", pa.string()), ("kept_id", pa.string()), ("kind", pa.string()), ("jaccard", pa.float32())]
)
MAX_ROUNDS = 20
"""Pages that are still chained to one another after so many rounds of choosing stay."""
ALL_PAIRS_UP_TO = 12
"""Pages of a band of which every two are compared."""
_MIN_NUMBERS = 8
"""Shingles around numbers that a pair must have before they are compared by themselves: dates and counters differ."""
_PAIRS_A_BLOCK = 1000


def band_pairs(bands: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(a, b), a < b, of the nodes that share a band; bands[i] and nodes[i] belong together, both int64.

    All pairs of a band of up to a dozen pages; of a larger one each page with the best and with the one before it,
    so that a template's band of a million pages gives two million pairs. A pair comes once for each band it shares.
    """
    order = np.lexsort((nodes, bands))
    bands, nodes = bands[order], nodes[order]
    starts = np.flatnonzero(np.concatenate([[True], bands[1:] != bands[:-1]]))
    sizes = np.diff(np.append(starts, len(bands)))
    start, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    place = np.arange(len(bands)) - start
    left, right = [], []
    for gap in range(1, ALL_PAIRS_UP_TO):
        later = np.flatnonzero((place >= gap) & ((size <= ALL_PAIRS_UP_TO) | (gap == 1)))
        left.append(nodes[later - gap])
        right.append(nodes[later])
    others = np.flatnonzero((size > ALL_PAIRS_UP_TO) & (place > 1))
    left.append(nodes[start[others]])
    right.append(nodes[others])
    return np.concatenate(left), np.concatenate(right)


def components_of(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nodes of the edges, ascending, and the smallest node of each one's component; both int64."""
    nodes, places = np.unique(np.concatenate([a, b]).astype(np.int64), return_inverse=True)
    left, right = places[: len(a)], places[len(a) :]
    roots = np.arange(len(nodes))
    while len(left):
        low, high = np.minimum(roots[left], roots[right]), np.maximum(roots[left], roots[right])
        apart = low != high
        left, right, low, high = left[apart], right[apart], low[apart], high[apart]
        np.minimum.at(roots, high, low)
        while not np.array_equal(roots[roots], roots):  # every node to the top of its tree
            roots = roots[roots]
    return nodes, nodes[roots]


def are_alike(found: Similarities, min_number_jaccard: float) -> np.ndarray:
    """(N,) bool, false where two pages share text but not the numbers in it."""
    return (found.number_jaccard >= min_number_jaccard) | (found.num_numbers < _MIN_NUMBERS)


def find_duplicates(rows: pa.Table, cfg: DedupConfig) -> pa.Table:
    """DUPLICATES_SCHEMA, one row a page of the new corpus that goes, by page_id.

    rows: INDEX_SCHEMA and `corpus`, `is_new`, and of the removed pages of earlier corpora `old_kind`, `old_kept_id`.
    """
    best = [("formulas_kept", "descending"), ("n_chars", "descending"), ("fetched", "descending")]
    crawl = [("crawl", "ascending")] if cfg.prefer == "earliest_crawl" else []
    order = [("is_new", "ascending"), *crawl, *best, ("page_id", "ascending"), ("corpus", "ascending")]
    search = _Search(rows.take(pc.sort_indices(rows, sort_keys=order)).combine_chunks(), cfg)
    return search.duplicates().sort_by("page_id")


@dataclass
class _Search:
    """One search; arrays of nodes are int64, a node is its row's place."""

    rows: pa.Table
    cfg: DedupConfig

    def __post_init__(self) -> None:
        self.is_new = self.rows["is_new"].to_numpy()
        self.first_new = int((~self.is_new).sum())
        self.old_kind = np.array(self.rows["old_kind"].to_pylist(), dtype=object)
        self.scope = self._codes("crawl") if self.cfg.scope == "crawl" else np.zeros(len(self.rows), np.int64)
        self.shingles = _one_chunk(self.rows["shingles"])
        self.aliases = self._aliases()

    def duplicates(self) -> pa.Table:
        """The table of duplicates."""
        kept = np.arange(len(self.rows))
        kinds = np.full(len(self.rows), None, dtype=object)
        takes_part = self._twins(kept, kinds)
        nodes, nears, jaccards = self._near(takes_part & (kept == np.arange(len(self.rows))))
        kept[nodes], kinds[nodes] = nears, "near"
        known = np.full(len(self.rows), np.nan, np.float32)
        known[nodes] = jaccards
        gone = np.flatnonzero(kept != np.arange(len(self.rows)))
        onward = np.where(self.aliases >= 0, self.aliases, kept)
        target = onward[onward[kept[gone]]]
        twins = np.flatnonzero(kinds[gone] != "near")
        known[gone[twins]] = self._similarities(target[twins], gone[twins]).jaccard
        texts = self._codes("text_key")  # two pages without a token share no shingle and may still be equal
        jaccard = np.where(texts[gone] == texts[target], np.float32(1), known[gone])
        page_ids = self.rows["page_id"]
        return pa.table(
            [page_ids.take(gone), page_ids.take(target), pa.array(kinds[gone], pa.string()), pa.array(jaccard)],
            schema=DUPLICATES_SCHEMA,
        )

    def _codes(self, column: str) -> np.ndarray:
        """(N,) int64, equal for equal strings, a number of its own for each null."""
        codes = pc.fill_null(_one_chunk(self.rows[column].dictionary_encode()).indices, -1).to_numpy().astype(np.int64)
        return np.where(codes < 0, -1 - np.arange(len(codes)), codes)

    def _aliases(self) -> np.ndarray:
        """(N,) the page kept for each removed page of an earlier corpus, -1 for every other page."""
        aliases = np.full(len(self.rows), -1, np.int64)
        old = self.rows.slice(0, self.first_new)
        removed = np.flatnonzero(old["old_kept_id"].is_valid().to_numpy())
        if len(removed):
            places = pc.index_in(old["old_kept_id"].take(removed), value_set=_one_chunk(old["page_id"]))
            aliases[removed] = pc.fill_null(places, -1).to_numpy()
        return aliases

    def _twins(self, kept: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        """Enter URL and text twins into kept and kinds; returns which pages the comparison of bands is left with."""
        by_url = _smallest(self.scope, self._codes("url_key"))
        same_url = self.is_new & (by_url < np.arange(len(kept)))
        kept[same_url], kinds[same_url] = by_url[same_url], "url"
        # A page that goes for its URL takes no part in the comparison of texts, nor did it in an earlier run.
        takes_part = ~same_url & (self.old_kind != "url")
        nodes = np.flatnonzero(takes_part)
        by_text = nodes[_smallest(self.scope[nodes], self._codes("text_key")[nodes])]
        same_text = self.is_new[nodes] & (by_text < nodes)
        kept[nodes[same_text]], kinds[nodes[same_text]] = by_text[same_text], "exact"
        return takes_part & (self.old_kind != "exact")

    def _near(self, takes_part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(node, kept, jaccard) of the new pages that are near-duplicates of one that stays."""
        bands = sets_of(_one_chunk(self.rows["bands"]))
        nodes = bands.rows()
        used = takes_part[nodes]
        nodes, keys = nodes[used], bands.values[used] ^ (self.scope[nodes[used]] * 0x1E3779B97F4A7C15)
        a, b = band_pairs(keys, nodes)
        a, b = a[b >= self.first_new], b[b >= self.first_new]
        pairs = np.unique(a * len(self.rows) + b)
        a, b = pairs // len(self.rows), pairs % len(self.rows)
        near = self._are_near(self._similarities(a, b), self.cfg.min_jaccard)
        a, b = a[near], b[near]
        a = np.where(self.aliases[a] >= 0, self.aliases[a], a)
        found = [*self._chosen(a, b)]
        empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        return tuple(np.concatenate(column) for column in zip(empty, *found, strict=True))  # type: ignore[return-value]

    def _chosen(self, a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Of each component the pages that are near its best page go; then again among those that are left."""
        for _ in range(MAX_ROUNDS):
            if len(a) == 0:
                return
            nodes, components = components_of(a, b)
            members = (nodes != components) & (nodes >= self.first_new)
            found = self._similarities(components[members], nodes[members])
            near = self._are_near(found, self.cfg.min_kept_jaccard)
            gone = nodes[members][near]
            yield gone, components[members][near], found.jaccard[near]
            settled = np.zeros(len(self.rows), bool)
            settled[gone] = settled[components] = True
            left = ~(settled[a] | settled[b])
            a, b = a[left], b[left]

    def _are_near(self, found: Similarities, least: float) -> np.ndarray:
        near: np.ndarray = (found.jaccard >= np.float32(least)) & are_alike(found, self.cfg.min_number_jaccard)
        return near

    def _similarities(self, a: np.ndarray, b: np.ndarray) -> Similarities:
        """The similarities of pages a[i] and b[i]."""

        def sets(nodes: np.ndarray) -> Sets:
            return sets_of(self.shingles.take(pa.array(nodes)))

        starts = range(0, max(len(a), 1), _PAIRS_A_BLOCK)
        parts = [(a[start : start + _PAIRS_A_BLOCK], b[start : start + _PAIRS_A_BLOCK]) for start in starts]
        blocks = [similarities(sets(left), sets(right), self.cfg.minhash) for left, right in parts]
        return Similarities(
            np.concatenate([one.jaccard for one in blocks]),
            np.concatenate([one.number_jaccard for one in blocks]),
            np.concatenate([one.num_numbers for one in blocks]),
        )


def _smallest(scope: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(N,) the first place with the same scope and code."""
    keyed = np.stack([scope, codes], axis=1)
    _, first, inverse = np.unique(keyed, axis=0, return_index=True, return_inverse=True)
    places: np.ndarray = first[inverse.reshape(-1)]
    return places


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
