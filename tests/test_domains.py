"""Candidate hosts: the Wilson bound by hand, and the two ways to pass."""

import pytest

from mining.domains import DomainConfig, DomainStats, is_candidate, wilson_lower
from mining.errors import ConfigError


def test_wilson_bound_worked_by_hand():
    # 3 of 10: centre .3 + 3.8416/20 = .49208, spread 1.96 * sqrt(.021 + 3.8416/400) = .34288, over 1 + .38416.
    assert wilson_lower(3, 10) == pytest.approx((0.49208 - 0.342883) / 1.38416, abs=1e-5)
    # 1 of 1: (1 + 1.9208 - 1.96 * .98) / 4.8416 = 1 / 4.8416.
    assert wilson_lower(1, 1) == pytest.approx(1 / 4.8416)


def test_wilson_bound_at_the_ends():
    assert wilson_lower(0, 50) == 0.0
    assert wilson_lower(0, 0) == 0.0
    assert wilson_lower(7, 20, z=0) == 7 / 20


def test_bound_grows_with_evidence_for_one_share():
    bounds = [wilson_lower(2 * n, 10 * n) for n in (1, 10, 100, 1000)]
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    ("pages", "collected", "candidate"),
    [
        (1, 1, False),  # the raw 10% rule takes it
        (9, 9, False),  # too few pages
        (10, 2, False),  # bound .057
        (10, 3, True),  # bound .108
        (100, 11, False),  # share .11, bound .063
        (100, 18, True),  # bound .117
        (10_000, 1_100, True),  # bound .104
        (10_000, 1_050, False),  # share .105, bound .0991
    ],
)
def test_share_rule_uses_the_bound(pages, collected, candidate):
    assert is_candidate(DomainStats(pages, collected), DomainConfig()) is candidate


def test_huge_host_passes_by_one_prefix_with_much_left_to_collect():
    host = DomainStats(pages=1_000_000, collected=3_000, prefix_pages=4_000, prefix_collected=2_500)
    assert is_candidate(host, DomainConfig())
    assert not is_candidate(DomainStats(1_000_000, 3_000), DomainConfig())
    # A prefix that is nearly all collected would bring nothing new.
    assert not is_candidate(DomainStats(1_000_000, 3_000, 2_600, 2_500), DomainConfig())
    # Many pages left, but hardly any of the prefix is mathematics.
    assert not is_candidate(DomainStats(1_000_000, 3_000, 40_000, 3_000), DomainConfig())


@pytest.mark.parametrize("bad", [{"min_share": 1.0}, {"min_pages": 0}, {"z": -1.0}])
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        DomainConfig(**bad)
