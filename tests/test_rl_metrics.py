import io
import json
import logging
import math
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl.batches import Rollout
from rl.live_table import LiveTable, sparkline
from rl.metrics import MetricsLog, peak_memory_gib, read_metrics, shown_completions

ROOT = Path(__file__).parents[1]


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_the_file_and_tensorboard_hold_the_same_numbers_and_a_resumed_run_writes_each_step_once(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for step in (1, 2, 3, 4):
        log.write(step, {"reward": step / 8, "tokens": step}, show=False)
        log.write_completions(step, [{"completion": f"步 {step}"}])
    log.close()
    again = MetricsLog(tmp_path, first_step=2)  # steps 3 and 4 came after its checkpoint
    again.write(3, {"reward": 0.75, "tokens": 3}, show=False)
    again.write_completions(3, [{"completion": "again"}])
    again.close()
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [(line["step"], line["reward"], line["tokens"]) for line in lines] == [
        (1, 0.125, 1),
        (2, 0.25, 2),
        (3, 0.75, 3),
    ]
    assert scalars(tmp_path, "reward") == [(1, 0.125), (2, 0.25), (3, 0.75)]
    completions = read_metrics(tmp_path / "completions.jsonl")
    assert [(line["step"], line["completion"]) for line in completions] == [(1, "步 1"), (2, "步 2"), (3, "again")]


def test_rates_and_memory_are_added(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.write(1, {"sampled_tokens": 600, "sample_s": 2.0, "trained_tokens": 0.0, "update_s": 0.5}, show=False)
    log.write(2, {"sampled_tokens": 600, "sample_s": 0.0}, show=False)
    log.close()
    first, second = read_metrics(tmp_path / "metrics.jsonl")
    assert first["sampled_tokens_per_s"] == 300 and first["trained_tokens_per_s"] == 0
    assert "sampled_tokens_per_s" not in second
    assert 0.02 < first["peak_memory_gib"] <= second["peak_memory_gib"] < 64


def test_peak_memory_sees_a_large_tensor_that_is_gone(tmp_path: Path) -> None:
    code = (
        "import torch; from rl.metrics import peak_memory_gib; a = peak_memory_gib();"
        "torch.ones(2**27).sum(); print(peak_memory_gib() - a)"  # 2^27 floats: half a GiB
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert 0.45 < float(done.stdout) < 0.6
    assert peak_memory_gib() > 0


def test_what_is_not_finite_stands_as_null(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.write(1, {"reward": math.nan, "gap": math.inf, "kl": 0.5}, show=False)
    log.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    (line,) = [json.loads(row, parse_constant=pytest.fail) for row in text.splitlines()]
    assert line["reward"] is None and line["gap"] is None and line["kl"] == 0.5


def test_an_inactive_log_writes_nothing(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "rank1", active=False)
    log.write(1, {"reward": 1.0})
    log.write_completions(1, [{"completion": "x"}])
    log.close()
    assert not (tmp_path / "rank1").exists()


def rollout(group: int, text: str, reward: float, *, solved: float = math.nan, finished: bool = True) -> Rollout:
    return Rollout([1], list(text.encode()), [], finished, group=group, reward=reward, solved=solved)


def test_the_best_and_the_worst_of_groups_spread_over_the_step_are_shown() -> None:
    nan = math.nan
    rollouts = [
        *(rollout(0, "a", 0.0, solved=0.0), rollout(0, "b", 1.0, solved=1.0), rollout(0, "c", 0.5)),
        *(rollout(1, "d", 1.0), rollout(1, "e", 0.0)),
        *(rollout(2, "f", 0.0, finished=False), rollout(2, "g", 0.0), rollout(2, "h", nan)),
        *(rollout(3, "i", nan), rollout(3, "j", nan)),
    ]
    shown = shown_completions(rollouts, ["7", "8", "9", "10"], decode=lambda ids: bytes(ids).decode(), num_groups=3)
    assert [(one["completion"], one["reward"], one["answer"], one["solved"]) for one in shown] == [
        ("b", 1.0, "7", True),
        ("a", 0.0, "7", False),
        ("d", 1.0, "8", None),
        ("e", 0.0, "8", None),
        ("f", 0.0, "9", None),  # all equal: one is enough; group 3 has no reward at all
    ]
    assert [one["truncated"] for one in shown] == [False] * 4 + [True]
    assert {one["tokens"] for one in shown} == {1}
    everywhere = shown_completions(rollouts[:5], ["7", "8"], decode=lambda ids: bytes(ids).decode(), num_groups=5)
    assert [one["completion"] for one in everywhere] == ["b", "a", "d", "e"]
    assert shown_completions(rollouts, [], decode=str, num_groups=0) == []


def test_without_a_terminal_plain_lines_come_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = MetricsLog(tmp_path)
    log.write(1, {"reward": 0.123456}, show=True)
    log.write(2, {"reward": 0.5}, show=False)
    log.close()
    assert len(caplog.messages) == 1
    assert caplog.messages[0] == "step     1  reward 0.1235"


def test_the_table_shows_each_metric_now_as_a_mean_and_as_blocks() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    table = LiveTable(title="models/grpo", console=console)
    for step in range(1, 9):
        table.show(step, {"reward": step / 8, "kl": math.nan if step == 8 else 0.0})
    table.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())  # type: ignore[attr-defined]
    last = text[text.rindex("models/grpo") :]
    assert "step 8" in last
    assert re.search(r"reward\s+1\s+0\.5625\s+▁▂▃▄▅▆▇█", last)
    assert re.search(r"kl\s+nan\s+0\s+▁▁▁▁▁▁▁ ", last)


def test_blocks_go_from_the_lowest_to_the_highest() -> None:
    assert sparkline([0, 7, 3.5, 1]) == "▁█▅▂"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([math.nan, 1.0, math.inf, 2.0]) == " ▁ █"
    assert sparkline([]) == ""


_ON_A_TERMINAL = """
import logging, sys
from pathlib import Path
from rl.metrics import MetricsLog
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
log = MetricsLog(Path(sys.argv[1]))
for step in range(1, 4):
    log.write(step, {"reward": step / 2}, show=True)
    logging.info("a line between %d", step)
log.close()
logging.info("after the table")
"""


def test_on_a_terminal_the_table_is_live_and_log_lines_stand_above_it(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _ON_A_TERMINAL, str(tmp_path)],
        stderr=theirs,
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
    )
    os.close(theirs)
    received = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        received += part
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = received.decode()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "step     1" not in plain  # no plain lines beside the table
    assert "\x1b[?25l" in text and text.count("\x1b[?25h") >= 1  # the cursor hidden, and given back
    for step in (1, 2, 3):
        assert f"\ra line between {step}\r\n" in plain  # the table's lines are gone when it is written
    assert re.search(r"reward\s+1\.5\s+1\s+▁▅█", plain)
    assert plain.rstrip().endswith("after the table")
