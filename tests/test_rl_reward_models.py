"""Reward models on samples of a micro model that is right one time in three (tests/digit_policy.py)."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from digit_policy import make_digit_policy
from safetensors.torch import load_file

from rl import train_reward
from rl.batches import Rollout
from rl.distributed import World
from rl.errors import CheckpointError, ConfigError
from rl.heads import ValueModel, load_value_model
from rl.metrics import read_metrics
from rl.policy import Policy, TinyModelConfig, load_policy, make_policy, train_tokenizer
from rl.questions import Questions, SamplingConfig, encode_questions
from rl.reward_fit import LessonConfig, fit_step, judge, lessons_of
from rl.reward_models import OutcomeReward, ProcessReward
from rl.reward_renewal import RenewalConfig, RewardRenewal
from rl.rewards import RuleReward
from rl.rollouts import make_sampler
from rl.samples import Attempts, Sample, Source, draw_seed, pairs_of, read_samples
from rl.schedule import OptimConfig
from rl.settings import launch, read_settings
from rl.solution_steps import step_ends
from rl.step_labels import label_steps
from rl.verifier import Verifier

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_digit_policy(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def policy(made: tuple[Path, Path]) -> Policy:
    return load_policy(made[0], device=CPU)


@pytest.fixture(scope="module")
def questions(policy: Policy, made: tuple[Path, Path]) -> Questions:
    return encode_questions(policy, settings_for(made, Path("unused")))


@pytest.fixture
def verifier():  # type: ignore[no-untyped-def]
    with Verifier(num_workers=1, timeout_s=2.0) as verifier:
        yield verifier


def settings_for(made: tuple[Path, Path], out: Path, *, kind: str = "outcome") -> train_reward.RewardConfig:
    return train_reward.RewardConfig(
        model=str(made[0]),
        problems=str(made[1]),
        kind=kind,
        group_size=12,
        max_new_tokens=30,
        rollout_rows=96,
        lessons=LessonConfig(num_completions=4),
        held_out_share=0.3,
        num_steps=100,
        judge_every=50,
        batch_size=16,
        optim=OptimConfig(lr=1e-2, warmup_steps=2),
        out_dir=str(out),
    )


def source_for(policy: Policy, verifier: Verifier, settings: SamplingConfig) -> Source:
    return Source(policy, make_sampler("native", policy, max_rows=settings.rollout_rows), verifier, settings)


def untrained(*, vocab_size: int) -> Policy:
    config = TinyModelConfig(hidden_size=8, num_heads=2)
    return make_policy(config, train_tokenizer(["a"], vocab_size=vocab_size), seed=0, device=CPU)


def opinionated(policy: Policy, kind: str) -> ValueModel:
    """A reward model whose head says something, in float64."""
    value = load_value_model(policy, device=CPU)
    value.model.double().kind = kind
    torch.nn.init.normal_(value.model.head.weight, generator=torch.Generator().manual_seed(0))
    return value


def completion(policy: Policy, text: str) -> Rollout:
    ids = [*policy.encode([text])[0], policy.tokenizer.eos_token_id]
    return Rollout(policy.encode(["Take a digit, Ann.\n\nSolution."])[0], ids, [0.0] * len(ids), finished=True)


TEXTS = [
    " We take 1. The answer is \\boxed{1}.",
    " 先取2。答案是\\boxed{2}。",
    " Nothing",
    " We take 3.\nSo 3. \\boxed{1}",
]


def number_at(value: ValueModel, rollout: Rollout, place: int) -> float:
    """The head at one token, by a forward pass of what stands up to it and nothing else."""
    ids = [*rollout.prompt_ids, *rollout.completion_ids[: place + 1]]
    hidden = value.model.body(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
    return (hidden @ value.model.head.weight[0] + value.model.head.bias).item()


@pytest.mark.parametrize("token_budget", [1, 60, 10_000])
def test_outcome_reward_is_the_number_at_the_last_token_and_solved_the_rule(
    policy: Policy, questions: Questions, token_budget: int
) -> None:
    value = opinionated(policy, "outcome")
    reward = OutcomeReward(value, RuleReward(boxed_only=True, timeout_s=2.0, num_workers=1), token_budget=token_budget)
    rollouts = [completion(policy, text) for text in TEXTS]
    reward.start(rollouts[:2], questions.problems[:1], policy=policy)
    reward.start(rollouts[2:], questions.problems[1:2], policy=policy)
    assert reward.finish().total() == 0
    reward.close()
    assert [rollout.solved for rollout in rollouts] == [1.0, 0.0, 0.0, 1.0]
    expected = [number_at(value, rollout, len(rollout.completion_ids) - 1) for rollout in rollouts]
    assert [rollout.reward for rollout in rollouts] == pytest.approx(expected, rel=1e-9)
    assert all(rollout.step_rewards == [] for rollout in rollouts)


@pytest.mark.parametrize("token_budget", [1, 10_000])
def test_process_reward_is_a_probability_at_each_steps_last_token(
    policy: Policy, questions: Questions, token_budget: int
) -> None:
    value = opinionated(policy, "process")
    reward = ProcessReward(value, RuleReward(boxed_only=True, timeout_s=2.0, num_workers=1), token_budget=token_budget)
    rollouts = [completion(policy, text) for text in TEXTS]
    reward.start(rollouts, questions.problems[:1], policy=policy)
    reward.finish()
    reward.close()
    assert [len(rollout.step_rewards) for rollout in rollouts] == [2, 2, 1, 3]
    for rollout in rollouts:
        ends = [end for end, _ in rollout.step_rewards]
        assert ends == step_ends(rollout.completion_ids, policy.decode) and ends[-1] == len(rollout.completion_ids) - 1
        expected = [1 / (1 + math.exp(-number_at(value, rollout, end))) for end in ends]
        assert [step for _, step in rollout.step_rewards] == pytest.approx(expected, rel=1e-9)
        assert rollout.reward == pytest.approx(min(expected), rel=1e-9)
    assert [rollout.solved for rollout in rollouts] == [1.0, 0.0, 0.0, 1.0]


def test_a_reward_model_of_other_tokens_is_refused(policy: Policy, questions: Questions) -> None:
    other = make_policy(
        TinyModelConfig(hidden_size=8, num_heads=2), train_tokenizer(["x"], vocab_size=258), seed=0, device=CPU
    )
    rule = RuleReward(boxed_only=True, timeout_s=2.0, num_workers=1)
    reward = OutcomeReward(load_value_model(other, device=CPU), rule, token_budget=100)
    with pytest.raises(ConfigError, match=r"reward model of 258 tokens, policy of \d+: they must share one tokenizer"):
        reward.start([completion(policy, TEXTS[0])], questions.problems[:1], policy=policy)
    reward.close()


def test_step_labels_are_the_share_of_completions_that_end_right(
    policy: Policy, questions: Questions, made: tuple[Path, Path], verifier: Verifier
) -> None:
    settings = settings_for(made, Path("unused"))
    source = source_for(policy, verifier, settings)
    # behind a boxed answer the model has learnt to stop: the second step decides, the first leaves it open
    texts = [f" We take 2. The answer is \\boxed{{{d}}}. We take 3. The answer is \\boxed{{1}}." for d in (1, 2)]
    samples = []
    for text, correct in zip([*texts, " We take"], (True, False, None), strict=True):
        ids = [*policy.encode([text])[0], policy.tokenizer.eos_token_id]
        samples.append(Sample(questions.prompts[0], ids, text, True, correct))
    (labelled,) = label_steps(source, questions, [Attempts(0, "0", samples)], num_completions=200, prefixes_at_once=2)
    first, second, ungraded = labelled.samples
    assert ungraded.step_ends == [] and ungraded.step_labels == []
    for sample, decided, last in ((first, 1.0, 1.0), (second, 0.0, 0.0)):
        assert len(sample.step_labels) == 4 and sample.step_ends[-1] == len(sample.completion_ids) - 1
        assert sample.step_labels[1] == pytest.approx(decided, abs=0.1)
        assert sample.step_labels[3] == last  # the verdict itself
        assert 0.15 < sample.step_labels[0] < 0.55  # one of three digits, 200 draws
    assert first.step_labels[0] == second.step_labels[0]  # the same beginning is completed once


def test_step_labels_are_the_same_for_any_number_of_prefixes_at_once(
    policy: Policy, questions: Questions, made: tuple[Path, Path], verifier: Verifier
) -> None:
    source = source_for(policy, verifier, settings_for(made, Path("unused")))
    attempts = source.draw(questions, [3, 0])
    assert [one.place for one in attempts] == [3, 0]
    assert source.draw(questions, [0])[0] == attempts[1]
    assert source.draw(questions, [0], round_number=1)[0] != attempts[1]
    one, all_ = (
        label_steps(source, questions, attempts, num_completions=4, prefixes_at_once=count) for count in (1, 100)
    )
    assert one == all_ and all(sample.step_ends for attempt in one for sample in attempt.samples)


def test_seeds_of_draws_are_all_different() -> None:
    seeds = {draw_seed(s, r, p, prefix=x) for s in (0, 1) for r in (0, 3) for p in (0, 1, 5000) for x in (0, 1, 70_000)}
    assert len(seeds) == 2 * 2 * 3 * 3


def sample(ids: list[int], correct: bool | None, labels: list[float] | None = None) -> Sample:
    labels = labels or []
    return Sample([5], ids, "", True, correct, list(range(len(labels))), labels)


def test_pairs_are_right_and_wrong_samples_that_differ() -> None:
    samples = [sample([7], True), sample([7], True), sample([8], True), sample([9], False), sample([10], False)]
    attempts = [Attempts(0, "a", [*samples, sample([11], None)]), Attempts(1, "b", samples[:2])]
    found = pairs_of(attempts, max_pairs=100, seed=0)
    ids = sorted((right.completion_ids[0], wrong.completion_ids[0]) for right, wrong in found)
    assert ids == [(7, 9), (7, 10), (8, 9), (8, 10)]
    some = pairs_of(attempts, max_pairs=2, seed=0)
    assert len(some) == 2 and some == pairs_of(attempts, max_pairs=2, seed=0) and all(pair in found for pair in some)


def test_judgement_by_hand() -> None:
    tokenizer = train_tokenizer(["a"], vocab_size=280)
    value = load_value_model(
        make_policy(TinyModelConfig(hidden_size=8, num_heads=2), tokenizer, seed=0, device=CPU), device=CPU
    )
    value.model.kind = "process"
    # a head of zeros scores every step one half: ties everywhere
    attempts = [
        Attempts(0, "a", [sample([7, 8], True, [0.75, 1.0]), sample([7, 9], False, [0.25, 0.0])]),
        Attempts(1, "b", [sample([7, 8], False, [0.5, 0.0])]),
    ]
    found = judge(value, attempts, config=LessonConfig(), token_budget=100)
    # best of two tied samples: one in two of problem 0, none of problem 1
    assert found["auc"] == 0.5 and found["best_of_n"] == 0.25 and found["mean_of_n"] == 0.25
    assert found["any_of_n"] == 0.5 and found["step_auc"] == 0.5
    assert found["step_loss"] == pytest.approx(math.log(2))
    assert found["step_accuracy"] == pytest.approx(3 / 6)  # a score of 0 is on the wrong side for the three right steps
    hard = judge(value, attempts, config=LessonConfig(hard_labels=True), token_budget=100)
    assert hard["step_accuracy"] == pytest.approx(2 / 6)  # .25 is right now, too
    value.model.kind = "outcome"
    assert math.isnan(judge(value, attempts[1:], config=LessonConfig(), token_budget=100)["auc"])


@pytest.mark.parametrize("kind", ["outcome", "process"])
def test_no_micro_batch_changes_the_update(policy: Policy, kind: str) -> None:
    rows = [
        Attempts(0, "a", [sample([7, 8, 9], True, [0.75, 1.0]), sample([7, 9], False, [0.25, 0.0])]),
        Attempts(1, "b", [sample([7, 8], False, [0.5]), sample([12], True, [1.0]), sample([13, 14], True, [0.5, 1.0])]),
    ]
    lessons = lessons_of(rows, kind=kind, config=LessonConfig(), seed=0)
    assert len(lessons) == {"outcome": 3, "process": 5}[kind]
    found = []
    for token_budget, order in ((1000, 1), (1, 1), (8, -1)):
        value = opinionated(policy, kind)
        optimiser = torch.optim.SGD(value.model.parameters(), lr=1.0)
        kwargs = {"config": LessonConfig(), "optimiser": optimiser, "lr": 1.0, "max_grad_norm": 0.0}
        logged = fit_step(value, lessons[::order], token_budget=token_budget, world=ALONE, **kwargs)  # type: ignore[arg-type]
        found.append((logged, [parameter.detach().clone() for parameter in value.model.parameters()]))
    for logged, weights in found[1:]:
        assert logged == pytest.approx(found[0][0], rel=1e-9)
        torch.testing.assert_close(weights, found[0][1], rtol=1e-8, atol=1e-12)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors") | load_file(folder / "model" / "head.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    left, right = weights_of(one), weights_of(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("kind", ["outcome", "process"])
def test_training_learns_what_is_right_and_resumes_bitwise(made: tuple[Path, Path], tmp_path: Path, kind: str) -> None:
    train_reward.main(settings_for(made, tmp_path / "whole", kind=kind))
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    held_out = summary["held_out"]
    assert summary["kind"] == kind and summary["held_out_problems"] + summary["problems"] == 20
    assert held_out["auc"] > 0.9 and held_out["best_of_n"] > held_out["mean_of_n"] + 0.3
    lines = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    if (
        kind == "outcome"
    ):  # the head starts at zero; with soft labels the first loss is of other size only by the labels
        assert lines[0]["loss"] == pytest.approx(math.log(2), rel=1e-6)
    assert lines[49]["held_out_auc"] > 0.5 and "held_out_auc" not in lines[48]
    # stopped in the midst of drawing and in the midst of training
    parts = settings_for(made, tmp_path / "parts", kind=kind)
    (tmp_path / "parts").mkdir()
    drawn = (tmp_path / "whole" / "samples-0.jsonl").read_bytes()
    (tmp_path / "parts" / "samples-0.jsonl").write_bytes(b"".join(drawn.splitlines(True)[:9]) + b'{"place": 9, "pro')
    train_reward.main(replace(parts, stop_after=45))
    assert read_samples(tmp_path / "parts") == read_samples(tmp_path / "whole")
    train_reward.main(parts)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    written = (tmp_path / "parts" / "summary.json").stat().st_mtime_ns
    train_reward.main(parts)  # done already
    assert (tmp_path / "parts" / "summary.json").stat().st_mtime_ns == written
    value = load_value_model(tmp_path / "whole" / "model", device=CPU, kind=kind)
    attempts = read_samples(tmp_path / "whole")
    again = train_reward.split_problems(attempts, share=0.3, seed=0)[1]
    assert judge(value, again, config=parts.lessons, token_budget=500)["auc"] == pytest.approx(held_out["auc"])


def test_samples_of_other_settings_are_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    settings = replace(settings_for(made, tmp_path / "rm"), num_steps=1)
    train_reward.main(settings)
    (tmp_path / "rm" / "checkpoint.pt").unlink()
    with pytest.raises(CheckpointError, match=r"samples-0.jsonl: samples drawn otherwise \(temperature: 1.0"):
        train_reward.main(replace(settings, temperature=0.5))
    train_reward.main(replace(settings, temperature=0.5, resume=False))
    assert json.loads((tmp_path / "rm" / "samples-0.jsonl").open().readline())["made_by"]["temperature"] == 0.5


@pytest.mark.parametrize("kind", ["outcome", "process"])
def test_renewal_goes_on_from_its_state_bitwise_and_replays(
    policy: Policy, questions: Questions, made: tuple[Path, Path], verifier: Verifier, kind: str
) -> None:
    settings = RenewalConfig(
        num_problems=8, num_steps=4, batch_size=10, lr=1e-2, lessons=LessonConfig(num_completions=2)
    )
    source = source_for(policy, verifier, replace(settings_for(made, Path("unused")), group_size=6))

    def fresh() -> RewardRenewal:
        value = load_value_model(policy, device=CPU)
        value.model.kind = kind
        return RewardRenewal(value, settings, token_budget=500, seed=0, world=ALONE)

    whole = fresh()
    first = whole.renew(source, questions, round_number=1)
    state = whole.state_dict()
    state = torch.load(_saved(state), weights_only=True)  # plain values and tensors only: what a checkpoint takes
    second = whole.renew(source, questions, round_number=2)
    parts = fresh()
    parts.load_state_dict(state)
    assert parts.renew(source, questions, round_number=2) == second
    for one, other in zip(whole.value.model.parameters(), parts.value.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert first["renewal_auc_before"] == 0.5 and first["renewal_loss"] > 0
    history = whole.state_dict()["history"]
    assert len(state["history"]) == 8 and len(history) == 16 and history[:8] == state["history"]
    # with nothing to replay the same second round ends elsewhere: the old lessons are used
    alone = fresh()
    alone.load_state_dict({**state, "history": []})
    alone.renew(source, questions, round_number=2)
    assert any(
        not torch.equal(one, other)
        for one, other in zip(whole.value.model.parameters(), alone.value.model.parameters(), strict=True)
    )


def _saved(state: object) -> str:
    import tempfile

    path = Path(tempfile.mkdtemp()) / "state.pt"
    torch.save(state, path)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["outcome", "process"])
def test_two_ranks_draw_the_same_samples_and_take_the_same_first_step(
    made: tuple[Path, Path], tmp_path: Path, kind: str
) -> None:
    one = replace(settings_for(made, tmp_path / "one", kind=kind), num_steps=1)
    train_reward.main(one)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(ROOT / "rl" / "train_reward.py"), "--kind", kind, "--model", str(made[0])]
    command += ["--problems", str(made[1]), "--out_dir", str(tmp_path / "two"), "--num_steps", "1"]
    for name in ("group_size", "max_new_tokens", "rollout_rows", "held_out_share", "judge_every", "batch_size"):
        command += [f"--{name}", str(getattr(one, name))]
    command += ["--lessons.num_completions", "4", "--optim.lr", "1e-2", "--optim.warmup_steps", "2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT.parent, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "two" / "samples-1.jsonl").is_file()
    assert read_samples(tmp_path / "two") == read_samples(tmp_path / "one")
    lines = [read_metrics(tmp_path / name / "metrics.jsonl")[0] for name in ("one", "two")]
    for name in ("loss", "accuracy", "grad_norm"):
        assert lines[0][name] == pytest.approx(lines[1][name], rel=1e-5)


def test_the_shipped_config_is_the_default_one(made: tuple[Path, Path]) -> None:
    shipped = read_settings(train_reward.RewardConfig, ["--config", str(ROOT / "configs/rl/reward.yaml")])
    assert shipped == train_reward.RewardConfig()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--kind", "steps"], "kind=steps: choose one of outcome, process"),
        (["--group_size", "1"], "group_size=1: right and wrong samples"),
        (["--held_out_share", "1"], "held_out_share=1.0: above 0 and below 1"),
        (["--lessons.max_pairs", "0"], "lessons.max_pairs=0: at least 1"),
        (["--model", "/nowhere"], "/nowhere: no Hugging Face model there"),
        (["--lesson.max_pairs", "3"], "did you mean lessons.max_pairs?"),
    ],
)
def test_what_the_user_can_mend_ends_with_exit_code_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(train_reward.main, train_reward.RewardConfig, argv=argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error


def test_a_model_that_is_never_right_is_named_as_the_reason(made: tuple[Path, Path], tmp_path: Path) -> None:
    problems = [json.loads(line) | {"answer": "77"} for line in made[1].read_text().splitlines()]
    (tmp_path / "hard.jsonl").write_text("\n".join(map(json.dumps, problems)))
    settings = replace(settings_for((made[0], tmp_path / "hard.jsonl"), tmp_path / "rm"), group_size=2)
    with pytest.raises(ConfigError, match=r"no problem has both right and wrong samples to learn from; give more"):
        train_reward.main(settings)
