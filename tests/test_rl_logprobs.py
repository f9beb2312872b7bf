import json
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import rl.logprobs
from rl.logprobs import token_logprobs, token_loss
from rl.losses import Objective, policy_loss


def plain(hidden: Tensor, head: Tensor, targets: Tensor, temperature: float) -> Tensor:
    logits = (hidden @ head.T).float() if hidden.dtype == torch.bfloat16 else hidden @ head.T
    return (logits / temperature).log_softmax(-1).gather(1, targets[:, None]).squeeze(1)


@pytest.mark.parametrize("chunk_size", [1, 3, 7, 100])
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


@pytest.mark.parametrize("chunk_size", [2, 10])
def test_own_backward_passes_the_numerical_check(chunk_size: int) -> None:
    torch.manual_seed(1)
    hidden, head = (torch.randn(5, 3).double().requires_grad_() for _ in range(2))
    targets = torch.tensor([0, 4, 2, 2, 1])

    def function(hidden: Tensor, head: Tensor) -> Tensor:
        return token_logprobs(hidden, head, targets=targets, temperature=0.8, chunk_size=chunk_size)[0]

    assert torch.autograd.gradcheck(function, (hidden, head))


def test_logprobs_are_those_of_a_markov_model_in_closed_form() -> None:
    # a state's hidden vector is one-hot and the head holds log transition probabilities: p(next | state) exactly
    chain = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64)
    walk = torch.tensor([0, 1, 1, 2, 0])
    ours, entropy = token_logprobs(torch.eye(3).double()[walk[:-1]], chain.log().T, targets=walk[1:])
    assert ours.exp().tolist() == pytest.approx([0.25, 0.8, 0.1, 1 / 3], abs=1e-12)
    rows = -(chain * chain.log()).sum(1)
    assert entropy.tolist() == pytest.approx(
        [rows[0].item(), rows[1].item(), rows[1].item(), rows[2].item()], abs=1e-12
    )


@pytest.mark.parametrize("chunk_size", [1, 4])
def test_an_impossible_token_makes_nothing_nan(chunk_size: int) -> None:
    hidden = torch.ones(2, 1, requires_grad=True)
    head = torch.tensor([[0.0], [float("-inf")], [0.0]])
    logprobs, entropy = token_logprobs(hidden, head, targets=torch.tensor([0, 2]), chunk_size=chunk_size)
    half = -0.6931472
    assert logprobs.tolist() == pytest.approx([half, half]) and entropy.tolist() == pytest.approx([-half, -half])


def test_large_logits_do_not_overflow() -> None:
    logprobs, entropy = token_logprobs(torch.tensor([[1e4]]), torch.tensor([[3.0], [-3.0]]), targets=torch.tensor([1]))
    assert logprobs.item() <= -1e4 and torch.isfinite(logprobs).all() and entropy.item() == 0.0


def test_no_token_gives_empty_vectors_and_zero_gradients() -> None:
    hidden, head = torch.zeros(0, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    logprobs, entropy = token_logprobs(hidden, head, targets=torch.zeros(0, dtype=torch.long))
    logprobs.sum().backward()
    assert logprobs.shape == entropy.shape == (0,)
    assert head.grad is not None and not head.grad.any()


@pytest.mark.parametrize("chunk_size", [16, 200])
def test_bfloat16_weights_are_the_plain_computation_in_bfloat16(chunk_size: int) -> None:
    torch.manual_seed(2)
    hidden = torch.randn(100, 32).bfloat16().requires_grad_()
    head = (0.3 * torch.randn(50, 32)).bfloat16().requires_grad_()
    targets = torch.randint(0, 50, (100,))
    ours, _ = token_logprobs(hidden, head, targets=targets, chunk_size=chunk_size)
    expected = plain(hidden, head, targets, 1.0)
    assert ours.dtype == torch.float32 and torch.allclose(ours, expected, atol=1e-5)
    for found, wanted in zip(
        torch.autograd.grad(ours.sum(), (hidden, head)),
        torch.autograd.grad(expected.sum(), (hidden, head)),
        strict=True,
    ):
        assert found.dtype == torch.bfloat16
        assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()


@pytest.mark.parametrize("inside", [False, True])
def test_under_autocast_forward_and_backward_are_in_its_precision(inside: bool) -> None:
    # float32 weights, products in bfloat16; the chunked backward computes the same logits again, wherever it is called
    torch.manual_seed(3)
    hidden, head = torch.randn(40, 16, requires_grad=True), torch.randn(30, 16, requires_grad=True)
    targets = torch.randint(0, 30, (40,))
    grads = []
    for chunk_size in (9, 100):
        with torch.autocast("cpu", torch.bfloat16):
            ours, _ = token_logprobs(hidden, head, targets=targets, chunk_size=chunk_size)
            if inside:
                grads.append(torch.autograd.grad(ours.sum(), (hidden, head)))
        if not inside:
            grads.append(torch.autograd.grad(ours.sum(), (hidden, head)))
        assert torch.allclose(ours, plain(hidden.bfloat16(), head.bfloat16(), targets, 1.0), atol=1e-5)
    exact = torch.autograd.grad(plain(hidden, head, targets, 1.0).sum(), (hidden, head))
    for chunked, single, wanted in zip(*grads, exact, strict=True):
        assert chunked.dtype == torch.float32
        assert (chunked - single).abs().max() < 0.01 * wanted.abs().max()
        assert (chunked - wanted).abs().max() < 0.03 * wanted.abs().max()


@pytest.mark.parametrize("chunk_size", [1, 4, 100])
@pytest.mark.parametrize("objective", [Objective(beta=0.1), Objective("cispo"), Objective("dapo", dual_clip=1.5)])
def test_loss_taken_chunk_by_chunk_has_the_value_and_gradient_of_the_whole(
    chunk_size: int, objective: Objective
) -> None:
    torch.manual_seed(4)
    hidden, head = torch.randn(9, 4).double().requires_grad_(), torch.randn(11, 4).double().requires_grad_()
    targets, rows = torch.randint(0, 11, (9,)), torch.zeros(9, dtype=torch.long)
    old, ref, advantages, weights = (-2.5 + 0.5 * torch.randn(9).double() for _ in range(4))

    def loss(logprobs: Tensor, chunk: slice) -> Tensor:
        parts = (vector[chunk] for vector in (old, advantages, weights, rows, ref))
        names = ("advantages", "weights", "rows", "ref_logprobs")
        first, *others = parts
        return policy_loss(logprobs, first, objective=objective, **dict(zip(names, others, strict=True)))

    ours, logprobs, entropy = token_loss(
        hidden, head, targets=targets, loss=loss, temperature=0.7, chunk_size=chunk_size
    )
    wanted, wanted_entropy = token_logprobs(hidden, head, targets=targets, temperature=0.7)
    assert torch.allclose(logprobs, wanted, atol=1e-12) and torch.allclose(entropy, wanted_entropy, atol=1e-12)
    assert not logprobs.requires_grad and not entropy.requires_grad
    expected = loss(wanted, slice(None))
    assert ours.item() == pytest.approx(expected.item(), rel=1e-12)
    pairs = zip(
        torch.autograd.grad(3 * ours, (hidden, head)), torch.autograd.grad(3 * expected, (hidden, head)), strict=True
    )
    assert all(torch.allclose(found, exact, atol=1e-12) for found, exact in pairs)


def test_loss_taken_chunk_by_chunk_under_autocast() -> None:
    torch.manual_seed(5)
    hidden, head = torch.randn(40, 16, requires_grad=True), torch.randn(30, 16, requires_grad=True)
    targets = torch.randint(0, 30, (40,))
    with torch.autocast("cpu", torch.bfloat16):
        ours, _, _ = token_loss(hidden, head, targets=targets, loss=lambda part, _: part.sum(), chunk_size=9)
        whole = token_logprobs(hidden, head, targets=targets, chunk_size=9)[0].sum()
    assert ours.item() == pytest.approx(whole.item(), rel=1e-6)
    for found, wanted in zip(
        torch.autograd.grad(ours, (hidden, head)), torch.autograd.grad(whole, (hidden, head)), strict=True
    ):
        assert found.dtype == torch.float32 and (found - wanted).abs().max() < 0.01 * wanted.abs().max()


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return found


def test_no_tensor_of_vocabulary_times_length_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rl.logprobs, "_MAX_LOGITS", {"cpu": 20_000})
    monkeypatch.setattr(rl.logprobs, "_MIN_ROWS", 4)
    vocabulary, width = 1000, 8
    for length in (100, 3000):
        hidden, head = (
            torch.randn(length, width, requires_grad=True),
            torch.randn(vocabulary, width, requires_grad=True),
        )
        targets = torch.randint(0, vocabulary, (length,))
        with LargestTensor() as seen:
            logprobs, _ = token_logprobs(hidden, head, targets=targets)
            logprobs.sum().backward()
        with LargestTensor() as seen_by_loss:
            token_loss(hidden, head, targets=targets, loss=lambda part, _: part.sum())[0].backward()
        # 20 rows of logits, or the hidden states themselves
        assert seen.elements == seen_by_loss.elements == max(20 * vocabulary, length * width)


MEASURE = """
import json, resource, sys, torch
from rl.logprobs import token_logprobs, token_loss
torch.set_num_threads(1)
hidden, head = torch.randn(int(sys.argv[2]), 32, requires_grad=True), torch.randn(50_000, 32, requires_grad=True)
targets = torch.randint(0, 50_000, (len(hidden),))
def ours(): return token_logprobs(hidden, head, targets=targets)[0]
def loss(): return token_loss(hidden, head, targets=targets, loss=lambda part, _: part.sum())[0]
def plain(): return (hidden @ head.T).log_softmax(-1).gather(1, targets[:, None])
head.grad = torch.zeros_like(head)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{"ours": ours, "loss": loss, "plain": plain}[sys.argv[1]]().sum().backward()
print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))
"""


def peak_mib(kind: str, length: int) -> float:
    """What forward and backward add to the peak memory of a fresh process."""
    command = [sys.executable, "-c", MEASURE, kind, str(length)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_peak_memory_of_the_process_does_not_grow_with_length() -> None:
    # full logits of 2,048 x 50,000 are 391 MiB, and the plain computation holds several of them
    short, long = peak_mib("ours", 512), peak_mib("ours", 2048)
    assert long < short + 20 and long < 200
    assert peak_mib("loss", 2048) < 200
    assert peak_mib("plain", 2048) > 780
