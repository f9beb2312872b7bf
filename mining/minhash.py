"""Shingles to MinHash signatures, band keys and exact Jaccard similarity.

Two pages become a candidate pair when one of b bands of r rows agrees. With Jaccard similarity s that happens with
probability P = 1 - (1 - s^r)^b: for 14 x 8, P(0.6) = 0.21, P(0.75) = 0.77, P(0.8) = 0.92, P(0.9) = 0.9996. Every
pair is then verified by its exact Jaccard, so a false positive costs time and never a page.

The signature is own arithmetic in numpy, not rensa's: rensa 0.3.1, 0.4.1 and 0.5.0 give three different signatures
for one set and seed, so the band index of an earlier crawl would silently stop matching after an upgrade. Measured
(295 shingles, 112 permutations, one core): 28k pages/s here, rensa 0.5.0 19k a page at a time and 54k in batches;
shingling makes 4.6k pages/s, so neither decides.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xxhash

from mining.errors import ConfigError


@dataclass(frozen=True)
class MinHashConfig:
    """How near-duplicate candidates are found and verified."""

    num_bands: int = 14
    """Bands b of the signature; pages that agree in one are compared."""
    rows_per_band: int = 8
    """Permutations r in a band; b * r numbers make a signature."""
    shingle_size: int = 5
    """Tokens in a shingle."""
    min_jaccard: float = 0.75
    """Exact Jaccard similarity from which a candidate pair counts as near-duplicates."""
    min_kept_jaccard: float = 0.6
    """A page goes only if it is this similar to the page that is kept: chains a~b~c do not swallow what is far."""
    seed: int = 1
    """Seed of the permutations; pages compared must have the same."""
    max_shingles: int = 4000
    """Shingles kept a page for verification: the smallest hashes of larger sets (see `bounded_jaccard`)."""

    def __post_init__(self) -> None:
        for name in ("num_bands", "rows_per_band", "shingle_size", "max_shingles"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: must be 1 or more")
        if self.shingle_size > 64:
            raise ConfigError(f"shingle_size={self.shingle_size}: must be at most 64")
        if not 0.0 < self.min_jaccard <= 1.0:
            raise ConfigError(f"min_jaccard={self.min_jaccard}: must lie in (0, 1]")


@lru_cache(maxsize=8)
def _permutations(num_perm: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Odd multipliers and offsets, each (num_perm, 1) uint32: x -> a * x + b mod 2^32 permutes 32-bit values."""
    draws = [xxhash.xxh3_64_intdigest(f"minhash {i}".encode(), seed=seed) for i in range(num_perm)]
    multipliers = np.array([draw >> 32 | 1 for draw in draws], dtype=np.uint32)
    offsets = np.array([draw & 0xFFFFFFFF for draw in draws], dtype=np.uint32)
    return multipliers[:, None], offsets[:, None]


def signature(shingles: list[int] | np.ndarray, cfg: MinHashConfig) -> np.ndarray:
    """The (num_bands * rows_per_band,) uint32 minima of the shingles under the seed's permutations.

    An empty set gives an empty array: pages without tokens resemble nothing.
    """
    if len(shingles) == 0:
        return np.empty(0, dtype=np.uint32)
    values = (np.asarray(shingles, dtype=np.uint64) >> np.uint64(20)).astype(np.uint32)  # (S,)
    multipliers, offsets = _permutations(cfg.num_bands * cfg.rows_per_band, cfg.seed)
    lowest = np.full((len(multipliers), 1), 0xFFFFFFFF, dtype=np.uint32)
    # In blocks that fit the cache; one (perms, S) product of a book would take 100 MB.
    for start in range(0, len(values), 1024):
        block = values[start : start + 1024] * multipliers + offsets  # (perms, block)
        np.minimum(lowest, block.min(axis=1, keepdims=True), out=lowest)
    return lowest[:, 0]


def band_keys(signature: np.ndarray, cfg: MinHashConfig) -> list[int]:
    """One signed 64-bit key a band, the band's number mixed in; pages that share a key are candidates.

    Empty for an empty signature.
    """
    if len(signature) == 0:
        return []
    rows = np.ascontiguousarray(signature, dtype="<u4").tobytes()
    size = 4 * cfg.rows_per_band
    keys = []
    for band in range(cfg.num_bands):
        key = xxhash.xxh3_64_intdigest(rows[band * size : (band + 1) * size], seed=band)
        keys.append(key - (1 << 64) if key >= 1 << 63 else key)
    return keys


def jaccard(a: list[int] | np.ndarray, b: list[int] | np.ndarray) -> float:
    """|A and B| / |A or B| of two sets given as sequences of distinct integers; 0 when both are empty."""
    if len(a) == 0 or len(b) == 0:
        return 0.0
    shared = len(np.intersect1d(np.asarray(a), np.asarray(b), assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def verification_sample(shingles: list[int], cfg: MinHashConfig) -> list[int]:
    """The shingles to keep for verification: all, or the `max_shingles` smallest of a sorted larger set."""
    return shingles[: cfg.max_shingles]


def bounded_jaccard(a: list[int], b: list[int], cfg: MinHashConfig) -> float:
    """Jaccard similarity from two verification samples: exact unless a sample was cut.

    A cut sample makes it the bottom-k estimate over the k smallest hashes of the union; its standard error is
    sqrt(s (1 - s) / k), at most 0.008 for k = 4,000.
    """
    if max(len(a), len(b)) < cfg.max_shingles:
        return jaccard(a, b)
    union = np.union1d(np.asarray(a), np.asarray(b))[: cfg.max_shingles]
    if len(union) == 0:
        return 0.0
    shared = np.intersect1d(np.asarray(a), np.asarray(b), assume_unique=True)
    return int(np.searchsorted(shared, union[-1], side="right")) / len(union)


def bands_and_rows(threshold: float, num_perm: int) -> tuple[int, int]:
    """(b, r) with b * r <= num_perm whose collision curve is nearest to a step at `threshold`.

    Nearest: least sum of the area of P below the threshold (false candidates) and of 1 - P above it (lost pairs).
    """
    if not 0.0 < threshold < 1.0 or num_perm < 1:
        raise ConfigError(f"threshold={threshold}, num_perm={num_perm}: need 0 < threshold < 1 and num_perm >= 1")
    grid = (np.arange(1000) + 0.5) / 1000
    below = grid < threshold

    def error(rows: int) -> float:
        collides = 1 - (1 - grid**rows) ** (num_perm // rows)
        return float(np.where(below, collides, 1 - collides).sum())

    rows = min(range(1, num_perm + 1), key=lambda r: (error(r), r))
    return num_perm // rows, rows
