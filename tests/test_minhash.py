"""MinHash: verified Jaccard, the collision curve, and signatures that never change between runs or versions."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.errors import ConfigError
from mining.minhash import (
    DedupConfig,
    MinHashConfig,
    Sets,
    band_keys,
    signature,
    similarities,
    verification_sample,
)

CFG = MinHashConfig()


def pair_with_jaccard(shared: int, own: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of shared + own values: Jaccard is shared / (shared + 2 * own)."""
    count = shared + 2 * own
    values = rng.permutation(np.unique(rng.integers(0, 1 << 31, count + 50)))[:count]
    one, other = values[: shared + own], np.concatenate([values[:shared], values[shared + own :]])
    return np.sort(one).astype(np.int32), np.sort(other).astype(np.int32)


def hashed(values: np.ndarray) -> np.ndarray:
    """The values spread over 32 bits, as shingles are."""
    return (values.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)).astype(np.uint32)


def compared(a: list[int], b: list[int], cfg: MinHashConfig = CFG) -> tuple[float, float, int]:
    found = similarities(*(Sets.of([np.array(one, np.int32)]) for one in (a, b)), cfg)
    return float(found.jaccard[0]), float(found.number_jaccard[0]), int(found.num_numbers[0])


def test_similarities_of_hand_counted_sets():
    # 3 and 5 are odd: shingles around numbers.
    assert compared([2, 3, 4, 5], [4, 5, 6, 8]) == (pytest.approx(2 / 6), 1 / 2, 2)
    assert compared([2, 4], [2, 4]) == (1.0, 1.0, 0)
    assert compared([3], [5]) == (0.0, 0.0, 2)
    assert compared([], []) == compared([], [2]) == (0.0, 1.0, 0)


@given(st.lists(st.tuples(*[st.sets(st.integers(0, 40), max_size=30)] * 2), min_size=1, max_size=8))
def test_many_pairs_at_once_equal_python_sets(pairs):
    left, right = (Sets.of([np.array(sorted(pair[side]), np.int32) for pair in pairs]) for side in (0, 1))
    found = similarities(left, right, CFG)
    for i, (a, b) in enumerate(pairs):
        assert found.jaccard[i] == pytest.approx(len(a & b) / len(a | b) if a | b else 0.0)
        odd = {value for value in a | b if value % 2}
        assert found.num_numbers[i] == len(odd)
        assert found.number_jaccard[i] == pytest.approx(len(a & b & odd) / len(odd) if odd else 1.0)


def test_signature_is_the_minimum_over_each_permutation():
    both = signature(np.array([7, 8, 9], np.uint32), CFG)
    singles = np.array([signature(np.array([value], np.uint32), CFG) for value in (7, 8, 9)])
    assert both.shape == (112,) and both.dtype == np.uint32
    assert np.array_equal(both, singles.min(axis=0))


def test_long_pages_are_hashed_in_blocks_with_the_same_result():
    values = np.random.default_rng(0).integers(0, 1 << 32, 3000, dtype=np.uint32)
    halves = np.minimum(signature(values[:1500], CFG), signature(values[1500:], CFG))
    assert np.array_equal(signature(values, CFG), halves)


def test_agreement_of_signatures_estimates_jaccard_without_bias():
    rng = np.random.default_rng(1)
    cfg = MinHashConfig(num_bands=16, rows_per_band=8)
    pairs = [pair_with_jaccard(300, 50, rng) for _ in range(200)]  # Jaccard 0.75
    agreements = [(signature(hashed(a), cfg) == signature(hashed(b), cfg)).mean() for a, b in pairs]
    # One estimate has deviation sqrt(.75 * .25 / 128) = 0.0383, their mean 0.0027.
    assert abs(np.mean(agreements) - 0.75) < 0.009
    assert 0.030 < np.std(agreements) < 0.047


@pytest.mark.parametrize(("shared", "own", "expected"), [(300, 100, 0.21), (300, 50, 0.77), (360, 20, 0.9996)])
def test_candidates_follow_the_collision_curve(shared, own, expected):
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        a, b = (band_keys(signature(hashed(one), CFG), CFG) for one in pair_with_jaccard(shared, own, rng))
        hits += bool((a == b).any())
    s = shared / (shared + 2 * own)
    assert 1 - (1 - s**8) ** 14 == pytest.approx(expected, abs=0.005)
    assert hits / 300 == pytest.approx(expected, abs=0.08)  # three standard deviations


def test_bands_of_one_signature_have_different_keys():
    keys = band_keys(np.zeros(112, dtype=np.uint32), CFG)
    assert keys.dtype == np.int64 and len(set(keys.tolist())) == 14


def test_pages_without_tokens_have_no_bands_and_never_collide():
    assert len(band_keys(signature(np.empty(0, np.uint32), CFG), CFG)) == 0


def test_signatures_are_the_same_in_another_process():
    code = (
        "import numpy as np; from mining.minhash import *; c = MinHashConfig(num_bands=2, rows_per_band=2, seed=7);"
        "s = signature(np.array([11, 12, 13], np.uint32), c); print(s.tolist(), band_keys(s, c).tolist())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[2679717170, 2256488735, 454710161, 1562989184] [6393701831904693514, 6474101898038421001]"


def test_seed_changes_the_signature():
    five = np.array([5], np.uint32)
    assert not np.array_equal(signature(five, CFG), signature(five, MinHashConfig(seed=2)))


def test_verification_is_exact_below_the_cap_and_close_above_it():
    cfg = MinHashConfig(max_shingles=400)

    def sampled(shared: int, own: int, seed: int) -> float:
        a, b = pair_with_jaccard(shared, own, np.random.default_rng(seed))
        return compared(verification_sample(a, cfg).tolist(), verification_sample(b, cfg).tolist(), cfg)[0]

    assert sampled(150, 25, 3) == 0.75  # 150 / 200
    assert sampled(6000, 1000, 4) == pytest.approx(0.75, abs=3 * (0.75 * 0.25 / 400) ** 0.5)


def test_a_cut_sample_is_compared_over_the_smallest_of_the_union():
    cfg = MinHashConfig(max_shingles=100)
    large, small = np.arange(0, 4000, 2), np.arange(0, 40, 2)  # 20 of 2,000 are shared
    # The 100 smallest values of the union are 0..198, of which the small page has 20.
    assert compared(verification_sample(large, cfg).tolist(), small.tolist(), cfg)[0] == pytest.approx(0.2)


@pytest.mark.parametrize("bad", [{"num_bands": 0}, {"shingle_size": 65}, {"candidate_shingle_size": 0}])
def test_impossible_signatures_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        MinHashConfig(**bad)


@pytest.mark.parametrize("bad", [{"min_jaccard": 1.5}, {"min_kept_jaccard": -0.1}, {"min_number_jaccard": 2.0}])
def test_impossible_thresholds_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        DedupConfig(**bad)


def test_one_crawl_by_itself_and_another_run_exclude_each_other():
    with pytest.raises(ConfigError, match=r"dedup\.scope=crawl"):
        DedupConfig(scope="crawl", against=["runs/earlier"])
