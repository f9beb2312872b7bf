"""Shingles to MinHash signatures, band keys and verified Jaccard similarity.

Two pages become a candidate pair when one of b bands of r rows agrees. With Jaccard similarity s that happens with
probability P = 1 - (1 - s^r)^b: for 14 x 8, P(0.6) = 0.21, P(0.75) = 0.77, P(0.8) = 0.92, P(0.9) = 0.9996. Every
pair is then verified, so a false candidate costs time and never a page; therefore the signature is made of shorter
shingles than the verification. A page with every twentieth word changed shares 0.63 of its 5-token shingles with
the original, and 0.75 of its 3-token ones: with these it is found three times as often.

The signature is own arithmetic in numpy, not rensa's: rensa 0.3.1, 0.4.1 and 0.5.0 give three different signatures
for one set and seed, so the band index of an earlier crawl would silently stop matching after an upgrade.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import xxhash

from mining.errors import ConfigError


@dataclass(frozen=True)
class MinHashConfig:
    """What is written of every page into the band index; only equal settings can be compared."""

    num_bands: int = 14
    """Bands b of the signature; pages that agree in one are compared."""
    rows_per_band: int = 8
    """Permutations r in a band; b * r numbers make a signature."""
    candidate_shingle_size: int = 3
    """Tokens in a shingle of the signature: short ones find more pairs, and verification sorts them out."""
    shingle_size: int = 5
    """Tokens in a shingle of the verification."""
    seed: int = 1
    """Seed of the permutations."""
    max_shingles: int = 1000
    """Shingles kept a page for verification: the smallest hashes of larger sets. Similarities of larger pages are
    estimates with a standard error of at most 0.5 / sqrt(max_shingles), 0.016."""

    def __post_init__(self) -> None:
        for name in ("num_bands", "rows_per_band", "candidate_shingle_size", "shingle_size", "max_shingles"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: must be 1 or more")
        for name in ("candidate_shingle_size", "shingle_size"):
            if getattr(self, name) > 64:
                raise ConfigError(f"{name}={getattr(self, name)}: must be at most 64")


@dataclass(frozen=True)
class DedupConfig:
    """Which pages are duplicates, and which page of them stays."""

    minhash: MinHashConfig = field(default_factory=MinHashConfig)
    """Signatures and bands: what the band index holds."""
    min_jaccard: float = 0.65
    """Jaccard similarity of the shingles from which two pages are near-duplicates: about every twentieth word changed,
    or a fifth of each page its own."""
    min_kept_jaccard: float = 0.6
    """A page goes only if it is this similar to the page that is kept: chains a~b~c do not swallow what is far."""
    min_number_jaccard: float = 0.3
    """The shingles around numbers must be this similar as well, where there are 8 or more: sheets of exercises that
    differ in their numbers only are different pages."""
    scope: Literal["all", "crawl"] = "all"
    """all: a page may go for one of another crawl; crawl: each crawl is deduplicated by itself."""
    prefer: Literal["best", "earliest_crawl"] = "best"
    """best: of duplicates the page with most formulas kept, then the longest, the newest, the smallest page_id stays;
    earliest_crawl: one of the crawl whose name sorts first, then the same."""
    against: list[str] = field(default_factory=list)
    """Finished run directories of earlier crawls: pages like theirs go, theirs all stay; their text is not read."""

    def __post_init__(self) -> None:
        for name in ("min_jaccard", "min_kept_jaccard", "min_number_jaccard"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"dedup.{name}={getattr(self, name)}: must lie in 0..1")
        if self.scope == "crawl" and self.against:
            raise ConfigError("dedup.scope=crawl compares no crawl with another; leave dedup.against empty or use all")


@lru_cache(maxsize=8)
def _permutations(num_perm: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Odd multipliers and offsets, each (num_perm, 1) uint32: x -> a * x + b mod 2^32 permutes 32-bit values."""
    draws = [xxhash.xxh3_64_intdigest(f"minhash {i}".encode(), seed=seed) for i in range(num_perm)]
    multipliers = np.array([draw >> 32 | 1 for draw in draws], dtype=np.uint32)
    offsets = np.array([draw & 0xFFFFFFFF for draw in draws], dtype=np.uint32)
    return multipliers[:, None], offsets[:, None]


def signature(values: np.ndarray, cfg: MinHashConfig) -> np.ndarray:
    """The (num_bands * rows_per_band,) uint32 minima of (S,) uint32 hashes under the seed's permutations.

    Repeated values do not count. No values give an empty array: pages without tokens resemble nothing.
    """
    if len(values) == 0:
        return np.empty(0, dtype=np.uint32)
    multipliers, offsets = _permutations(cfg.num_bands * cfg.rows_per_band, cfg.seed)
    lowest = np.full((len(multipliers), 1), 0xFFFFFFFF, dtype=np.uint32)
    # In blocks that fit the cache; one (perms, S) product of a book would take 100 MB.
    for start in range(0, len(values), 1024):
        block = values[start : start + 1024] * multipliers  # (perms, block)
        block += offsets
        np.minimum(lowest, block.min(axis=1, keepdims=True), out=lowest)
    return lowest[:, 0]


def band_keys(signature: np.ndarray, cfg: MinHashConfig) -> np.ndarray:
    """(num_bands,) int64 keys, the band's number mixed in; pages that share a key are candidates.

    Empty for an empty signature.
    """
    if len(signature) == 0:
        return np.empty(0, dtype=np.int64)
    rows = np.ascontiguousarray(signature, dtype="<u4").tobytes()
    size = 4 * cfg.rows_per_band
    keys = [xxhash.xxh3_64_intdigest(rows[b * size : (b + 1) * size], seed=b) for b in range(cfg.num_bands)]
    return np.array(keys, dtype=np.uint64).view(np.int64)


def verification_sample(shingles: np.ndarray, cfg: MinHashConfig) -> np.ndarray:
    """The shingles to keep for verification: all, or the `max_shingles` smallest of a sorted larger set."""
    return shingles[: cfg.max_shingles]


@dataclass(frozen=True)
class Sets:
    """Many sets of integers in two arrays: set i is values[offsets[i] : offsets[i + 1]], sorted and distinct."""

    offsets: np.ndarray
    """(N + 1,) int."""
    values: np.ndarray
    """(V,) int32 of mining.shingles.shingles."""

    @classmethod
    def of(cls, sets: list[np.ndarray]) -> "Sets":
        """The given sets."""
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in sets], dtype=np.int64)])
        return cls(offsets, np.concatenate([*sets, np.empty(0, np.int32)]).astype(np.int32))

    def rows(self) -> np.ndarray:
        """(V,) the number of the set that each value belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def up_to(self, limits: np.ndarray) -> "Sets":
        """The sets without what lies above their (N,) limits."""
        rows = self.rows()
        stays = self.values <= limits[rows]
        counts = np.bincount(rows[stays], minlength=len(limits))
        return Sets(np.concatenate([[0], np.cumsum(counts)]), self.values[stays])


@dataclass(frozen=True)
class Similarities:
    """How much two lists of sets have in common, pair by pair."""

    jaccard: np.ndarray
    """(N,) float32, |A and B| / |A or B|; 0 where both are empty."""
    number_jaccard: np.ndarray
    """(N,) the same over the shingles with a number in their middle; 1 where neither has any."""
    num_numbers: np.ndarray
    """(N,) size of the union of those shingles."""


def similarities(left: Sets, right: Sets, cfg: MinHashConfig) -> Similarities:
    """The similarities of left's sets with right's, both verification samples.

    Exact where neither sample was cut; else over the `max_shingles` smallest values of the union (bottom-k).
    """
    sizes = np.diff(left.offsets), np.diff(right.offsets)
    cut = np.flatnonzero(np.maximum(*sizes) >= cfg.max_shingles)
    if len(cut):
        limits = np.full(len(sizes[0]), np.iinfo(np.int32).max)
        for i in cut:
            a, b = (sets.values[sets.offsets[i] : sets.offsets[i + 1]] for sets in (left, right))
            limits[i] = np.union1d(a, b)[: cfg.max_shingles][-1]
        left, right = left.up_to(limits), right.up_to(limits)
        sizes = np.diff(left.offsets), np.diff(right.offsets)
    keyed = [sets.rows() << 32 | sets.values for sets in (left, right)]  # each ascending
    both = np.concatenate(keyed)
    both.sort(kind="stable")  # merges the two runs
    shared = both[1:][both[1:] == both[:-1]]
    count = len(sizes[0])
    num_shared = np.bincount(shared >> 32, minlength=count)
    numbers_shared = np.bincount(shared[shared & 1 == 1] >> 32, minlength=count)
    numbers = sum(np.bincount(one[one & 1 == 1] >> 32, minlength=count) for one in keyed) - numbers_shared
    union = sizes[0] + sizes[1] - num_shared
    return Similarities(
        np.where(union > 0, num_shared / np.maximum(union, 1), 0.0).astype(np.float32),
        np.where(numbers > 0, numbers_shared / np.maximum(numbers, 1), 1.0),
        numbers,
    )
