"""The model and its tokenizer: a Hugging Face folder, or a small one made from a config; saved as such a folder."""

import copy
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from rl.batches import MicroBatch, Row, micro_batches
from rl.errors import ConfigError
from rl.logprobs import token_logprobs, token_loss
from rl.losses import nll

END_TOKEN = "<|endoftext|>"
PAD_TOKEN = "<|pad|>"
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class TinyModelConfig:
    """A Llama made from nothing, for runs without a base model."""

    hidden_size: int = 64
    """Width; the feed-forward is 8/3 of it."""
    num_layers: int = 2
    """Decoder layers; two are what copying a number out of a question takes."""
    num_heads: int = 4
    """Attention heads."""
    max_length: int = 1024
    """Longest sequence in tokens."""


@dataclass(frozen=True)
class Policy:
    """A causal language model with its tokenizer."""

    model: Any
    """A transformers model: `base_model` gives hidden states, `get_output_embeddings()` the LM head."""
    tokenizer: Any
    precision: str = "float32"
    """bfloat16: the forward pass under autocast, weights and optimiser in float32."""

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Ids that end a completion: the model's own list where it has one, else the tokenizer's."""
        own = self.model.generation_config.eos_token_id
        ids = own if isinstance(own, list) else [own]
        return tuple({i for i in [*ids, self.tokenizer.eos_token_id] if i is not None})

    @property
    def pad_id(self) -> int:
        return self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.end_ids[0]

    @property
    def max_length(self) -> int:
        return int(self.model.config.max_position_embeddings)

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids without added special tokens."""
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []

    def decode(self, ids: Iterable[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


def completion_logprobs(policy: Policy, batch: MicroBatch, *, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy of each completion token of the micro-batch, each (N,), in the order of `flat`."""
    with _precision(policy, batch):
        hidden, head = _states(policy, batch)
        return token_logprobs(hidden, head, targets=batch.targets, temperature=temperature)


def completion_loss(
    policy: Policy, batch: MicroBatch, loss: Callable[[Tensor, slice], Tensor], *, temperature: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """The sum of a token-wise `loss` over the micro-batch, (), with its log-probabilities and entropy, each (N,).

    See `logprobs.token_loss`: a quarter cheaper in the head than a loss of `completion_logprobs`.
    """
    with _precision(policy, batch):
        hidden, head = _states(policy, batch)
        return token_loss(hidden, head, targets=batch.targets, loss=loss, temperature=temperature)


def _precision(policy: Policy, batch: MicroBatch) -> torch.autocast:
    return torch.autocast(batch.input_ids.device.type, torch.bfloat16, enabled=policy.precision == "bfloat16")


def _states(policy: Policy, batch: MicroBatch) -> tuple[Tensor, Tensor]:
    """The states that predict the completion tokens, (N, D), and the LM head, (V, D)."""
    # no attention mask: padding is on the right of a causal model, and without one SDPA takes its fast path
    hidden = policy.model.base_model(input_ids=batch.input_ids, use_cache=False).last_hidden_state  # (B, L, D)
    return hidden.flatten(0, 1)[batch.positions], policy.model.get_output_embeddings().weight


def accumulate_nll(
    policy: Policy, rows: Sequence[Row], *, weights: Tensor, token_budget: int, device: torch.device
) -> float:
    """These rows' share of the step's loss; their gradients are added to the parameters' own.

    weights: (T,), with the denominators of the whole step, over all ranks.
    """
    loss_sum = 0.0
    for batch in micro_batches(rows, token_budget=token_budget, pad_id=policy.pad_id):
        loss, _, _ = completion_loss(policy, batch.to(device), partial(_weighted_nll, weights[batch.flat].to(device)))
        loss.backward()
        loss_sum += float(loss.detach())
    return loss_sum


def _weighted_nll(weights: Tensor, logprobs: Tensor, chunk: slice) -> Tensor:
    return nll(logprobs, weights[chunk].to(logprobs))


def load_policy(path: str | Path, *, device: torch.device, precision: str = "float32") -> Policy:
    """The policy in a Hugging Face folder; raises ConfigError where it is missing or of a kind we cannot train."""
    folder = Path(path)
    if precision not in PRECISIONS:
        raise ConfigError(f"precision={precision}: choose one of {', '.join(PRECISIONS)}")
    if not (folder / "config.json").is_file():
        raise ConfigError(f"model={folder}: no Hugging Face model there (no config.json)")
    disable_progress_bar()  # it would break the console lines of the run
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise ConfigError(f"model={folder}: {error}") from error
    policy = Policy(model.to(device), load_tokenizer(folder), precision)
    check_head(policy)
    return policy


def frozen_copy(policy: Policy) -> Policy:
    """The policy as it is now, apart from the one in training and without gradients: a reference or older sampler."""
    return Policy(copy.deepcopy(policy.model).requires_grad_(False).eval(), policy.tokenizer, policy.precision)


def load_tokenizer(path: str | Path) -> Any:
    """The tokenizer of a folder; raises ConfigError where there is none or it has no end token."""
    folder = Path(path)
    if not folder.is_dir():
        raise ConfigError(f"tokenizer={folder}: no such folder")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ConfigError(f"tokenizer={folder}: {error}") from error
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"tokenizer={folder}: it has no end token (eos_token), so no completion could end")
    return tokenizer


def make_policy(
    config: TinyModelConfig, tokenizer: Any, *, seed: int, device: torch.device, precision: str = "float32"
) -> Policy:
    """A small Llama with random weights drawn from `seed`, input and output embeddings tied."""
    if config.hidden_size % (2 * config.num_heads):
        raise ConfigError(
            f"tiny.hidden_size={config.hidden_size}: must be a multiple of 2 x tiny.num_heads={config.num_heads}"
        )
    if precision not in PRECISIONS:
        raise ConfigError(f"precision={precision}: choose one of {', '.join(PRECISIONS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=config.hidden_size,
                intermediate_size=(config.hidden_size * 8 // 3 + 31) // 32 * 32,
                num_hidden_layers=config.num_layers,
                num_attention_heads=config.num_heads,
                num_key_value_heads=config.num_heads,
                max_position_embeddings=config.max_length,
                tie_word_embeddings=True,
                bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    return Policy(model.to(device), tokenizer, precision)


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `texts` whose digits stand alone: numbers are then spelt, not memorised."""
    tokenizer = Tokenizer(models.BPE())
    words = Regex(r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_TOKEN, PAD_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_TOKEN, pad_token=PAD_TOKEN)


def save_policy(policy: Policy, folder: Path) -> Path:
    """`folder` with the weights (safetensors), config and tokenizer; an older one there is replaced at the end."""
    disable_progress_bar()
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    policy.model.save_pretrained(temporary)
    policy.tokenizer.save_pretrained(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    return folder


@torch.no_grad()
def check_head(policy: Policy) -> None:
    """Raises ConfigError unless hidden states times the output embeddings are the model's logits.

    Some families scale or cap logits after the head; training them through `token_logprobs` would be silently wrong.
    """
    model: nn.Module = policy.model
    ids = torch.tensor([list(range(3, 11))], device=next(model.parameters()).device)
    was_training = model.training
    model.eval()
    logits = policy.model(input_ids=ids, use_cache=False).logits
    hidden = policy.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    model.train(was_training)
    if not torch.allclose(logits, hidden @ policy.model.get_output_embeddings().weight.T, atol=1e-3, rtol=1e-3):
        raise ConfigError(
            f"{type(model).__name__}: its logits are not a plain product of hidden states and output embeddings "
            "(bias, scaling or soft cap); such models cannot be trained here yet"
        )
