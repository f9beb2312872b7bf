"""Numbers of a run: `metrics.jsonl`, TensorBoard's file, the terminal; completions to look at; `summary.json`."""

import atexit
import json
import logging
import math
import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rl.batches import Rollout
from rl.live_table import LiveTable

logger = logging.getLogger(__name__)

_RATES = (("sampled_tokens", "sample_s"), ("trained_tokens", "update_s"))

# A line holds what one watches a run for; the rest is in the file and in the live table.
_NOT_IN_LINES = frozenset(
    {
        *("sampler_ratio", "sampler_gap", "sampled_tokens", "trained_tokens", "longest", "sync_s", "grade_s"),
        *("sample_s", "update_s", "lr", "peak_memory_gib"),
    }
)

_SHOWN_UNLESS_ZERO = frozenset(
    {"grades_missing", "refilled_groups", "truncated_share", "kl", "clip_low_share", "clip_high_share"}
)

METRICS_FILE, COMPLETIONS_FILE, TENSORBOARD_FOLDER = "metrics.jsonl", "completions.jsonl", "tensorboard"


class MetricsLog:
    """Appends one JSON object a step to out_dir/metrics.jsonl, and shows it; only rank 0 should have an active one.

    The same numbers go to out_dir/tensorboard. On a terminal they stand in a live table, elsewhere in plain lines.
    """

    def __init__(self, out_dir: Path, *, first_step: int = 0, active: bool = True) -> None:
        """Keeps what was written up to `first_step` (a resumed run writes each step once), drops the rest."""
        self.path = out_dir / METRICS_FILE
        self.active = active
        self._table: LiveTable | None = None
        if not active:
            return
        from torch.utils.tensorboard import SummaryWriter  # here: other entries than trainings read metrics, too

        out_dir.mkdir(parents=True, exist_ok=True)
        for path in (self.path, out_dir / COMPLETIONS_FILE):
            kept = [line for line in read_metrics(path) if line["step"] <= first_step]
            if kept or path.exists():
                write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
        self._events = SummaryWriter(str(out_dir / TENSORBOARD_FOLDER), purge_step=first_step + 1)
        if sys.stderr.isatty():
            self._table = LiveTable(title=str(out_dir))
        atexit.register(self.close)

    def write(self, step: int, values: Mapping[str, float], *, show: bool = True) -> None:
        """Records `values`, tokens per second and the memory peak under `step` (from 1); `show` prints the main ones.

        The live table takes every step and all of them. What is not finite stands as null in the file.
        """
        if not self.active:
            return
        rates = {
            f"{tokens}_per_s": values[tokens] / values[s] for tokens, s in _RATES if tokens in values and values.get(s)
        }
        values = {**values, **rates, "peak_memory_gib": peak_memory_gib()}
        with self.path.open("a", encoding="utf-8") as file:
            finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
            file.write(json.dumps({"step": step, **finite}) + "\n")  # NaN would be no JSON
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
        if self._table:
            self._table.show(step, values)
        elif show:
            hidden = _NOT_IN_LINES | {name for name in _SHOWN_UNLESS_ZERO if not values.get(name)}
            shown = [f"{name} {short(value)}" for name, value in values.items() if name not in hidden]
            logger.info("step %5d  %s", step, "  ".join(shown))

    def write_completions(self, step: int, completions: Sequence[Mapping[str, Any]]) -> None:
        """Appends these to out_dir/completions.jsonl, each with its step; see `shown_completions`."""
        if self.active:
            with self.path.with_name(COMPLETIONS_FILE).open("a", encoding="utf-8") as file:
                for completion in completions:
                    file.write(json.dumps({"step": step, **completion}, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Writes what is buffered and gives the terminal back; done at exit where it was not called."""
        if self.active:
            self.active = False
            self._events.close()
            if self._table:
                self._table.close()
            atexit.unregister(self.close)


def shown_completions(
    rollouts: Sequence[Rollout], answers: Sequence[str], *, decode: Callable[[Sequence[int]], str], num_groups: int = 2
) -> list[dict[str, Any]]:
    """The best and the worst rewarded sample of `num_groups` groups spread over the step, as text to be read.

    answers: the right answer of each group. Samples without a reward are passed over, and so is the worst of a group
    whose rewards are all equal.
    """
    groups: dict[int, list[Rollout]] = {}
    for rollout in rollouts:
        if not math.isnan(rollout.reward):
            groups.setdefault(rollout.group, []).append(rollout)
    names = list(groups)
    chosen = names[:: max(1, len(names) // num_groups)][:num_groups] if num_groups else []
    shown = []
    for name in chosen:
        best = max(groups[name], key=lambda one: one.reward)
        worst = min(groups[name], key=lambda one: one.reward)
        for rollout in [best] if worst.reward == best.reward else [best, worst]:
            shown.append(
                {
                    "prompt": decode(rollout.prompt_ids),
                    "completion": decode(rollout.completion_ids),
                    "answer": answers[name],
                    "reward": rollout.reward,
                    "solved": None if math.isnan(rollout.solved) else bool(rollout.solved),
                    "tokens": len(rollout.completion_ids),
                    "truncated": not rollout.finished,
                }
            )
    return shown


def peak_memory_gib() -> float:
    """The most memory so far, GiB: of the GPU as torch allocated it where there is one, else of this process (RSS)."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    status = Path("/proc/self/status")
    if status.is_file():  # Linux; getrusage's figure there begins with that of the process that started this one
        (kilobytes,) = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(kilobytes) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30  # macOS: bytes


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All complete lines of a metrics.jsonl; [] where there is none. A line cut by a crash is left out."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON, whole or not at all."""
    write_text(path, json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n")


def _finite(value: Any) -> Any:
    """The value with null for what is not finite: NaN would be no JSON."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_text(path: Path, text: str) -> None:
    """Writes `text`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def short(value: float) -> str:
    """Four significant digits; integers whole."""
    return str(value) if isinstance(value, int) else f"{value:.4g}"
