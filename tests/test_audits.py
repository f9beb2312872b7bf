"""Audited pages: their file, the hosts that are held out, and estimates that can be worked by hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from mining.audits import (
    Audit,
    StratumCount,
    estimate,
    format_audits,
    is_held_out,
    parse_audits,
    read_audits,
    write_audits,
)
from mining.errors import ConfigError

ROWS = [
    Audit("https://a.example/x,y", "math", "ada", "2024-06-01T10:00:00+00:00", 2, 1.25, True, 'says "yes"'),
    Audit("https://b.example/", "not_math", "bob", "", 1, None, False, ""),
]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "audits.csv"
    assert read_audits(file) == []
    write_audits(file, ROWS)
    assert read_audits(file) == ROWS
    assert file.read_text().splitlines()[0] == "url,label,annotator,labelled_at,round,score,held_out,note"
    assert [one.name for one in tmp_path.iterdir()] == ["audits.csv"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("link,label\nhttps://a.example/,math\n", "line 1: no column 'url'"),
        ("url,label\nhttps://a.example/,maths\n", "line 2: label 'maths'"),
        ("url,label\n/only/path,math\n", "line 2: url '/only/path' has no host"),
        ("url,label\nhttps://a.example/,math\nhttps://a.example/,not_math\n", "line 3: https://a.example/ is not_math"),
        ("url,label,held_out\nhttps://a.example/,math,yes\n", "held_out 'yes'"),
        ("url,label,score\nhttps://a.example/,math,high\n", "round and score are numbers"),
    ],
)
def test_a_line_that_cannot_be_meant_is_named(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match="audits line") as caught:
        parse_audits(text)
    assert says in str(caught.value)


def test_in_and_out_are_read_as_the_labels_of_any_subject() -> None:
    found = parse_audits("url,label\nhttps://a.example/1,in\nhttps://a.example/2,out\n")
    assert [one.label for one in found] == ["math", "not_math"]


def test_a_row_without_held_out_gets_what_its_host_says() -> None:
    for host in ("a.example", "b.example", "c.example", "d.example"):
        assert parse_audits(f"url,label\nhttps://{host}/1,math\n")[0].held_out == is_held_out(host)
    assert parse_audits(format_audits(ROWS)) == ROWS


def test_half_of_the_hosts_are_held_out_and_www_is_no_other_host() -> None:
    hosts = [f"site{number}.example" for number in range(4000)]
    held = sum(map(is_held_out, hosts))
    assert abs(held - 2000) < 4 * math.sqrt(4000 * 0.25)
    assert all(is_held_out(host) == is_held_out(f"www.{host}") for host in hosts[:200])
    assert not any(is_held_out(host, 0.0) for host in hosts) and all(is_held_out(host, 1.0) for host in hosts)
    small = {host for host in hosts if is_held_out(host, 0.2)}
    assert small < {host for host in hosts if is_held_out(host)}


def test_precision_and_recall_are_the_stratified_ones() -> None:
    # Collected: 100 pages of which 8 of 10 math, 300 of which 5 of 10: 80 + 150 = 230 of 400.
    # Left: 1,000 of which 1 of 20 are math, 50 pages: recall 230 / 280.
    strata = [
        StratumCount(True, 100, 10, 8),
        StratumCount(True, 300, 10, 5),
        StratumCount(False, 1000, 20, 1),
        StratumCount(False, 0, 0, 0),
    ]
    found = estimate(strata)
    assert found["precision"].value == pytest.approx(230 / 400)
    assert found["recall"].value == pytest.approx(230 / 280)
    low, high = found["precision"].interval or (1.0, 0.0)
    assert 0.3 < low < 230 / 400 < high < 0.8
    assert found == estimate(strata)


def test_a_census_leaves_no_doubt() -> None:
    found = estimate([StratumCount(True, 20, 20, 15), StratumCount(False, 30, 30, 5)])
    assert found["precision"].value == 0.75 and found["precision"].interval == (0.75, 0.75)
    assert found["recall"].value == 0.75 and found["recall"].interval == (0.75, 0.75)


def test_agreement_of_all_pages_still_leaves_doubt() -> None:
    low, high = estimate([StratumCount(True, 1000, 5, 5)])["precision"].interval or (0.0, 0.0)
    assert low < 0.75 and high == 1.0


def test_a_stratum_without_an_audited_page_gives_no_estimate() -> None:
    found = estimate([StratumCount(True, 100, 5, 5), StratumCount(False, 100, 0, 0)])
    assert found["precision"].value == 1.0 and found["recall"].value is None
    assert estimate([StratumCount(True, 100, 0, 0), StratumCount(False, 100, 5, 0)])["precision"].value is None
    assert estimate([])["precision"].value is None


def test_the_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    shares, sizes, audited = (0.95, 0.7, 0.2, 0.02), (400, 400, 600, 3000), (25, 25, 30, 40)
    math_pages = [round(share * size) for share, size in zip(shares, sizes, strict=True)]
    truth = {"precision": sum(math_pages[:2]) / 800, "recall": sum(math_pages[:2]) / sum(math_pages)}
    held = dict.fromkeys(truth, 0)
    for _ in range(200):
        strata = [
            StratumCount(place < 2, size, n, int(generator.hypergeometric(good, size - good, n)))
            for place, (good, size, n) in enumerate(zip(math_pages, sizes, audited, strict=True))
        ]
        found = estimate(strata)
        for name, value in truth.items():
            low, high = found[name].interval or (1.0, 0.0)
            held[name] += low <= value <= high
    assert all(count >= 180 for count in held.values()), held
