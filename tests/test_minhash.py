"""MinHash: exact Jaccard, the collision curve, and signatures that never change between runs or versions."""

import subprocess
import sys

import numpy as np
import pytest

from mining.errors import ConfigError
from mining.minhash import (
    MinHashConfig,
    band_keys,
    bands_and_rows,
    bounded_jaccard,
    jaccard,
    signature,
    verification_sample,
)

CFG = MinHashConfig()


def pair_with_jaccard(shared: int, own: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Two sets of shared + own elements: Jaccard is shared / (shared + 2 * own)."""
    values = rng.integers(0, 1 << 62, shared + 2 * own).tolist()
    return sorted(values[: shared + own]), sorted(values[:shared] + values[shared + own :])


def test_jaccard_of_hand_counted_sets():
    assert jaccard([1, 2, 3, 4], [3, 4, 5, 6]) == 2 / 6
    assert jaccard([1, 2], [1, 2]) == 1.0
    assert jaccard([1], [2]) == 0.0
    assert jaccard([], []) == jaccard([], [1]) == 0.0


def test_signature_is_the_minimum_over_each_permutation():
    both = signature([1 << 30, 7 << 40, 9 << 50], CFG)
    singles = np.array([signature([value], CFG) for value in (1 << 30, 7 << 40, 9 << 50)])
    assert both.shape == (112,) and both.dtype == np.uint32
    assert np.array_equal(both, singles.min(axis=0))


def test_long_pages_are_hashed_in_blocks_with_the_same_result():
    values = np.random.default_rng(0).integers(0, 1 << 62, 3000).tolist()
    halves = np.minimum(signature(values[:1500], CFG), signature(values[1500:], CFG))
    assert np.array_equal(signature(values, CFG), halves)


def test_agreement_of_signatures_estimates_jaccard_without_bias():
    rng = np.random.default_rng(1)
    cfg = MinHashConfig(num_bands=16, rows_per_band=8)
    pairs = [pair_with_jaccard(300, 50, rng) for _ in range(200)]  # Jaccard 0.75
    agreements = [(signature(a, cfg) == signature(b, cfg)).mean() for a, b in pairs]
    # One estimate has deviation sqrt(.75 * .25 / 128) = 0.0383, their mean 0.0027.
    assert abs(np.mean(agreements) - 0.75) < 0.009
    assert 0.030 < np.std(agreements) < 0.047


@pytest.mark.parametrize(("shared", "own", "expected"), [(300, 100, 0.21), (300, 50, 0.77), (360, 20, 0.9996)])
def test_candidates_follow_the_collision_curve(shared, own, expected):
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        a, b = (band_keys(signature(values, CFG), CFG) for values in pair_with_jaccard(shared, own, rng))
        hits += any(x == y for x, y in zip(a, b, strict=True))
    s = shared / (shared + 2 * own)
    assert 1 - (1 - s**8) ** 14 == pytest.approx(expected, abs=0.005)
    assert hits / 300 == pytest.approx(expected, abs=0.08)  # three standard deviations


def test_band_keys_are_signed_64_bit_and_differ_between_bands():
    keys = band_keys(np.zeros(112, dtype=np.uint32), CFG)
    assert len(set(keys)) == 14
    assert all(-(1 << 63) <= key < 1 << 63 for key in keys)


def test_pages_without_tokens_have_no_bands_and_never_collide():
    assert band_keys(signature([], CFG), CFG) == []


def test_signatures_are_the_same_in_another_process():
    code = (
        "from mining.minhash import *; c = MinHashConfig(num_bands=2, rows_per_band=2, seed=7);"
        "s = signature([11 << 40, 12 << 40, 13 << 40], c); print(s.tolist(), band_keys(s, c))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[1994945793, 1755887516, 211205973, 540227172] [-7659347866589160862, 8930132373096767442]"


def test_seed_changes_the_signature():
    assert not np.array_equal(signature([5 << 40], CFG), signature([5 << 40], MinHashConfig(seed=2)))


def test_verification_is_exact_below_the_cap_and_close_above_it():
    cfg = MinHashConfig(max_shingles=400)
    a, b = pair_with_jaccard(150, 25, np.random.default_rng(3))  # 150 / 200
    assert bounded_jaccard(verification_sample(a, cfg), verification_sample(b, cfg), cfg) == 0.75
    a, b = pair_with_jaccard(6000, 1000, np.random.default_rng(4))
    estimate = bounded_jaccard(verification_sample(a, cfg), verification_sample(b, cfg), cfg)
    assert estimate == pytest.approx(0.75, abs=3 * (0.75 * 0.25 / 400) ** 0.5)


def test_bands_and_rows_minimise_the_error_area():
    b, r = bands_and_rows(0.75, 112)
    assert b * r <= 112

    def error(b: int, r: int) -> float:
        s = (np.arange(20_000) + 0.5) / 20_000
        p = 1 - (1 - s**r) ** b
        return float(np.where(s < 0.75, p, 1 - p).mean())

    assert error(b, r) <= min(error(112 // rows, rows) for rows in range(1, 113)) + 1e-4


@pytest.mark.parametrize("bad", [{"num_bands": 0}, {"min_jaccard": 0.0}, {"min_jaccard": 1.5}, {"shingle_size": 65}])
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        MinHashConfig(**bad)
