"""What the stages of a watched run took, from its log, its samples and Spark's event log; and how that grows."""

import json
import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

WHOLE = "whole run"
_ENDED = re.compile(r"\d\d:\d\d:\d\d (?P<stage>[\w-]+): (?:(?P<step>\w+) took|done in) (?P<seconds>[\d.]+) s")


@dataclass(frozen=True)
class Span:
    """A stretch of a run."""

    stage: str
    begin: float
    end: float
    """Seconds since 1970."""

    @property
    def seconds(self) -> float:
        return self.end - self.begin


@dataclass(frozen=True)
class StageCost:
    """What one stage of one run took."""

    stage: str
    seconds: float
    """Wall clock."""
    cpu_seconds: float
    """User and system time of the JVM and all Python processes."""
    peak_mb: float
    """The greatest sum of their resident memory, in 10^6 bytes; what processes share counts in each."""
    java_peak_mb: float
    """Of it the JVM's, at its own peak."""
    scratch_peak_mb: float | None
    """The most that run directory and Spark's shuffle files took on disk together; None without a look."""
    shuffled_mb: float
    """Written for shuffles."""
    spilled_mb: float
    """Written to disk because memory did not hold it."""
    tasks: int
    gc_seconds: float
    """Collecting garbage, over all tasks."""


@dataclass(frozen=True)
class _Task:
    finished: float
    shuffled: int
    spilled: int
    gc_ms: int


def stage_costs(folder: Path) -> list[StageCost]:
    """The finished stages of a run in their order, and the whole run where it has ended."""
    spans = list(spans_of(folder))
    samples = list(_json_lines(folder / "samples.jsonl"))
    tasks = list(_tasks(folder / "events"))
    costs = [_cost(span, samples, tasks) for span in spans]
    return [_less_steps(cost, costs) for cost in costs]


def spans_of(folder: Path) -> Iterator[Span]:
    """The stretches that the log tells of, rounds after their steps."""
    for at, line in _json_lines(folder / "log.jsonl"):
        found = _ENDED.match(line)
        if found:
            stage = found["stage"] if not found["step"] else f"{found['stage']} {found['step']}"
            yield Span(stage, at - float(found["seconds"]), at)
    done = folder / "done.json"
    if done.exists():
        facts = json.loads(done.read_text(encoding="utf-8"))
        yield Span(WHOLE, facts["started"], facts["started"] + facts["seconds"])


def growth_exponent(sizes: Sequence[int], values: Sequence[float]) -> float | None:
    """The slope of log(value) over log(size) between the first and the last; 1 is linear growth.

    None for one size, or where one of the two is not above 0.
    """
    if len(sizes) < 2 or min(values[0], values[-1]) <= 0:
        return None
    return math.log(values[-1] / values[0]) / math.log(sizes[-1] / sizes[0])


def _cost(span: Span, samples: list[list[float]], tasks: list[_Task]) -> StageCost:
    inside = [sample for sample in samples if span.begin <= sample[0] <= span.end]
    done = [task for task in tasks if span.begin <= task.finished <= span.end]
    looks = [sample[4] for sample in inside if sample[4] is not None]
    return StageCost(
        stage=span.stage,
        seconds=span.seconds,
        cpu_seconds=_cpu_at(samples, span.end) - _cpu_at(samples, span.begin),
        peak_mb=max((sample[2] + sample[3] for sample in inside), default=0.0),
        java_peak_mb=max((sample[2] for sample in inside), default=0.0),
        scratch_peak_mb=max(looks, default=None),
        shuffled_mb=sum(task.shuffled for task in done) / 1e6,
        spilled_mb=sum(task.spilled for task in done) / 1e6,
        tasks=len(done),
        gc_seconds=sum(task.gc_ms for task in done) / 1e3,
    )


def _less_steps(whole: StageCost, costs: list[StageCost]) -> StageCost:
    """A round's cost as that of what is not in its named steps; any other cost as it is."""
    steps = [cost for cost in costs if cost.stage.startswith(f"{whole.stage} ")]
    if not steps:
        return whole

    def rest(name: str) -> float:
        return float(getattr(whole, name)) - sum(float(getattr(step, name)) for step in steps)

    return StageCost(
        f"{whole.stage} rest", rest("seconds"), rest("cpu_seconds"), whole.peak_mb, whole.java_peak_mb,
        whole.scratch_peak_mb, rest("shuffled_mb"), rest("spilled_mb"), int(rest("tasks")), rest("gc_seconds"),
    )  # fmt: skip


def _cpu_at(samples: list[list[float]], time: float) -> float:
    """CPU seconds so far at a time, on the line between the samples beside it."""
    place = bisect_left(samples, time, key=lambda sample: sample[0])
    if place == 0:
        return 0.0
    if place == len(samples):
        return samples[-1][1]
    (t0, c0), (t1, c1) = samples[place - 1][:2], samples[place][:2]
    return c0 + (c1 - c0) * (time - t0) / (t1 - t0)


def _tasks(events: Path) -> Iterator[_Task]:
    """The ended tasks of Spark's event log, a line each; a log that is still written has no last line yet."""
    for file in events.iterdir():
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                if not line.startswith('{"Event":"SparkListenerTaskEnd"') or not line.endswith("\n"):
                    continue
                event = json.loads(line)
                metrics = event.get("Task Metrics") or {}
                yield _Task(
                    finished=event["Task Info"]["Finish Time"] / 1e3,
                    shuffled=metrics.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0),
                    spilled=metrics.get("Disk Bytes Spilled", 0),
                    gc_ms=metrics.get("JVM GC Time", 0),
                )


def _json_lines(path: Path) -> Iterator[list]:
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)
