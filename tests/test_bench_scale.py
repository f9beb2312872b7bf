"""The bench of growing sizes, by hand numbers: what a stage took, how it grows, what a snapshot would take."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def growth(repository: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The modules of tests/bench/growth, which is no package of the tests' path."""
    monkeypatch.syspath_prepend(str(repository / "tests" / "bench"))
    return {name: import_module(f"growth.{name}") for name in ("mined", "costs", "capacity", "real_pages")}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of 60 seconds: ingest, and a round with one named step; 2 CPU seconds a second up to 1030, then one."""
    lines = [
        [1020.0, "21:57:01 ingest: done in 20.0 s (in 100, kept 90)"],
        [1030.0, "21:57:11 round-01: train took 5.0 s"],
        [1050.0, "21:57:31 round-01: done in 30.0 s: 5 of 90 pages collected"],
        [1051.0, "something else: took no time"],
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    samples = [[1000.0, 0.0, 100.0, 50.0, 7.0], [1030.0, 60.0, 300.0, 50.0, None], [1060.0, 90.0, 200.0, 10.0, 9.0]]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(one) + "\n" for one in samples) + "[1061.0, 9")
    task = {
        "Event": "SparkListenerTaskEnd",
        "Task Info": {"Finish Time": 1028_000},
        "Task Metrics": {
            "Shuffle Write Metrics": {"Shuffle Bytes Written": 5_000_000}, "Disk Bytes Spilled": 1_000_000,
            "JVM GC Time": 1500,
        },
    }  # fmt: skip
    late = {**task, "Task Info": {"Finish Time": 1040_000}}
    (tmp_path / "events").mkdir()
    events = [json.dumps(event, separators=(",", ":")) for event in ({"Event": "Other"}, task, late)]
    (tmp_path / "events" / "log").write_text("\n".join(events) + "\n")
    (tmp_path / "done.json").write_text(json.dumps({"started": 1000.0, "seconds": 60.0}))
    return tmp_path


def test_a_stage_s_cost_is_what_lies_between_its_lines(growth: dict[str, ModuleType], run_folder: Path) -> None:
    found = {cost.stage: cost for cost in growth["costs"].stage_costs(run_folder)}
    assert list(found) == ["ingest", "round-01 train", "round-01 rest", "whole run"]
    assert (found["ingest"].seconds, found["ingest"].cpu_seconds) == (20.0, 40.0)  # 1000 to 1020, 2 a second
    train, rest = found["round-01 train"], found["round-01 rest"]
    assert (train.seconds, train.cpu_seconds) == (5.0, 10.0)  # 1025 to 1030
    assert (train.tasks, train.shuffled_mb, train.spilled_mb, train.gc_seconds) == (1, 5.0, 1.0, 1.5)
    assert train.peak_mb == 350.0 and train.java_peak_mb == 300.0 and train.scratch_peak_mb is None
    # The round: 1020 to 1050 is 20 + 20 CPU seconds and two tasks, of which training had 10 and one.
    assert (rest.seconds, rest.cpu_seconds, rest.tasks, rest.shuffled_mb) == (25.0, 30.0, 1, 5.0)
    assert found["whole run"].cpu_seconds == 90.0 and found["whole run"].scratch_peak_mb == 9.0


def test_growth_is_the_slope_of_the_logarithms(growth: dict[str, ModuleType]) -> None:
    exponent = growth["costs"].growth_exponent
    assert exponent([10, 100, 1000], [3.0, 7.0, 300.0]) == pytest.approx(1.0)
    assert exponent([10, 1000], [2.0, 20.0]) == pytest.approx(0.5)
    assert exponent([10], [2.0]) is None and exponent([10, 100], [0.0, 5.0]) is None


def test_a_run_is_foretold_by_the_line_through_the_two_before(growth: dict[str, ModuleType]) -> None:
    capacity, cost = growth["capacity"], growth["costs"].StageCost

    def of(cpu_seconds: float) -> dict[str, object]:
        return {"ingest": cost("ingest", 0.0, cpu_seconds, 0.0, 0.0, None, 0.0, 0.0, 0, 0.0)}

    runs = {1: of(99.0), 10: of(5.0), 20: of(7.0), 100: {**of(20.0), "new": of(1.0)["ingest"]}}
    assert capacity.foretold(runs, 100) == {"ingest": (pytest.approx(23.0), 20.0)}  # 3 + .2 a page
    assert capacity.foretold(runs, 10) == {}
    assert capacity.fitted([10, 20], [5.0, 4.0]).per_page == 0.0  # noise, not a stage that gets cheaper


def test_a_snapshot_takes_what_its_pages_take(growth: dict[str, ModuleType]) -> None:
    capacity, cost, real = growth["capacity"], growth["costs"].StageCost, growth["real_pages"]

    def run(pages: int) -> dict[str, object]:
        steps = [f"round-02 {step}" for step in capacity.ROUND_STEPS]
        names = ("decontaminate", "export", *steps)
        return {name: cost(name, 0.0, pages * 1e-3, 0.0, 0.0, None, pages * 2e-3, 0.0, 0, 0.0) for name in names}

    text = real.TextRates(index_s=0.0, score_s=1e-3, index_bytes=2000.0, score_bytes=50.0)
    longer = real.TextRates(index_s=1e-3, score_s=3e-3, index_bytes=2000.0, score_bytes=50.0)
    ingest = real.IngestRates(1e-3, 1e-7, 10_000.0, 2.5e-3, 0.5, 1000.0, 100.0)
    # Fitted 2 ms at 10 kB and measured 2.5: writing takes .5; at 30 kB 1 + 3 + .5.
    assert ingest.seconds(30_000) == pytest.approx(4.5e-3)
    rates = capacity.Rates({1000: run(1000), 5000: run(5000)}, text, longer, ingest, update_s=1e-4)
    crawl = capacity.Snapshot(
        responses=7.2e6, warc_files=216, warc_bytes=1e9, rounds=2, duplicate_share=0.5, collected_share=0.1,
        training_documents=1.2e6, training_epochs=5,
    )  # fmt: skip
    found = {line.stage: line for line in capacity.capacity(rates, crawl)}
    assert found["WARC files, read"].stored_tb == pytest.approx(0.216)
    assert found["ingest"].core_hours == pytest.approx(7.2e6 * 4.5e-3 / 3600)  # 30 kB a response
    assert found["ingest"].stored_tb == pytest.approx((3.6e6 * 1000 + 3.6e6 * 100) / 1e12)
    assert found["dedup"].core_hours == pytest.approx(3.6e6 * 1.25e-3 / 3600)
    # A training: 1.2 million documents 5 times, 1e-4 s each on mini pages and three times that on real ones.
    assert found["2 x train, one core each"].core_hours == pytest.approx(2 * 6e6 * 3e-4 / 3600)
    # Scoring: 1 ms a mini page, all of it the text's; 3 ms a real one. 1.8 million unique pages, twice.
    assert found["2 x score"].core_hours == pytest.approx(2 * 1.8e6 * 3e-3 / 3600)
    assert found["2 x score"].stored_tb == pytest.approx(2 * 1.8e6 * 50 / 1e12)
    assert found["2 x seed"].shuffled_tb == pytest.approx(2 * 1.8e6 * 2e-3 / 1e6)
    twice = {line.stage: line for line in capacity.capacity(rates, crawl, crawls=2)}
    assert twice["ingest"].core_hours == pytest.approx(2 * found["ingest"].core_hours)
    total = found["in all, without the WARC files"]
    assert total.core_hours == pytest.approx(sum(line.core_hours for line in found.values()) - total.core_hours)


def test_the_sampler_sees_every_process_of_the_session_and_keeps_ended_ones(growth: dict[str, ModuleType]) -> None:
    cpu: dict[tuple[str, str], float] = {("1", "0"): 5.0}
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"up\n"
            java_mb, other_mb = growth["mined"]._look(process.pid, cpu)
        finally:
            process.kill()
    assert java_mb == 0.0 and other_mb > 0.0
    assert {pid for pid, _ in cpu} == {"1", str(process.pid)} and cpu["1", "0"] == 5.0
