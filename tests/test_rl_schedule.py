import pytest
import torch

from rl.errors import ConfigError
from rl.schedule import OptimConfig, check_optim, learning_rate, make_optimiser, optimiser_step


def test_multi_step_schedule_is_the_papers() -> None:
    config = OptimConfig(lr=1.0, schedule="multi_step", warmup_steps=4)
    rates = [learning_rate(step, config, num_steps=100) for step in (0, 3, 4, 79, 80, 89, 90, 99)]
    # warm-up 1/5 ... 4/5, full until 80%, x0.316 until 90%, x0.10 to the end
    assert rates == pytest.approx([0.2, 0.8, 1, 1, 0.316, 0.316, 0.1, 0.1])


def test_cosine_falls_to_a_tenth_and_constant_stays() -> None:
    cosine = OptimConfig(lr=1.0, schedule="cosine", warmup_steps=0)
    assert learning_rate(0, cosine, num_steps=10) == pytest.approx(1.0)
    assert learning_rate(5, cosine, num_steps=10) == pytest.approx(0.55)  # .1 + .45 * (1 + 0)
    assert learning_rate(10, cosine, num_steps=10) == pytest.approx(0.1)
    assert learning_rate(9, OptimConfig(lr=1.0, schedule="constant", warmup_steps=0), num_steps=10) == 1.0


@pytest.mark.parametrize("config", [OptimConfig(schedule="cosin"), OptimConfig(lr=0.0)])
def test_impossible_settings_are_refused(config: OptimConfig) -> None:
    with pytest.raises(ConfigError):
        check_optim(config)


def test_decay_spares_vectors_and_clipping_bounds_the_gradient() -> None:
    model = torch.nn.Linear(2, 2)
    optimiser = make_optimiser(model, OptimConfig(weight_decay=0.1))
    assert [(group["weight_decay"], len(group["params"])) for group in optimiser.param_groups] == [(0.1, 1), (0.0, 1)]
    model(torch.full((1, 2), 100.0)).sum().backward()
    norm = optimiser_step(model, optimiser, lr=1e-3, max_grad_norm=1.0)
    # d/dW = 100 in 4 places, d/db = 1 in 2: sqrt(4 * 10^4 + 2)
    assert norm == pytest.approx(200.005, abs=1e-3)
    assert model.weight.grad is None
