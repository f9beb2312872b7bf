"""One step's gradient, through a Llama in float64: however its rows are split, ordered, padded or spread over ranks.

Run by torchrun with a file name, this file writes every loss's gradient on two ranks, for the test below.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from rl import distributed
from rl.batches import Rollout, lengths, loss_weights, micro_batches, per_token
from rl.losses import LOSSES, Objective, dpo, nll, policy_loss
from rl.policy import Policy, completion_logprobs
from rl.schedule import OptimConfig, make_optimiser, optimiser_step

# every term at once: clip, dual clip, KL with either gradient, truncated importance sampling
OBJECTIVES = {
    name: Objective(name, clip_high=0.28, dual_clip=2.0, beta=0.1, kl_unbiased_gradient=True, importance_cap=1.2)
    for name in LOSSES
} | {"grpo as in the paper": Objective("grpo", beta=0.04), "k2": Objective("dapo", beta=0.1, kl_estimator="k2")}
METHODS = [*OBJECTIVES, "nll", "dpo"]
SHAPES = [(3, 5), (1, 1), (7, 2), (2, 9), (4, 4), (1, 6), (5, 3), (2, 1)]  # prompt and completion lengths
MAX_NEW_TOKENS, BETA = 9, 0.2


def make_model() -> Policy:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=31, max_position_embeddings=32, tie_word_embeddings=True, **shape)
    return Policy(LlamaForCausalLM(config).double().eval(), tokenizer=None)


def make_rows() -> list[Rollout]:
    """Eight rollouts; token 0 is end and padding at once and stands inside completions, too."""
    torch.manual_seed(1)
    rows = []
    for group, (prompt, completion) in enumerate(SHAPES):
        ids = torch.randint(1, 31, (prompt + completion,)).tolist()
        ids[-1] = 0 if group % 2 else ids[-1]
        if completion > 4:
            ids[prompt + 1] = 0
        rows.append(
            Rollout(
                ids[:prompt], ids[prompt:], (-3.4 + 0.5 * torch.randn(completion)).tolist(), finished=bool(group % 2)
            )
        )
    return rows


def vectors_of(rows: list[Rollout]) -> dict[str, Tensor]:
    """The flat vectors of the rows, whatever their order: each row draws from its own seed."""
    parts: dict[str, list[Tensor]] = {"old": [], "ref": [], "sampling": [], "advantages": []}
    for row in rows:
        generator = torch.Generator().manual_seed(len(row.prompt_ids) * 100 + len(row.completion_ids))
        size = len(row.completion_ids)
        parts["old"].append(-3.4 + 0.3 * torch.randn(size, generator=generator).double())
        parts["ref"].append(-3.4 + 0.5 * torch.randn(size, generator=generator).double())
        parts["sampling"].append(torch.tensor(row.sampling_logprobs, dtype=torch.float64))
        parts["advantages"].append(torch.randn(1, generator=generator).double().expand(size))
    return {name: torch.cat(values) for name, values in parts.items()}


def add_gradients(
    policy: Policy, rows: list[Rollout], method: str, *, token_budget: int, pad_id: int, num_rows: int, num_tokens: int
) -> None:
    """Adds the rows' share of the step's gradient to the model's; the counts are those of the whole step."""
    row_lengths, vectors = lengths(rows), vectors_of(rows)
    for batch in micro_batches(rows, token_budget=token_budget, pad_id=pad_id, together=2 if method == "dpo" else 1):
        logprobs, _ = completion_logprobs(policy, batch)
        old, ref, sampling, advantages = (
            vectors[name][batch.flat] for name in ("old", "ref", "sampling", "advantages")
        )
        if method == "dpo":
            pairs = torch.full((len(batch.input_ids) // 2,), 2 / num_rows).double()
            loss = dpo(logprobs, ref, rows=batch.rows, weights=pairs, beta=BETA)
        else:
            name = "dapo" if method == "nll" else OBJECTIVES[method].loss
            weights = loss_weights(
                name, row_lengths, num_rows=num_rows, num_tokens=num_tokens, max_new_tokens=MAX_NEW_TOKENS
            )[batch.flat]
            if method == "nll":
                loss = nll(logprobs, weights)
            else:
                loss = policy_loss(
                    logprobs,
                    old,
                    advantages=advantages,
                    weights=weights,
                    rows=batch.rows,
                    objective=OBJECTIVES[method],
                    ref_logprobs=ref,
                    sampling_logprobs=sampling,
                )
        loss.backward()


def gradient(policy: Policy, rows: list[Rollout], method: str, *, token_budget: int = 9999, pad_id: int = 0) -> Tensor:
    """The gradient of the whole step as one vector."""
    policy.model.zero_grad()
    num_tokens = int(lengths(rows).sum())
    add_gradients(
        policy, rows, method, token_budget=token_budget, pad_id=pad_id, num_rows=len(rows), num_tokens=num_tokens
    )
    return flat_gradient(policy)


def flat_gradient(policy: Policy) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in policy.model.parameters()])


@pytest.fixture(scope="module")
def policy() -> Policy:
    return make_model()


@pytest.fixture(scope="module")
def whole(policy: Policy) -> dict[str, Tensor]:
    """Each loss's gradient with all rows in one batch."""
    return {method: gradient(policy, make_rows(), method) for method in METHODS}


def assert_same(found: Tensor, expected: Tensor) -> None:
    """Equal to 1e-6 of the largest entry (in fact to about 1e-15)."""
    assert expected.abs().max() > 1e-4
    assert (found - expected).abs().max() < 1e-6 * expected.abs().max()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("token_budget", [1, 12, 30])
def test_no_split_into_micro_batches_changes_it(policy: Policy, whole: dict, method: str, token_budget: int) -> None:
    assert_same(gradient(policy, make_rows(), method, token_budget=token_budget), whole[method])


@pytest.mark.parametrize("method", METHODS)
def test_row_order_changes_nothing(policy: Policy, whole: dict, method: str) -> None:
    rows = make_rows()
    order = [6, 7, 2, 3, 0, 1, 4, 5] if method == "dpo" else [6, 1, 7, 0, 3, 2, 5, 4]  # pairs stay pairs
    assert_same(gradient(policy, [rows[index] for index in order], method, token_budget=25), whole[method])


@pytest.mark.parametrize("method", METHODS)
def test_pad_id_changes_nothing_and_may_be_the_end_token(policy: Policy, whole: dict, method: str) -> None:
    for pad_id in (0, 7, 30):
        assert torch.equal(gradient(policy, make_rows(), method, pad_id=pad_id), whole[method])


@pytest.mark.parametrize("method", METHODS)
def test_wider_padding_changes_nothing(policy: Policy, whole: dict, method: str, monkeypatch) -> None:
    # the same batch in a matrix four columns wider, filled with another token
    import rl.batches as batches

    collate = batches._collate
    monkeypatch.setattr(batches, "_collate", lambda *args, width, **more: collate(*args, width=width + 4, **more))
    assert_same(gradient(policy, make_rows(), method, pad_id=19), whole[method])


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_of_zero_advantage_may_stay_out(policy: Policy, loss: str) -> None:
    # without a KL term such a row adds exactly nothing, as long as the denominators count it
    rows, objective = make_rows(), replace(OBJECTIVES[loss], beta=0.0)

    def found(kept: list[int]) -> Tensor:
        policy.model.zero_grad()
        chosen = [rows[index] for index in kept]
        batch = micro_batches(chosen, token_budget=9999, pad_id=0)[0]
        logprobs, _ = completion_logprobs(policy, batch)
        vectors, row_lengths = vectors_of(chosen), lengths(chosen)
        weights = loss_weights(loss, row_lengths, num_rows=8, num_tokens=31, max_new_tokens=MAX_NEW_TOKENS)
        signal = torch.tensor([0.0 if index in (1, 3) else 1.0 for index in kept]).double()
        policy_loss(
            logprobs,
            vectors["old"][batch.flat],
            advantages=(vectors["advantages"] * per_token(signal, row_lengths))[batch.flat],
            weights=weights[batch.flat],
            rows=batch.rows,
            objective=objective,
            sampling_logprobs=vectors["sampling"][batch.flat],
        ).backward()
        return flat_gradient(policy)

    assert_same(found([0, 2, 4, 5, 6, 7]), found(list(range(8))))


def test_doubling_dr_grpos_constant_halves_the_gradient(policy: Policy, whole: dict) -> None:
    row_lengths = torch.tensor([2, 3])
    one, two = (loss_weights("dr_grpo", row_lengths, num_rows=2, num_tokens=5, max_new_tokens=size) for size in (8, 16))
    assert torch.equal(one, 2 * two) and one.tolist() == [1 / 16] * 5
    # the constant is the setting, not what the batch happens to hold
    assert (
        loss_weights("dr_grpo", torch.tensor([4]), num_rows=2, num_tokens=999, max_new_tokens=8).tolist()
        == [1 / 16] * 4
    )


def test_all_zero_advantages_leave_the_weights_bitwise_unchanged() -> None:
    policy, rows = make_model(), make_rows()
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    optimiser = make_optimiser(policy.model, OptimConfig(lr=0.1, weight_decay=0.0))
    for loss in LOSSES:
        for batch in micro_batches(rows, token_budget=30, pad_id=0):
            logprobs, _ = completion_logprobs(policy, batch)
            policy_loss(
                logprobs,
                vectors_of(rows)["old"][batch.flat],
                advantages=torch.zeros_like(logprobs),
                weights=torch.ones_like(logprobs),
                rows=batch.rows,
                objective=Objective(loss),
            ).backward()
        assert optimiser_step(policy.model, optimiser, lr=0.1, max_grad_norm=1.0) == 0.0
    assert all(torch.equal(value, before[name]) for name, value in policy.model.state_dict().items())


def test_two_ranks_give_the_gradient_of_one(whole: dict, tmp_path: Path) -> None:
    out = tmp_path / "gradients.pt"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, __file__, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    found = torch.load(out)
    for method in METHODS:
        assert_same(found[method], whole[method])


def write_gradients(path: str) -> None:
    """On each of two ranks: its rows' share (unequal: three pairs and one), summed, written by rank 0."""
    world = distributed.start("cpu")
    policy, rows = make_model(), make_rows()
    mine = rows[:6] if world.rank == 0 else rows[6:]
    num_rows, num_tokens = distributed.total(world, [len(mine), int(lengths(mine).sum())])
    found = {}
    for method in METHODS:
        policy.model.zero_grad()
        add_gradients(
            policy, mine, method, token_budget=25, pad_id=0, num_rows=int(num_rows), num_tokens=int(num_tokens)
        )
        distributed.sum_gradients(world, policy.model)
        found[method] = flat_gradient(policy)
    if world.is_main:
        torch.save(found, path)
    distributed.stop(world)


if __name__ == "__main__":
    write_gradients(sys.argv[1])
