"""Runs' metrics as one HTML file of curves: any training's output folders, compared, with samples of what they wrote.

The file holds everything (SVG, style, no script), follows the reader's light or dark setting and prints on paper.

    python rl/plot_curves.py --runs grpo=models/grpo,ppo=models/ppo --out models/curves.html
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.curve_charts import Curve, curve_chart, smoothed
from rl.curve_page import page
from rl.errors import ConfigError
from rl.metrics import COMPLETIONS_FILE, METRICS_FILE, read_metrics, short, write_text
from rl.settings import launch

logger = logging.getLogger(__name__)

# The order of the charts; what a run logs besides stands in the last group.
GROUPS: Mapping[str, Sequence[str]] = {
    "Reward": ("reward", "solved_share", "zero_signal_share", "grades_missing", "refilled_groups"),
    "Loss": ("nll", "loss", "accuracy", "margin", "grad_norm", "value_loss", "explained_variance", "lr"),
    "Policy": ("kl", "entropy", "clip_low_share", "clip_high_share", "clip_share", "sampler_ratio", "sampler_gap"),
    "Completions": ("length", "longest", "truncated_share", "sampled_tokens", "trained_tokens"),
    "Cost": ("peak_memory_gib",),
}
MOST_RUNS = 8
# Without noise: a moving mean would only draw them late.
_EXACT = ("lr", "epoch", "tokens")


@dataclass(frozen=True)
class CurvesConfig:
    """Settings of the page of curves."""

    runs: str = ""
    """FOLDER[,FOLDER] or NAME=FOLDER,...: output folders of trainings, up to eight."""
    out: str = "curves.html"
    """The page."""
    smoothing: int = 0
    """Steps of the moving mean drawn over the values; 0: a twenty-fifth of the run."""
    num_completions: int = 6
    """Samples shown of each run's last steps."""


def main(settings: CurvesConfig) -> None:
    runs = _runs(settings.runs)
    metrics = {name: read_metrics(folder / METRICS_FILE) for name, folder in runs.items()}
    for name, lines in metrics.items():
        if not lines:
            raise ConfigError(f"--runs {name}={runs[name]}: no {METRICS_FILE} with a step in it")
    charts = {
        group: [_chart(metric, metrics, smoothing=settings.smoothing) for metric in names]
        for group, names in _groups(metrics).items()
    }
    completions = {
        name: read_metrics(folder / COMPLETIONS_FILE)[-settings.num_completions :] if settings.num_completions else []
        for name, folder in runs.items()
    }
    write_text(Path(settings.out), page(charts, rows=_rows(runs, metrics), completions=completions))
    logger.info("%s", settings.out)


def _runs(text: str) -> dict[str, Path]:
    runs: dict[str, Path] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, path = part.partition("=")
        folder = Path(path if equals else name)
        if not folder.is_dir():
            raise ConfigError(f"--runs {part}: no such folder")
        name = name if equals else folder.name
        if name in runs:
            raise ConfigError(f"--runs {part}: two runs called {name}; give NAME={folder}")
        runs[name] = folder
    if not 1 <= len(runs) <= MOST_RUNS:
        raise ConfigError(
            f"--runs: {len(runs)} given; expected FOLDER,... or NAME=FOLDER,..., 1 to {MOST_RUNS} of them"
        )
    return runs


def _groups(metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[str]]:
    """The metrics that any run has, in the order of GROUPS; seconds and rates go to the last of them."""
    found = list(dict.fromkeys(name for lines in metrics.values() for line in lines for name in line))
    numbers = [name for name in found if name != "step" and _has_numbers(metrics, name)]
    groups: dict[str, list[str]] = {
        group: [name for name in names if name in numbers] for group, names in GROUPS.items()
    }
    placed = {name for names in GROUPS.values() for name in names}
    others = [name for name in numbers if name not in placed]
    groups["Cost"] += [name for name in others if name.endswith(("_s", "_per_s"))]
    groups["Other"] = [name for name in others if not name.endswith("_s")]
    return {group: names for group, names in groups.items() if names}


def _has_numbers(metrics: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> bool:
    return any(_is_number(line.get(name)) for lines in metrics.values() for line in lines)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _chart(metric: str, metrics: Mapping[str, Sequence[Mapping[str, Any]]], *, smoothing: int) -> str:
    curves = []
    for place, (run, lines) in enumerate(metrics.items()):
        points = [(line["step"], line[metric]) for line in lines if _is_number(line.get(metric))]
        if points:
            window = 1 if metric in _EXACT else smoothing or max(1, len(points) // 25)
            curves.append(Curve(run, place, points, smoothed(points, window=window)))
    return curve_chart(metric, curves)


def _rows(
    runs: Mapping[str, Path], metrics: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[tuple[str, str, int, dict[str, str]]]:
    """Of each run its name, folder, steps, and the mean of every metric over its last tenth."""
    rows = []
    for name, lines in metrics.items():
        last = lines[-max(1, len(lines) // 10) :]
        means = {}
        for metric in (metric for group in _groups(metrics).values() for metric in group):
            values = [line[metric] for line in last if _is_number(line.get(metric))]
            means[metric] = short(sum(values) / len(values)) if values else ""
        rows.append((name, str(runs[name]), int(lines[-1]["step"]), means))
    return rows


if __name__ == "__main__":
    sys.exit(launch(main, CurvesConfig))
