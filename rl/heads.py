"""A language model's body with a scalar head: the critic of PPO, and the reward models.

The same forward pass serves both; they differ in where the number is read. A critic reads it at the states that
predict each completion token (the value before the token is chosen), a reward model at tokens that end something:
the completion, or a step of it.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModel
from transformers.utils.logging import disable_progress_bar

from rl.batches import MicroBatch
from rl.errors import ConfigError
from rl.policy import PRECISIONS, Policy, load_tokenizer

HEAD_FILE = "head.safetensors"


class ScalarModel(nn.Module):
    """Hidden states of `body` times a vector, plus a bias.

    The head starts at zero: every value is then 0, so a critic starts without an opinion and a reward model's loss at
    log 2; no random numbers are drawn, and the head moves first, the body from the second update on.
    """

    def __init__(self, body: Any, *, kind: str = "") -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(body.config.hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.kind = kind
        """What it was trained as (outcome, process); "" for a critic and for one not trained yet."""

    def forward(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        """The numbers at `positions` (N,) of the flattened (B, L) tokens, (N,) in the head's precision."""
        # no attention mask: padding is on the right of a causal model
        hidden = self.body(input_ids=input_ids, use_cache=False).last_hidden_state  # (B, L, D)
        chosen = hidden.flatten(0, 1)[positions]  # (N, D)
        with torch.autocast(chosen.device.type, enabled=False):  # bfloat16 would leave scores 2 to 3 digits
            return self.head(chosen.to(self.head.weight.dtype)).squeeze(1)

    def save_pretrained(self, folder: Path) -> None:
        """The body as a Hugging Face folder with the head beside it."""
        self.body.save_pretrained(folder)
        head = {name: tensor.detach().cpu().contiguous() for name, tensor in self.head.state_dict().items()}
        save_file(head, folder / HEAD_FILE, metadata={"kind": self.kind})


@dataclass(frozen=True)
class ValueModel:
    """A scalar model with the tokenizer whose ids it reads."""

    model: ScalarModel
    tokenizer: Any
    precision: str = "float32"
    """bfloat16: the body under autocast, weights, head and optimiser in float32."""

    @property
    def pad_id(self) -> int:
        return self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id

    @property
    def max_length(self) -> int:
        return int(self.model.body.config.max_position_embeddings)


def load_value_model(
    source: str | Path | Policy, *, device: torch.device, precision: str = "float32", kind: str = ""
) -> ValueModel:
    """A value model from a folder saved before, or with a fresh head from a policy or its folder.

    A policy's body is copied, never shared. With `kind` only a folder that was trained as such will do. Raises
    ConfigError where the folder is missing, unreadable or of another kind.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision={precision}: choose one of {', '.join(PRECISIONS)}")
    if isinstance(source, Policy):
        body = copy.deepcopy(source.model.base_model).requires_grad_(True)
        return ValueModel(ScalarModel(body).to(device), source.tokenizer, precision)
    folder = Path(source)
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: no Hugging Face model there (no config.json)")
    disable_progress_bar()  # it would break the console lines of the run
    try:
        model = ScalarModel(AutoModel.from_pretrained(folder, dtype=torch.float32))
        if (folder / HEAD_FILE).is_file():
            _load_head(model, folder / HEAD_FILE)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"{folder}: {error}") from error
    if kind and model.kind != kind:
        found = f"a model trained as {model.kind}" if model.kind else "no reward model"
        raise ConfigError(f"{folder}: {found}; give one made by rl/train_reward.py --kind {kind} (its model/ folder)")
    return ValueModel(model.to(device), load_tokenizer(folder), precision)


def token_values(value: ValueModel, batch: MicroBatch) -> Tensor:
    """V of the state in which each completion token is chosen, (N,), in the order of `batch.flat`."""
    return _read(value, batch, batch.positions)


def token_scores(value: ValueModel, batch: MicroBatch, chosen: Tensor) -> Tensor:
    """The number read at completion tokens themselves, (chosen tokens,).

    chosen: (N,) bool over the micro-batch's completion tokens. The token and all before it are seen, nothing after.
    """
    return _read(value, batch, batch.positions[chosen] + 1)


def _read(value: ValueModel, batch: MicroBatch, positions: Tensor) -> Tensor:
    device = batch.input_ids.device
    with torch.autocast(device.type, torch.bfloat16, enabled=value.precision == "bfloat16"):
        return value.model(batch.input_ids, positions)


def _load_head(model: ScalarModel, path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        model.kind = (file.metadata() or {}).get("kind", "")
        model.head.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
