"""vLLM really run: here where it is installed, else in the environment of `make setup-vllm`, else skipped."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from rl.batches import Rollout, micro_batches
from rl.errors import ConfigError
from rl.metrics import read_metrics
from rl.policy import Policy, TinyModelConfig, completion_logprobs, make_policy, save_policy, train_tokenizer
from rl.rollouts import Sampler, make_sampler

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
HAS_VLLM = importlib.util.find_spec("vllm") is not None
# the long ones span several blocks of vLLM's prefix cache: blocks of the old weights would show after a sync
PROMPTS = [[5, 6, 7, 8, 9, 10], [11], [20 + i % 200 for i in range(300)], [20 + i % 200 for i in range(290)]]

here = pytest.mark.skipif(not HAS_VLLM, reason="vLLM is not installed here")


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed here")
def test_these_tests_pass_in_the_environment_of_setup_vllm() -> None:
    if not PYTHON.exists():
        pytest.skip("no .venv-vllm; `make setup-vllm` makes it")
    done = subprocess.run(
        [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "slow", __file__],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "15 passed" in done.stdout, done.stdout[-3000:]


def llama(policy: Policy, *, tied: bool) -> Policy:
    """A model of heads of 32, which vLLM's CPU attention asks for, and of likely ends."""
    torch.manual_seed(5)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(
        vocab_size=300, num_key_value_heads=1, max_position_embeddings=512, tie_word_embeddings=tied, **sizes
    )
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = [40, 41]
    move(model)
    return Policy(model, policy.tokenizer)


def move(model: torch.nn.Module) -> None:
    """An update large enough to change what is greedy."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.fixture(scope="module")
def small() -> Policy:
    return make_policy(
        TinyModelConfig(hidden_size=32, num_layers=1, num_heads=2),
        train_tokenizer(["a b c"], vocab_size=300),
        seed=0,
        device=torch.device("cpu"),
    )


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def trained(request: pytest.FixtureRequest, small: Policy) -> tuple[Policy, Sampler]:
    """A policy that has moved twice since the engine was started, and the engine in step with it."""
    policy = llama(small, tied=request.param)
    state, num_threads = torch.get_rng_state(), torch.get_num_threads()
    sampler = make_sampler("vllm", policy, max_rows=32)
    assert torch.equal(torch.get_rng_state(), state)  # vLLM seeds torch; the trainer's draws must not notice
    torch.set_num_threads(num_threads)  # vLLM puts a function that does nothing in its place
    assert torch.set_num_threads.__name__ == "set_num_threads"
    for _ in range(2):
        sampler.sample(PROMPTS, group_size=2, max_new_tokens=4, temperature=1.0, seeds=[1, 2, 3, 4])  # fills the cache
        move(policy.model)
        sampler.sync(policy)
    return policy, sampler


def draw(sampler: Sampler, *, temperature: float, group_size: int = 8, seeds: tuple[int, ...] = (1, 2, 3, 4)):  # type: ignore[no-untyped-def]
    return sampler.sample(PROMPTS, group_size=group_size, max_new_tokens=40, temperature=temperature, seeds=seeds)


def forced(policy: Policy, rollouts: list[Rollout], *, temperature: float) -> torch.Tensor:
    found = torch.empty(sum(len(rollout.completion_ids) for rollout in rollouts))
    for batch in micro_batches(rollouts, token_budget=4000, pad_id=policy.pad_id):
        with torch.no_grad():
            found[batch.flat] = completion_logprobs(policy, batch, temperature=temperature)[0]
    return found


@here
def test_after_a_sync_greedy_tokens_are_those_of_the_trained_weights(trained: tuple[Policy, Sampler]) -> None:
    policy, sampler = trained
    ours = draw(sampler, temperature=0.0, group_size=2)
    native = draw(make_sampler("native", policy), temperature=0.0, group_size=2)
    assert [rollout.completion_ids for rollout in ours] == [rollout.completion_ids for rollout in native]
    assert [rollout.finished for rollout in ours] == [rollout.finished for rollout in native]
    assert len({tuple(rollout.completion_ids) for rollout in ours}) == len(PROMPTS)
    for rollout in ours[::2]:  # and transformers' own generate agrees
        whole = policy.model.generate(
            torch.tensor([list(rollout.prompt_ids)]),
            max_new_tokens=40,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=list(policy.end_ids),
        )
        assert whole[0, len(rollout.prompt_ids) :].tolist() == rollout.completion_ids


@here
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampled_logprobs_equal_teacher_forcing(trained: tuple[Policy, Sampler], temperature: float) -> None:
    policy, sampler = trained
    rollouts = draw(sampler, temperature=temperature)
    assert [rollout.group for rollout in rollouts] == [index for index in range(4) for _ in range(8)]
    assert [rollout.prompt_ids for rollout in rollouts[::8]] == PROMPTS
    sampled = torch.tensor([logprob for rollout in rollouts for logprob in rollout.sampling_logprobs])
    assert torch.allclose(sampled, forced(policy, rollouts, temperature=temperature), atol=1e-4, rtol=0)


@here
def test_every_end_token_ends_a_completion_and_is_part_of_it(trained: tuple[Policy, Sampler]) -> None:
    policy, sampler = trained
    rollouts = draw(sampler, temperature=1.0, group_size=64)
    for rollout in rollouts:
        ends = [token in policy.end_ids for token in rollout.completion_ids]
        assert ends == [False] * (len(ends) - 1) + [rollout.finished]
        assert len(rollout.sampling_logprobs) == len(ends) <= 40
    assert len({rollout.completion_ids[-1] for rollout in rollouts if rollout.finished}) > 1
    assert any(not rollout.finished for rollout in rollouts)


@here
def test_the_seed_of_a_prompt_decides_its_samples(trained: tuple[Policy, Sampler]) -> None:
    _, sampler = trained
    first = [rollout.completion_ids for rollout in draw(sampler, temperature=1.0)]
    assert first == [rollout.completion_ids for rollout in draw(sampler, temperature=1.0)]
    other = [rollout.completion_ids for rollout in draw(sampler, temperature=1.0, seeds=(1, 2, 3, 5))]
    assert first[:24] == other[:24] and first[24:] != other[24:]
    assert len({tuple(ids) for ids in first[:8]}) > 1


@here
def test_more_prompt_tokens_than_one_pass_takes_are_sampled_all_the_same(trained: tuple[Policy, Sampler]) -> None:
    policy, sampler = trained
    prompts = [[20 + (i * k) % 251 for i in range(400)] for k in range(1, 41)]  # 16,000 tokens
    rollouts = sampler.sample(prompts, group_size=2, max_new_tokens=3, temperature=1.0, seeds=range(40))
    assert [list(rollout.prompt_ids) for rollout in rollouts[::2]] == prompts
    sampled = torch.tensor([logprob for rollout in rollouts for logprob in rollout.sampling_logprobs])
    assert torch.allclose(sampled, forced(policy, rollouts, temperature=1.0), atol=1e-4, rtol=0)


@here
def test_a_model_that_vllm_cannot_run_is_refused(small: Policy) -> None:
    with pytest.raises(ConfigError, match=r"sampler=vllm: .*LlamaForCausalLM"):  # heads of 16
        make_sampler("vllm", small)


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed here")
def test_without_vllm_the_remedy_is_named(small: Policy) -> None:
    with pytest.raises(ConfigError, match="make setup-vllm"):
        make_sampler("vllm", small)


@here
def test_a_training_run_stays_in_step_with_the_engine(small: Policy, tmp_path: Path) -> None:
    config = TinyModelConfig(hidden_size=64, num_layers=2, num_heads=2, max_length=256)
    start = make_policy(config, small.tokenizer, seed=0, device=torch.device("cpu"))
    save_policy(start, tmp_path / "start")
    problems = [{"id": str(k), "question": f"a b {k}", "answer": str(k), "language": "en"} for k in range(8)]
    (tmp_path / "problems.jsonl").write_text("\n".join(map(json.dumps, problems)))
    command = [sys.executable, str(ROOT / "rl" / "train_grpo.py"), "--sampler", "vllm", "--reward", "random"]
    sizes = ["--num_steps", "4", "--prompts_per_step", "4", "--group_size", "4", "--max_new_tokens", "24"]
    paths = ["--model", tmp_path / "start", "--problems", tmp_path / "problems.jsonl", "--out_dir", tmp_path / "out"]
    rate = ["--optim.lr", "0.02", "--optim.warmup_steps", "0"]
    done = subprocess.run([*command, *sizes, *map(str, paths), *rate], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = read_metrics(tmp_path / "out" / "metrics.jsonl")
    # an engine left behind by these updates would be off by half a nat, see below
    assert len(lines) == 4 and max(line["sampler_gap"] for line in lines) < 1e-3
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("start", "out/model"))
    moved = Policy(start.model, start.tokenizer)
    rollouts = make_sampler("native", moved).sample(
        PROMPTS[:2], group_size=4, max_new_tokens=24, temperature=1.0, seeds=[1, 2]
    )
    old = forced(moved, rollouts, temperature=1.0)
    assert before.keys() == after.keys()
    moved.model.load_state_dict(after, strict=False)  # without the head, which is tied
    assert float((forced(moved, rollouts, temperature=1.0) - old).abs().max()) > 0.5


@here
def test_torchrun_is_refused(small: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="--sampler native"):
        make_sampler("vllm", small)
