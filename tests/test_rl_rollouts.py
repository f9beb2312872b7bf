import pytest
import torch

from rl.batches import micro_batches
from rl.policy import Policy, TinyModelConfig, completion_logprobs, make_policy, train_tokenizer
from rl.rollouts import sample

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


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("max_rows", [4, 256])
def test_sampling_logprobs_equal_teacher_forcing(policy: Policy, temperature: float, max_rows: int) -> None:
    rollouts = sample(
        policy,
        PROMPTS,
        group_size=8,
        max_new_tokens=40,
        temperature=temperature,
        generator=torch.Generator().manual_seed(0),
        max_rows=max_rows,
    )
    assert [rollout.group for rollout in rollouts] == [0] * 8 + [1] * 8 + [2] * 8
    assert [rollout.prompt_ids for rollout in rollouts[::8]] == PROMPTS
    ends = {len(rollout.completion_ids) for rollout in rollouts}
    assert len(ends) > 3 and any(rollout.finished for rollout in rollouts)
    sampled = torch.tensor([logprob for rollout in rollouts for logprob in rollout.sampling_logprobs])
    forced = torch.empty_like(sampled)
    for batch in micro_batches(rollouts, token_budget=100, pad_id=policy.pad_id):
        with torch.no_grad():
            forced[batch.flat] = completion_logprobs(policy, batch, temperature=temperature)[0]
    assert torch.allclose(sampled, forced, atol=1e-5)


def test_a_finished_row_ends_with_the_end_token_and_a_cut_one_does_not(policy: Policy) -> None:
    rollouts = sample(
        policy,
        PROMPTS,
        group_size=16,
        max_new_tokens=5,
        temperature=1.0,
        generator=torch.Generator().manual_seed(1),
    )
    assert {rollout.finished for rollout in rollouts} == {True, False}
    for rollout in rollouts:
        ends = [token in policy.end_ids for token in rollout.completion_ids]
        assert ends == [False] * (len(ends) - 1) + [rollout.finished]
        assert rollout.finished or len(ends) == 5


def test_greedy_is_the_argmax_at_every_step(policy: Policy) -> None:
    for rollout in sample(
        policy, PROMPTS, group_size=1, max_new_tokens=6, temperature=0.0, generator=torch.Generator()
    ):
        ids = list(rollout.prompt_ids)
        for token in rollout.completion_ids:
            with torch.no_grad():
                assert token == int(policy.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            ids.append(token)


def test_samples_follow_the_policys_probabilities(policy: Policy) -> None:
    rollouts = sample(
        policy,
        [[11]],
        group_size=4000,
        max_new_tokens=1,
        temperature=1.0,
        generator=torch.Generator().manual_seed(2),
        max_rows=4000,
    )
    with torch.no_grad():
        probabilities = policy.model(input_ids=torch.tensor([[11]])).logits[0, -1].softmax(-1)
    drawn = torch.bincount(torch.tensor([r.completion_ids[0] for r in rollouts]), minlength=len(probabilities)) / 4000
    # the largest deviation of a share from its probability: 4 standard errors of .5 / sqrt(4000)
    assert float((drawn - probabilities).abs().max()) < 0.032
