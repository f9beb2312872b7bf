from pathlib import Path

import pytest
import torch

from rl.batches import Example, lengths, micro_batches, token_weights
from rl.errors import ConfigError
from rl.policy import (
    Policy,
    TinyModelConfig,
    accumulate_nll,
    check_head,
    completion_logprobs,
    load_policy,
    load_tokenizer,
    make_policy,
    save_policy,
    train_tokenizer,
)
from rl.schedule import OptimConfig, make_optimiser, optimiser_step

CPU = torch.device("cpu")
TEXTS = ["Tom has 12 apples. He eats 7 of them.", "小明有12个苹果，吃掉7个。", "The answer is 5."] * 3


@pytest.fixture(scope="module")
def policy() -> Policy:
    tokenizer = train_tokenizer(TEXTS, vocab_size=320)
    return make_policy(TinyModelConfig(hidden_size=16, num_layers=2, num_heads=2), tokenizer, seed=1, device=CPU)


def rows_of(policy: Policy) -> list[Example]:
    texts = policy.encode(TEXTS[:3])
    return [Example(ids[:cut], [*ids[cut:], policy.pad_id]) for ids, cut in zip(texts, (3, 1, 7), strict=True)]


def test_digits_are_single_tokens_and_text_survives(policy: Policy) -> None:
    text = "1234 + 56 = 1290，好的 naïve\n\n  x\t"
    ids = policy.encode([text])[0]
    assert policy.decode(ids) == text
    tokens = [policy.tokenizer.decode([i]) for i in ids]
    assert [token for token in tokens if token.strip().isdigit()] == list("1234") + list("56") + list("1290")


def test_seed_fixes_the_weights_without_touching_the_global_generator(policy: Policy) -> None:
    state = torch.get_rng_state()
    config = TinyModelConfig(hidden_size=16, num_layers=2, num_heads=2)
    same = make_policy(config, policy.tokenizer, seed=1, device=CPU)
    other = make_policy(config, policy.tokenizer, seed=2, device=CPU)
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(same.model.state_dict()[name], policy.model.state_dict()[name])
    assert not torch.equal(other.model.state_dict()[name], policy.model.state_dict()[name])
    assert torch.equal(torch.get_rng_state(), state)


def test_saved_folder_gives_the_same_model_and_tokenizer(policy: Policy, tmp_path: Path) -> None:
    folder = save_policy(policy, tmp_path / "model")
    assert (folder / "model.safetensors").is_file() and not (tmp_path / "model.tmp").exists()
    again = load_policy(folder, device=CPU)
    batch = micro_batches(rows_of(policy), token_budget=999, pad_id=policy.pad_id)[0]
    assert torch.equal(completion_logprobs(policy, batch)[0], completion_logprobs(again, batch)[0])
    assert again.encode(TEXTS) == policy.encode(TEXTS) and again.end_ids == policy.end_ids


def test_completion_logprobs_are_those_of_the_full_logits(policy: Policy) -> None:
    for row in rows_of(policy):
        batch = micro_batches([row], token_budget=999, pad_id=policy.pad_id)[0]
        ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
        with torch.no_grad():
            logprobs = policy.model(input_ids=ids).logits.log_softmax(-1)[0, :-1]  # (L - 1, V)
            ours, _ = completion_logprobs(policy, batch)
        expected = logprobs.gather(1, ids[0, 1:, None]).squeeze(1)[len(row.prompt_ids) - 1 :]
        assert torch.allclose(ours, expected, atol=1e-5)


def test_one_batch_can_be_learned_by_heart(policy: Policy) -> None:
    config = TinyModelConfig(hidden_size=32, num_layers=2, num_heads=2)
    fresh = make_policy(config, policy.tokenizer, seed=0, device=CPU)
    rows = rows_of(policy)
    optimiser = make_optimiser(fresh.model, OptimConfig(lr=1e-2, weight_decay=0.0))
    weights = token_weights(lengths(rows), num_tokens=int(lengths(rows).sum()))
    losses = []
    for _ in range(60):
        losses.append(accumulate_nll(fresh, rows, weights=weights, token_budget=99, device=CPU))
        optimiser_step(fresh.model, optimiser, lr=1e-2, max_grad_norm=1.0)
    assert losses[0] == pytest.approx(torch.tensor(float(len(policy.tokenizer))).log().item(), abs=0.3)
    assert losses[-1] < 0.05


def test_a_model_that_changes_its_logits_after_the_head_is_refused(policy: Policy) -> None:
    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base_model = policy.model.base_model
            self.head = policy.model.get_output_embeddings()

        def get_output_embeddings(self) -> torch.nn.Module:
            return self.head

        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> object:
            output = policy.model(input_ids=input_ids, use_cache=use_cache)
            output.logits = output.logits * 0.5
            return output

    check_head(policy)
    with pytest.raises(ConfigError, match="not a plain product"):
        check_head(Policy(Scaled(), policy.tokenizer))


@pytest.mark.parametrize("load", [lambda path: load_policy(path, device=CPU), load_tokenizer])
def test_a_folder_that_is_not_there_is_named(load: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load(tmp_path / "nowhere")  # type: ignore[operator]
