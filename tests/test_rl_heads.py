from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from rl.batches import Example, lengths, micro_batches, token_weights
from rl.errors import ConfigError
from rl.heads import HEAD_FILE, ValueModel, load_value_model, token_scores, token_values
from rl.losses import value_loss
from rl.policy import Policy, TinyModelConfig, make_policy, save_policy, train_tokenizer
from rl.schedule import OptimConfig, make_optimiser, optimiser_step

CPU = torch.device("cpu")
ROWS = [Example([5, 6], [7, 8, 9]), Example([11], [12, 13]), Example([14, 15, 16, 17], [18, 19, 20, 21, 22])]


@pytest.fixture(scope="module")
def policy() -> Policy:
    config = TinyModelConfig(hidden_size=16, num_layers=2, num_heads=2)
    return make_policy(config, train_tokenizer(["a b c"], vocab_size=300), seed=3, device=CPU)


@pytest.fixture
def value(policy: Policy) -> ValueModel:
    """In float64, with a head that is not zero."""
    made = load_value_model(policy, device=CPU)
    made.model.double()
    torch.nn.init.normal_(made.model.head.weight, generator=torch.Generator().manual_seed(0))
    return made


def values_of(value: ValueModel, rows: list[Example], *, token_budget: int = 1000, pad_id: int = 0) -> torch.Tensor:
    flat = torch.zeros(int(lengths(rows).sum()), dtype=torch.float64)
    for batch in micro_batches(rows, token_budget=token_budget, pad_id=pad_id):
        flat[batch.flat] = token_values(value, batch).double()
    return flat


def scores_of(value: ValueModel, row: Example) -> torch.Tensor:
    (batch,) = micro_batches([row], token_budget=1000, pad_id=0)
    return token_scores(value, batch, torch.ones(len(row.completion_ids), dtype=torch.bool))


def test_a_fresh_head_has_no_opinion_and_the_body_is_a_copy(policy: Policy) -> None:
    value = load_value_model(policy, device=CPU)
    (batch,) = micro_batches(ROWS[:1], token_budget=100, pad_id=0)
    found = token_values(value, batch)
    assert torch.equal(found, torch.zeros(3)) and found.requires_grad
    with torch.no_grad():
        for parameter in value.model.body.parameters():
            parameter.zero_()
    assert all(parameter.abs().sum() > 0 for parameter in policy.model.parameters())


def test_a_value_is_read_before_its_token_and_a_score_at_it(value: ValueModel) -> None:
    row = ROWS[2]
    changed = Example(row.prompt_ids, [18, 19, 99, 21, 22])
    same_values = values_of(value, [row]) == values_of(value, [changed])
    same_scores = scores_of(value, row) == scores_of(value, changed)
    assert same_values.tolist() == [True, True, True, False, False]  # token 2 is predicted from what stands before it
    assert same_scores.tolist() == [True, True, False, False, False]
    hidden = value.model.body(input_ids=torch.tensor([[*row.prompt_ids, *row.completion_ids]])).last_hidden_state[0]
    numbers = hidden @ value.model.head.weight[0] + value.model.head.bias
    torch.testing.assert_close(values_of(value, [row]), numbers[3:8])  # the prompt's last token is at 3
    torch.testing.assert_close(scores_of(value, row), numbers[4:9])


@pytest.mark.parametrize(("token_budget", "pad_id"), [(1000, 7), (9, 0), (1, 250)])
def test_no_micro_batch_or_padding_changes_values_or_gradients(
    value: ValueModel, token_budget: int, pad_id: int
) -> None:
    returns = torch.linspace(-1, 1, 10, dtype=torch.float64)
    weights = token_weights(lengths(ROWS), num_tokens=10)

    def gradients(token_budget: int, pad_id: int) -> list[torch.Tensor]:
        value.model.zero_grad()
        for batch in micro_batches(ROWS, token_budget=token_budget, pad_id=pad_id):
            found = token_values(value, batch)
            places = batch.flat
            value_loss(found, found.detach(), returns=returns[places], weights=weights[places]).backward()
        return [parameter.grad.clone() for parameter in value.model.parameters() if parameter.grad is not None]

    torch.testing.assert_close(
        values_of(value, ROWS, token_budget=token_budget, pad_id=pad_id), values_of(value, ROWS), rtol=1e-10, atol=1e-12
    )
    torch.testing.assert_close(gradients(token_budget, pad_id), gradients(1000, 0), rtol=1e-8, atol=1e-12)


def test_a_critic_learns_the_returns_of_a_fixed_batch(policy: Policy) -> None:
    value = load_value_model(policy, device=CPU)
    (batch,) = micro_batches(ROWS, token_budget=1000, pad_id=0)
    returns = torch.linspace(-1, 1, 10)[batch.flat]
    weights = torch.full((10,), 0.1)
    optimiser = make_optimiser(value.model, OptimConfig(weight_decay=0.0))
    losses = []
    for _ in range(150):
        found = token_values(value, batch)
        loss = value_loss(found, found.detach(), returns=returns, weights=weights)
        loss.backward()
        losses.append(float(loss.detach()))
        optimiser_step(value.model, optimiser, lr=3e-3, max_grad_norm=1.0)
    # V = 0 at first: half the mean square of the ten returns, 1/2 * 11/27
    assert losses[0] == pytest.approx(11 / 54, rel=1e-5) and losses[-1] < 1e-3


def test_a_saved_folder_gives_the_same_numbers(value: ValueModel, tmp_path: Path) -> None:
    value.model.float().kind = "outcome"
    save_policy(Policy(value.model, value.tokenizer), tmp_path / "model")
    loaded = load_value_model(tmp_path / "model", device=CPU, kind="outcome")
    assert torch.equal(values_of(loaded, ROWS), values_of(value, ROWS))
    assert loaded.tokenizer.get_vocab() == value.tokenizer.get_vocab() and loaded.pad_id == value.pad_id
    body = AutoModel.from_pretrained(tmp_path / "model")  # an ordinary Hugging Face folder to everybody else
    assert torch.equal(body.embed_tokens.weight, value.model.body.embed_tokens.weight)


def test_bfloat16_runs_the_body_and_leaves_the_head_in_float32(policy: Policy) -> None:
    value = load_value_model(policy, device=CPU)
    torch.nn.init.normal_(value.model.head.weight, generator=torch.Generator().manual_seed(0))
    exact = values_of(value, ROWS)
    (batch,) = micro_batches(ROWS[:1], token_budget=100, pad_id=0)
    assert token_values(replace(value, precision="bfloat16"), batch).dtype == torch.float32
    rough = values_of(replace(value, precision="bfloat16"), ROWS)
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, atol=0.1, rtol=0.05)


def test_what_cannot_be_loaded_is_named_with_its_remedy(policy: Policy, value: ValueModel, tmp_path: Path) -> None:
    save_policy(policy, tmp_path / "policy")
    value.model.float().kind = "process"
    save_policy(Policy(value.model, value.tokenizer), tmp_path / "prm")
    with pytest.raises(ConfigError, match=r"nowhere: no Hugging Face model there"):
        load_value_model(tmp_path / "nowhere", device=CPU)
    with pytest.raises(ConfigError, match=r"policy: no reward model; .* rl/train_reward.py --kind outcome"):
        load_value_model(tmp_path / "policy", device=CPU, kind="outcome")
    with pytest.raises(ConfigError, match=r"prm: a model trained as process; .* --kind outcome"):
        load_value_model(tmp_path / "prm", device=CPU, kind="outcome")
    with pytest.raises(ConfigError, match="precision=float16: choose one of float32, bfloat16"):
        load_value_model(tmp_path / "prm", device=CPU, precision="float16")
    (tmp_path / "prm" / HEAD_FILE).write_bytes(b"\x00" * 20)
    with pytest.raises(ConfigError, match="prm: "):
        load_value_model(tmp_path / "prm", device=CPU)
