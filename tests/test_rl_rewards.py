import pytest
import torch
from micro_model import write_model, write_problems

from rl.batches import Rollout
from rl.policy import Policy, load_policy
from rl.problems import Problem
from rl.rewards import RandomReward, RuleReward, overlong_penalty


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder = tmp_path_factory.mktemp("micro")
    return load_policy(write_model(folder / "m", write_problems(folder / "p.jsonl")), device=torch.device("cpu"))


def rollouts(policy: Policy, texts: list[str]) -> list[Rollout]:
    ids = policy.encode(texts)
    return [Rollout([0], tokens, [-0.1 * index] * len(tokens), True) for index, tokens in enumerate(ids)]


def test_the_rule_rewards_each_sample_against_its_own_problem(policy: Policy) -> None:
    problems = [Problem("a", "2 + 2?", "4"), Problem("b", "square of x + 1?", "(x+1)^2")]
    group = rollouts(policy, ["\\boxed{4}", "\\boxed{5}", "\\boxed{x^2+2x+1}", "the answer is (x+1)^2"])
    reward = RuleReward(boxed_only=True, timeout_s=2.0, num_workers=1)
    reward.start(group[:2], problems[:1], policy=policy)  # part by part, as they are sampled
    reward.start(group[2:], problems[1:], policy=policy)
    assert reward.finish().total() == 0
    assert [rollout.reward for rollout in group] == [1.0, 0.0, 1.0, 0.0]
    assert [rollout.solved for rollout in group] == [1.0, 0.0, 1.0, 0.0]
    reward.close()


def test_a_grade_that_crashed_is_no_reward_and_is_counted(policy: Policy) -> None:
    group = rollouts(policy, ["\\boxed{9^{9^{9^9}} + x}", "\\boxed{x+1}"])
    reward = RuleReward(boxed_only=True, timeout_s=0.5, num_workers=1)
    reward.start(group, [Problem("a", "?", "x + 1")], policy=policy)
    crashes = reward.finish()
    reward.close()
    assert crashes.total() == 1 and next(iter(crashes)).startswith("crash:")
    assert group[0].reward != group[0].reward and group[1].reward == 1.0


def test_chance_rewards_alike_after_a_resume_and_whatever_is_said(policy: Policy) -> None:
    found = []
    for _ in range(2):
        group = rollouts(policy, ["\\boxed{4}"] * 200)
        reward = RandomReward(RuleReward(boxed_only=True, timeout_s=1.0, num_workers=1), seed=3)
        reward.start(group, [Problem("a", "?", "4")], policy=policy)
        reward.finish()
        reward.close()
        assert all(rollout.solved == 1.0 for rollout in group)
        found.append([rollout.reward for rollout in group])
    assert found[0] == found[1]
    assert sum(found[0]) == pytest.approx(100, abs=30)


def test_the_penalty_rises_over_the_last_tokens_alone() -> None:
    # 100 tokens at most, the last 20 cost: 80 -> 0, 90 -> .5, 100 -> 1
    assert [overlong_penalty(n, 100, buffer=20) for n in (10, 80, 90, 100)] == [0.0, 0.0, 0.5, 1.0]
