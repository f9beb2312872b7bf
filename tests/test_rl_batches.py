import random
from itertools import combinations, pairwise

import pytest
import torch

from rl.batches import (
    Example,
    _cuts,
    indices_of_step,
    lengths,
    loss_weights,
    micro_batches,
    per_token,
    sequence_weights,
    token_weights,
)

ROWS = [Example([1, 2], [3, 4, 5]), Example([6], [7]), Example([8, 9, 10], [11, 12])]


def test_weights_by_hand() -> None:
    # 3 + 1 tokens, 5 rows in the whole step: 1/(3*5), 1/(1*5)
    rows = lengths(ROWS[:2])
    assert sequence_weights(rows, num_rows=5).tolist() == pytest.approx([1 / 15, 1 / 15, 1 / 15, 1 / 5])
    assert token_weights(rows, num_tokens=8).tolist() == [0.125] * 4
    assert per_token(torch.tensor([2.0, 3.0]), rows).tolist() == [2.0, 2.0, 2.0, 3.0]


def test_each_loss_has_its_denominators() -> None:
    # rows of 3 and 1 tokens; the whole step: 5 rows, 8 tokens; completions of at most 16 tokens
    found = {
        loss: loss_weights(loss, lengths(ROWS[:2]), num_rows=5, num_tokens=8, max_new_tokens=16).tolist()
        for loss in ("grpo", "ppo", "gspo", "dapo", "cispo", "dr_grpo")
    }
    assert found["grpo"] == found["ppo"] == found["gspo"] == pytest.approx([1 / 15, 1 / 15, 1 / 15, 1 / 5])
    assert found["dapo"] == found["cispo"] == [1 / 8] * 4
    assert found["dr_grpo"] == [1 / 80] * 4
    with pytest.raises(ValueError, match="loss=gpro: no such loss"):
        loss_weights("gpro", lengths(ROWS), num_rows=1, num_tokens=1, max_new_tokens=1)


@pytest.mark.parametrize("pad_id", [0, 3, 12])
def test_what_is_scored_follows_from_lengths_never_from_ids(pad_id: int) -> None:
    # end tokens 0 and 3: an end that is also padding, a second end id, an end inside, a completion cut without any
    rows = [Example([1], [5, 0]), Example([1, 2], [6, 3]), Example([4], [0, 7, 0, 3]), Example([8, 0, 3], [9, 9, 9])]
    for budget in (4, 12, 99):
        scored = {}
        for batch in micro_batches(rows, token_budget=budget, pad_id=pad_id):
            scored |= dict(zip(batch.flat.tolist(), batch.targets.tolist(), strict=True))
        assert [scored[place] for place in range(11)] == [5, 0, 6, 3, 0, 7, 0, 3, 9, 9, 9]


def test_rows_of_a_micro_batch_are_named_by_their_place_in_it() -> None:
    (batch,) = micro_batches(ROWS, token_budget=99, pad_id=0)
    # by total length: row 0 (3 + 2), row 2 (2 + 3; ties by index), row 1
    assert batch.rows.tolist() == [0, 0, 0, 1, 1, 2]
    assert batch.flat.tolist() == [0, 1, 2, 4, 5, 3]
    assert batch.to(torch.device("cpu")).rows.tolist() == batch.rows.tolist()


@pytest.mark.parametrize("token_budget", [1, 12, 99])
def test_pairs_stay_side_by_side_in_their_order(token_budget: int) -> None:
    rows = [Example([1], [token] * count) for token, count in enumerate((2, 5, 1, 1, 7, 3, 4, 4))]
    seen = []
    for batch in micro_batches(rows, token_budget=token_budget, pad_id=0, together=2):
        firsts = [int(batch.targets[batch.rows == row][0]) for row in range(len(batch.input_ids))]
        assert [first % 2 for first in firsts] == [0, 1] * (len(firsts) // 2)
        assert [b - a for a, b in zip(firsts[::2], firsts[1::2], strict=True)] == [1] * (len(firsts) // 2)
        assert batch.input_ids.numel() <= token_budget or len(firsts) == 2
        seen += firsts
    assert sorted(seen) == list(range(8))
    with pytest.raises(ValueError, match="3 rows cannot stay 2 together"):
        micro_batches(ROWS, token_budget=9, pad_id=0, together=2)


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


def cost(runs: list[tuple[int, int]], sizes: list[int], of_a_pass: int) -> int:
    return sum(sizes[first] * (last - first) + of_a_pass for first, last in runs)


@pytest.mark.parametrize("token_budget", [400, 1500, 4000, 40_000])
def test_cuts_cost_the_least_of_all_ways_to_cut(token_budget: int) -> None:
    rng = random.Random(token_budget)
    for _ in range(20):
        sizes = sorted((rng.randint(1, 600) for _ in range(9)), reverse=True)
        of_a_pass = max(256, token_budget // 64)
        ways = []
        for count in range(9):
            for inner in combinations(range(1, 9), count):
                runs = list(pairwise([0, *inner, 9]))
                if all(last - first == 1 or sizes[first] * (last - first) <= token_budget for first, last in runs):
                    ways.append(cost(runs, sizes, of_a_pass))
        found = _cuts(sizes, token_budget=token_budget)
        assert [place for run in found for place in range(*run)] == list(range(9))
        assert cost(found, sizes, of_a_pass) == min(ways)


def test_a_long_row_does_not_widen_many_short_ones() -> None:
    # one row of 1,000 and 99 of 20: together 100,000 tokens with padding, apart 1,000 + 1,980
    rows = [Example([1], [2] * 999), *[Example([1], [2] * 19)] * 99]
    assert [tuple(b.input_ids.shape) for b in micro_batches(rows, token_budget=200_000, pad_id=0)] == [
        (1, 1000),
        (99, 20),
    ]


def test_a_row_without_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="row 0 has no prompt"):
        micro_batches([Example([], [1])], token_budget=8, pad_id=0)


def test_passes_over_the_data_take_every_index_once_and_differ_in_order() -> None:
    taken = [index for step in range(10) for index in indices_of_step(5, step, batch_size=3, seed=1)]
    passes = [taken[start : start + 5] for start in range(0, 30, 5)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in passes)
    assert len({tuple(one) for one in passes}) > 1
