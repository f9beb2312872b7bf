"""The recall loop's decisions, by hand-worked numbers."""

import math

import pytest

from mining.errors import ConfigError
from mining.rounds import (
    AuditedPage,
    Bin,
    RoundsConfig,
    audit_figures,
    bin_of_cut,
    check,
    drifted,
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


def audited(math_taken: int, other_taken: int, math_left: int = 0, score: float = 0.0) -> list[AuditedPage]:
    kinds = [(True, True)] * math_taken + [(False, True)] * other_taken + [(True, False)] * math_left
    return [AuditedPage("host.org", "en", is_math, taken, score) for is_math, taken in kinds]


def test_audit_figures_are_those_of_the_counts() -> None:
    found = audit_figures(audited(6, 2, 4, score=math.log(3)))
    assert (found["pages"], found["math"], found["collected"]) == (12, 10, 8)
    assert (found["precision"], found["recall"]) == (0.75, 0.6)
    assert found["f1"] == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert found["brier"] == pytest.approx((10 * 0.25**2 + 2 * 0.75**2) / 12)
    nothing = audit_figures([])
    assert nothing["precision"] is nothing["recall"] is nothing["f1"] is nothing["brier"] is None
    assert audit_figures(audited(1, 1, score=1e6))["brier"] == pytest.approx(0.5)


def test_drift_needs_enough_pages_and_a_real_fall() -> None:
    cfg = RoundsConfig(max_precision_drop=0.05)
    good, worse = audit_figures(audited(95, 5)), audit_figures(audited(88, 12))
    assert drifted(worse, good, cfg)
    assert not drifted(audit_figures(audited(91, 9)), good, cfg)
    assert not drifted(good, worse, cfg)
    assert not drifted(audit_figures(audited(10, 9)), good, cfg)
    assert not drifted(audit_figures([]), good, cfg)
    assert not drifted(worse, good, RoundsConfig(max_precision_drop=1.0))
