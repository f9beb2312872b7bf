"""The recall loop's decisions, by hand-worked numbers."""

import math

import pytest

from mining.errors import ConfigError
from mining.rounds import (
    Bin,
    RoundsConfig,
    bin_of_cut,
    check,
    logit,
    overlap,
    should_stop,
    take_until,
    threshold_for_precision,
)


def test_the_budget_ends_in_the_bar_that_overflows_it() -> None:
    bins = [Bin(3.0, 2, 100), Bin(2.0, 5, 400), Bin(1.0, 9, 900)]
    assert bin_of_cut(bins, 550) == (2, 500)  # 100 + 400 fit, 900 more do not
    assert bin_of_cut(bins, 499) == (1, 100)
    assert bin_of_cut(bins, 1400) == (3, 1400)  # everything fits


def test_ties_at_the_cut_are_taken_in_page_id_order() -> None:
    pages = [(1.0, "b", 10), (1.0, "a", 10), (2.0, "z", 10)]
    assert take_until(pages, 20) == (1.0, "a")  # z, then a; b is over the budget
    assert take_until(pages, 9) is None


def test_precision_cut_takes_the_longest_list_that_is_pure_enough() -> None:
    labelled = [(5.0, True), (4.0, True), (3.0, False), (2.0, True), (1.0, False)]
    assert threshold_for_precision(labelled, 0.75) == 2.0  # 3 of 4
    assert threshold_for_precision(labelled, 0.9) == 4.0  # 2 of 2
    assert threshold_for_precision([(1.0, False)], 0.5) == math.inf


def test_precision_cut_never_splits_ties() -> None:
    assert threshold_for_precision([(1.0, True), (1.0, False)], 0.9) == math.inf


def test_loop_stops_at_the_paper_s_overlap() -> None:
    cfg = RoundsConfig(max_rounds=9)
    assert should_stop(1, None, cfg) == ""
    assert should_stop(3, 0.979, cfg) == ""
    assert "98.0%" in should_stop(4, 0.98, cfg)
    assert "max_rounds=9" in should_stop(9, 0.5, cfg)


def test_overlap_counts_this_round_s_pages() -> None:
    assert overlap(200, 150) == 0.75
    assert overlap(0, 0) == 1.0


def test_logit_of_a_half_is_zero_and_refuses_the_ends() -> None:
    assert logit(0.5) == 0.0
    assert logit(0.9) == pytest.approx(math.log(9))
    with pytest.raises(ConfigError, match=r"1\.5"):
        logit(1.5)


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (RoundsConfig(max_rounds=0), "max_rounds=0"),
        (RoundsConfig(cut="token_budget"), "token_budget=0"),
        (RoundsConfig(cut="precision"), "precision_labels"),
        (RoundsConfig(threshold=1.0), "threshold=1.0"),
    ],
)
def test_contradictory_settings_are_refused(cfg: RoundsConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(cfg)
