"""One file that a run goes on from: weights, optimiser, random state, data cursor, step, settings."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from rl.errors import CheckpointError

FILE_NAME = "checkpoint.pt"
# Settings that may differ between the runs that share a checkpoint: they change no number beyond rounding.
FREE_SETTINGS = frozenset(
    {
        *("out_dir", "resume", "stop_after", "save_every", "log_every", "num_threads", "device"),
        *("micro_batch_tokens", "rollout_rows", "num_graders", "judge_every"),
    }
)


class Stateful(Protocol):
    """A model or an optimiser."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Any) -> Any: ...


def save_checkpoint(
    out_dir: Path,
    *,
    step: int,
    states: Mapping[str, Stateful],
    settings: Mapping[str, Any],
    cursor: Mapping[str, Any] | None = None,
) -> Path:
    """The path of the checkpoint after `step` steps, written whole or not at all.

    `states` names the models and optimisers of the run; `cursor` holds what else it goes on from, plain values and
    tensors only.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / FILE_NAME
    temporary = path.with_suffix(".tmp")
    content = {
        "step": step,
        "states": {name: state.state_dict() for name, state in states.items()},
        "random_state": torch.get_rng_state(),
        "cuda_random_state": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "cursor": dict(cursor or {}),
        "settings": dict(settings),
    }
    with temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return path


def open_checkpoint(out_dir: Path, settings: Mapping[str, Any], *, resume: bool) -> dict[str, Any] | None:
    """The state to go on from, or None for a fresh start.

    Raises CheckpointError when the checkpoint cannot be read or belongs to a run with other settings.
    """
    path = out_dir / FILE_NAME
    if not resume or not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different class for each kind of damage
        raise CheckpointError(
            f"{path}: unreadable ({type(error).__name__}); delete it or start anew with --resume false"
        ) from error
    differing = _differences(state["settings"], settings)
    if differing:
        raise CheckpointError(
            f"{path}: written by a run with other settings ({', '.join(differing)}); "
            "give another --out_dir, or --resume false to start anew"
        )
    return state


def restore(content: Mapping[str, Any], states: Mapping[str, Stateful]) -> tuple[int, dict[str, Any]]:
    """The step to go on with and the cursor; models, optimisers and the random state are put back in place."""
    for name, state in states.items():
        state.load_state_dict(content["states"][name])
    torch.set_rng_state(content["random_state"])
    if torch.cuda.is_available() and len(content["cuda_random_state"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(content["cuda_random_state"])
    return content["step"], content["cursor"]


_INPUT_KINDS = ("*.safetensors", "*.parquet", "tokenizer.json", "config.json", "generation_config.json")


def fingerprint(inputs: Iterable[str | Path]) -> str:
    """A short hash of the input files (of folders: the weights and tables in them), "" for empty names.

    Of each file its name, size and first and last MiB: a model trained anew under the same path is noticed without
    reading hundreds of gigabytes.
    """
    digest = hashlib.sha256()
    for name in filter(None, (str(name).strip() for name in inputs)):
        path = Path(name)
        files = [path] if path.is_file() else sorted(file for kind in _INPUT_KINDS for file in path.glob(kind))
        for file in files:
            size = file.stat().st_size
            digest.update(f"{file.name} {size} ".encode())
            with file.open("rb") as opened:
                digest.update(opened.read(1 << 20))
                opened.seek(max(0, size - (1 << 20)))
                digest.update(opened.read())
    return digest.hexdigest()[:16]


def _differences(saved: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}: {saved.get(key)} there, {given.get(key)} here"
        for key in sorted(set(saved) | set(given))
        if key not in FREE_SETTINGS and saved.get(key) != given.get(key)
    ]
