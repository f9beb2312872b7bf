"""Numbers of a run: `metrics.jsonl`, one console line an interval, `summary.json` at the end."""

import json
import logging
import os
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class MetricsLog:
    """Appends one JSON object a step to out_dir/metrics.jsonl; only rank 0 should have one that is active."""

    def __init__(self, out_dir: Path, *, first_step: int = 0, active: bool = True) -> None:
        """Keeps the lines before `first_step` (a resumed run writes each step once), drops the rest."""
        self.path = out_dir / "metrics.jsonl"
        self.active = active
        if not active:
            return
        out_dir.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_metrics(self.path) if line["step"] <= first_step]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def write(self, step: int, values: dict[str, float], *, show: bool = True) -> None:
        """Records `values` under `step` (from 1); `show` also prints them."""
        if not self.active:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if show:
            logger.info("step %5d  %s", step, "  ".join(f"{name} {_short(value)}" for name, value in values.items()))


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
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes `text`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"
