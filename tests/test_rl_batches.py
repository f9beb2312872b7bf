import pytest
import torch

from rl.batches import Example, indices_of_step, lengths, micro_batches, per_token, sequence_weights, token_weights

ROWS = [Example([1, 2], [3, 4, 5]), Example([6], [7]), Example([8, 9, 10], [11, 12])]


def test_weights_by_hand() -> None:
    # 3 + 1 tokens, 5 rows in the whole step: 1/(3*5), 1/(1*5)
    rows = lengths(ROWS[:2])
    assert sequence_weights(rows, num_rows=5).tolist() == pytest.approx([1 / 15, 1 / 15, 1 / 15, 1 / 5])
    assert token_weights(rows, num_tokens=8).tolist() == [0.125] * 4
    assert per_token(torch.tensor([2.0, 3.0]), rows).tolist() == [2.0, 2.0, 2.0, 3.0]


def test_each_position_predicts_its_target_and_knows_its_place_in_the_step() -> None:
    flat_tokens = [3, 4, 5, 7, 11, 12]
    seen = []
    for batch in micro_batches(ROWS, token_budget=10, pad_id=0):
        assert batch.input_ids.numel() <= 10
        ids = batch.input_ids.flatten().tolist()
        for position, target, place in zip(
            batch.positions.tolist(), batch.targets.tolist(), batch.flat.tolist(), strict=True
        ):
            assert ids[position + 1] == target == flat_tokens[place]
            seen.append(place)
    assert sorted(seen) == list(range(6))


def test_longest_rows_come_first_and_an_oversized_row_comes_alone() -> None:
    batches = micro_batches(ROWS, token_budget=4, pad_id=0)
    assert [tuple(batch.input_ids.shape) for batch in batches] == [(1, 5), (1, 5), (1, 2)]


def test_a_row_without_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="row 0 has no prompt"):
        micro_batches([Example([], [1])], token_budget=8, pad_id=0)


def test_passes_over_the_data_take_every_index_once_and_differ_in_order() -> None:
    taken = [index for step in range(10) for index in indices_of_step(5, step, batch_size=3, seed=1)]
    passes = [taken[start : start + 5] for start in range(0, 30, 5)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in passes)
    assert len({tuple(one) for one in passes}) > 1
