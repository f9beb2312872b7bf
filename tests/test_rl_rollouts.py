import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from rl.batches import Rollout, micro_batches
from rl.errors import ConfigError
from rl.policy import Policy, TinyModelConfig, completion_logprobs, make_policy, train_tokenizer
from rl.rollouts import NativeSampler, _at_quantile, make_sampler, prompt_seed

PROMPTS = [[5, 6, 7, 8, 9, 10], [11], [12, 13, 14]]


@pytest.fixture(scope="module")
def policy() -> Policy:
    tokenizer = train_tokenizer(["a b c"], vocab_size=300)
    config = TinyModelConfig(hidden_size=16, num_layers=2, num_heads=2)
    made = make_policy(config, tokenizer, seed=3, device=torch.device("cpu"))
    with torch.no_grad():  # a peaked policy that often ends early: rows must leave the batch at different times
        made.model.get_input_embeddings().weight.mul_(8)
        made.model.get_input_embeddings().weight[tokenizer.eos_token_id] *= 3
    return made


def draw(
    policy: Policy,
    prompts: Sequence[Sequence[int]] = PROMPTS,
    *,
    group_size: int = 8,
    max_new_tokens: int = 40,
    temperature: float = 1.0,
    seeds: Sequence[int] = (),
    max_rows: int = 256,
) -> list[Rollout]:
    return NativeSampler(policy, max_rows=max_rows).sample(
        prompts,
        group_size=group_size,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seeds=seeds or [prompt_seed(0, 0, place) for place in range(len(prompts))],
    )


def teacher_forced(policy: Policy, rollouts: Sequence[Rollout], *, temperature: float = 1.0) -> torch.Tensor:
    forced = torch.empty(sum(len(rollout.completion_ids) for rollout in rollouts))
    for batch in micro_batches(rollouts, token_budget=100, pad_id=policy.pad_id):
        with torch.no_grad():
            forced[batch.flat] = completion_logprobs(policy, batch, temperature=temperature)[0]
    return forced


def sampled(rollouts: Sequence[Rollout]) -> torch.Tensor:
    return torch.tensor([logprob for rollout in rollouts for logprob in rollout.sampling_logprobs])


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("max_rows", [4, 256])
@pytest.mark.parametrize("prompts", [PROMPTS, [[5, 6, 7]] * 3, [[7], list(range(5, 45))]], ids=["mixed", "one", "far"])
def test_sampling_logprobs_equal_teacher_forcing(
    policy: Policy, prompts: list[list[int]], max_rows: int, temperature: float
) -> None:
    rollouts = draw(policy, prompts, temperature=temperature, max_rows=max_rows)
    assert [rollout.group for rollout in rollouts] == [index for index in range(len(prompts)) for _ in range(8)]
    assert [rollout.prompt_ids for rollout in rollouts[::8]] == prompts
    assert len({len(rollout.completion_ids) for rollout in rollouts}) > 3
    assert any(rollout.finished for rollout in rollouts)
    forced = teacher_forced(policy, rollouts, temperature=temperature)
    assert torch.allclose(sampled(rollouts), forced, atol=1e-5, rtol=0)
    assert abs(float((forced - sampled(rollouts)).double().exp().mean()) - 1) < 1e-6


def sliding_window_model() -> MistralForCausalLM:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return MistralForCausalLM(MistralConfig(vocab_size=300, num_key_value_heads=2, sliding_window=6, **sizes))


def grouped_query_model() -> LlamaForCausalLM:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=300, num_key_value_heads=1, tie_word_embeddings=False, **sizes))


@pytest.mark.parametrize("make", [sliding_window_model, grouped_query_model])
def test_other_decoders_of_transformers_sample_what_they_score(policy: Policy, make) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    other = Policy(make(), policy.tokenizer)
    with torch.no_grad():
        other.model.get_output_embeddings().weight.mul_(20)  # otherwise every token is as likely as any
    rollouts = draw(other, [*PROMPTS, list(range(20, 35))])
    assert torch.allclose(sampled(rollouts), teacher_forced(other, rollouts), atol=1e-5, rtol=0)


def test_a_prompts_samples_depend_on_its_seed_and_on_no_other_row(policy: Policy) -> None:
    whole = draw(policy, seeds=[7, 8, 9])
    apart = draw(policy, seeds=[7, 8, 9], max_rows=1)
    turned = draw(policy, PROMPTS[::-1], seeds=[9, 8, 7])
    alone = draw(policy, PROMPTS[1:2], seeds=[8])  # what a second rank would draw
    ids = [rollout.completion_ids for rollout in whole]
    assert ids == [rollout.completion_ids for rollout in apart]
    assert ids[:8] == [rollout.completion_ids for rollout in turned[16:]]
    assert ids[8:16] == [rollout.completion_ids for rollout in alone]
    assert ids != [rollout.completion_ids for rollout in draw(policy, seeds=[7, 8, 10])]


def test_no_two_prompts_of_runs_and_steps_share_a_seed() -> None:
    seeds = [prompt_seed(run, step, place) for run in (0, 1, 4096) for step in (0, 1, 5000) for place in range(50)]
    assert len(set(seeds)) == len(seeds)
    # a generator that kept 32 bits would draw alike for the runs
    first = [np.random.default_rng(prompt_seed(run, 3, 0)).random() for run in (0, 1, 4096)]
    assert len(set(first)) == 3


def test_a_finished_row_ends_with_the_end_token_and_a_cut_one_does_not(policy: Policy) -> None:
    rollouts = draw(policy, group_size=16, max_new_tokens=5)
    assert {rollout.finished for rollout in rollouts} == {True, False}
    for rollout in rollouts:
        ends = [token in policy.end_ids for token in rollout.completion_ids]
        assert ends == [False] * (len(ends) - 1) + [rollout.finished]
        assert rollout.finished or len(ends) == 5
        assert len(rollout.sampling_logprobs) == len(ends)


def test_any_of_several_end_tokens_ends_a_row_and_the_pad_token_may_be_one(policy: Policy) -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=300, **sizes))
    model.generation_config.eos_token_id = [40, 41, policy.pad_id]
    several = Policy(model, policy.tokenizer)
    assert set(several.end_ids) == {40, 41, policy.pad_id, policy.tokenizer.eos_token_id}
    rollouts = draw(several, group_size=200, max_new_tokens=60)
    last = {rollout.completion_ids[-1] for rollout in rollouts if rollout.finished}
    assert last == set(several.end_ids)
    for rollout in rollouts:
        assert not set(several.end_ids) & set(rollout.completion_ids[:-1])
    assert torch.allclose(sampled(rollouts), teacher_forced(several, rollouts), atol=1e-5, rtol=0)


def test_greedy_is_the_argmax_at_every_step(policy: Policy) -> None:
    for rollout in draw(policy, group_size=1, max_new_tokens=6, temperature=0.0):
        ids = list(rollout.prompt_ids)
        for token, logprob in zip(rollout.completion_ids, rollout.sampling_logprobs, strict=True):
            with torch.no_grad():
                logits = policy.model(input_ids=torch.tensor([ids])).logits[0, -1]
            assert token == int(logits.argmax())
            assert logprob == pytest.approx(float(logits.log_softmax(-1)[token]), abs=1e-5)
            ids.append(token)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_samples_follow_the_policys_probabilities(policy: Policy, temperature: float) -> None:
    rollouts = draw(policy, [[11]], group_size=4000, max_new_tokens=1, temperature=temperature, max_rows=4000)
    with torch.no_grad():
        logits = policy.model(input_ids=torch.tensor([[11]])).logits[0, -1]
    probabilities = (logits / temperature).softmax(-1)
    drawn = torch.bincount(torch.tensor([r.completion_ids[0] for r in rollouts]), minlength=len(probabilities)) / 4000
    # the largest deviation of a share from its probability: 4 standard errors of .5 / sqrt(4000)
    assert float((drawn - probabilities).abs().max()) < 0.032


@pytest.mark.parametrize("vocab_size", [5, 300, 2048, 2049, 5000])
def test_the_block_search_finds_what_one_running_sum_finds(vocab_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(64, vocab_size, generator=generator)
    logits[:, ::3] = -math.inf  # a masked token has no probability and must never come out
    probabilities = logits.softmax(-1)
    draws = torch.rand(64, generator=generator, dtype=torch.float64)
    draws[0], draws[1] = 0.0, 1 - 2**-53  # the ends of what a generator gives
    found = _at_quantile(probabilities, draws)
    assert bool((probabilities.gather(1, found[:, None]) > 0).all())
    reached = probabilities.double().cumsum(1)
    # within float32's rounding of the block sums, the draw lies in the found token's part
    below = reached.gather(1, found[:, None]).squeeze(1) - probabilities.gather(1, found[:, None]).squeeze(1)
    assert bool((draws > below - 1e-6).all())
    assert bool((draws < reached.gather(1, found[:, None]).squeeze(1) + 1e-6).all())


def test_a_sampler_apart_keeps_its_weights_until_it_is_synced(policy: Policy) -> None:
    training = Policy(grouped_query_model(), policy.tokenizer)
    sampler = make_sampler("native", training, apart=True)
    wanted = {"group_size": 4, "max_new_tokens": 8, "temperature": 1.0, "seeds": [1, 2, 3]}
    before = sampler.sample(PROMPTS, **wanted)
    with torch.no_grad():
        training.model.get_output_embeddings().weight.normal_()
    assert sampler.sample(PROMPTS, **wanted) == before
    sampler.sync(training)
    after = sampler.sample(PROMPTS, **wanted)
    assert after != before
    assert after == make_sampler("native", training).sample(PROMPTS, **wanted)
    assert all(parameter.requires_grad for parameter in training.model.parameters())


def test_dropout_is_off_while_sampling_and_on_again_afterwards(policy: Policy) -> None:
    config = LlamaConfig(
        vocab_size=300, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    config.attention_dropout = 0.5
    dropping = Policy(LlamaForCausalLM(config).train(), policy.tokenizer)
    assert draw(dropping) == draw(dropping)
    assert dropping.model.training


def test_an_unknown_sampler_is_refused(policy: Policy) -> None:
    with pytest.raises(ConfigError, match="sampler=hf: choose one of native, vllm"):
        make_sampler("hf", policy)
