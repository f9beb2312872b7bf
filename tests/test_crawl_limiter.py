"""One rate for everybody: spacing, back-off that all obey, and the way back."""

import itertools
import json
import threading
import time

import pytest

from mining.crawl.limiter import Limiter
from mining.errors import ConfigError, ShardError


def limiter(tmp_path, **more) -> Limiter:
    settings = {"rate": 100.0, "first_wait_s": 0.1, "max_wait_s": 0.4, "patience_s": 60.0, **more}
    return Limiter("data.example", folder=str(tmp_path), **settings)


def state(one: Limiter) -> dict:
    return json.loads(one.path.read_text())


def test_grants_of_all_threads_and_handles_are_an_interval_apart(tmp_path):
    grants: list[float] = []

    def work() -> None:
        mine = limiter(tmp_path)  # as another process would
        for _ in range(8):
            grants.append(mine.wait())

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grants.sort()
    assert len(grants) == 40
    assert min(later - earlier for earlier, later in itertools.pairwise(grants)) >= 0.01 - 1e-6


def test_a_refusal_holds_everybody_back_and_answers_bring_the_rate_back(tmp_path):
    one, other = limiter(tmp_path), limiter(tmp_path)
    asked = one.wait()
    one.refused(asked)
    refused_at = state(one)["refused_at"]
    # 0.1 s less a quarter at most, whoever asks; then twice the spacing.
    assert other.wait() >= refused_at + 0.075
    assert state(one)["slowed"] == 2.0
    other.answered(other.wait())
    assert state(one)["slowed"] == pytest.approx(1.8)
    assert state(one)["num_refusals"] == 0


def test_refusals_of_requests_that_were_under_way_together_count_once(tmp_path):
    one = limiter(tmp_path)
    first, second = one.wait(), one.wait()
    one.refused(first)
    one.refused(second)
    assert state(one)["num_refusals"] == 1
    one.answered(second)  # it went out before the refusal came: no sign that the server has forgiven
    assert state(one)["num_refusals"] == 1
    one.refused(one.wait())
    assert state(one)["num_refusals"] == 2
    assert state(one)["slowed"] == 4.0


def test_retry_after_is_kept_up_to_the_longest_wait(tmp_path):
    one = limiter(tmp_path, max_wait_s=0.3)
    for asked_for, wait in ((0.2, 0.2), (3600.0, 0.3)):
        one.refused(one.wait(), asked_for)
        found = state(one)
        assert found["not_before"] - found["refused_at"] == pytest.approx(wait, abs=0.02)


def test_patience_ends_in_an_error_that_says_what_to_do(tmp_path):
    bounds = {"patience_s": 0.5, "max_wait_s": 0.1}
    one = limiter(tmp_path, **bounds)

    def ask_for_ever() -> None:
        while True:
            one.refused(one.wait())

    with pytest.raises(ShardError, match=r"data\.example has refused for .* run the same line again"):
        ask_for_ever()
    limiter(tmp_path, **bounds).wait()  # a later call begins with fresh patience


def test_a_torn_or_foreign_state_is_no_end(tmp_path):
    one = limiter(tmp_path)
    for damage in ('{"last": 17', '{"unknown": 1}', "[]"):
        one.path.write_text(damage)
        one.wait()
        assert state(one)["last"] > 0
    far = time.time() + 10**6  # the clock was set back since
    one.path.write_text(json.dumps({**state(one), "last": far, "not_before": far}))
    one.wait()
    assert state(one)["last"] < far


def test_whoever_waits_is_woken_by_close(tmp_path):
    one = limiter(tmp_path, rate=0.001)
    one.wait()
    threading.Timer(0.2, one.close).start()
    with pytest.raises(ShardError, match="stopped"):
        one.wait()


def test_a_folder_that_cannot_be_written_stops_before_any_request(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="limits_dir"):
        limiter(tmp_path / "file")
