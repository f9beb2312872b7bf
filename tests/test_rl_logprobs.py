import pytest
import torch

from rl.logprobs import token_logprobs


def plain(hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    return (hidden @ head.T / temperature).log_softmax(-1).gather(1, targets[:, None]).squeeze(1)


@pytest.mark.parametrize("chunk_size", [3, 7, 100])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_chunked_values_and_gradients_equal_the_plain_computation(chunk_size: int, temperature: float) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    head = torch.randn(11, 4, dtype=torch.float64, requires_grad=True)
    targets, scale = torch.randint(0, 11, (7,)), torch.randn(7, dtype=torch.float64)
    expected = plain(hidden, head, targets, temperature)
    ours, entropy = token_logprobs(hidden, head, targets=targets, temperature=temperature, chunk_size=chunk_size)
    assert torch.allclose(ours, expected, atol=1e-12)
    probabilities = (hidden @ head.T / temperature).softmax(-1)
    assert torch.allclose(entropy, -(probabilities * probabilities.log()).sum(-1), atol=1e-12)
    assert not entropy.requires_grad
    for ours_grad, plain_grad in zip(
        torch.autograd.grad((ours * scale).sum(), (hidden, head)),
        torch.autograd.grad((expected * scale).sum(), (hidden, head)),
        strict=True,
    ):
        assert torch.allclose(ours_grad, plain_grad, atol=1e-12)


def test_an_impossible_token_does_not_make_the_entropy_nan() -> None:
    hidden, head = torch.tensor([[1.0]]), torch.tensor([[0.0], [float("-inf")]])
    logprobs, entropy = token_logprobs(hidden, head, targets=torch.tensor([0]))
    assert logprobs.item() == 0.0 and entropy.item() == 0.0
