"""Log-probabilities without full logits, and the losses made of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from engine.training.losses import PairLogps, preference_losses, segment_sums, sft_loss, token_logps


def _case(count: int = 37, width: int = 24, vocabulary: int = 101) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    hidden = torch.randn(count, width, generator=source).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=source)
    return hidden, weight, torch.randint(0, vocabulary, (count,), generator=source)


@pytest.mark.parametrize("chunk", [1, 8, 37, 64])
def test_values_and_gradients_equal_those_of_a_full_log_softmax(chunk: int) -> None:
    hidden, weight, targets = _case()
    factors = torch.linspace(-1, 2, len(targets))
    found, hits = token_logps(hidden, weight, targets, chunk=chunk)
    (found * factors).sum().backward()
    grad, hidden.grad = hidden.grad, None
    logits = hidden @ weight.t()
    wanted = functional.log_softmax(logits, -1).gather(1, targets[:, None]).squeeze(1)
    (wanted * factors).sum().backward()
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(grad, hidden.grad, atol=1e-5, rtol=1e-5)
    assert torch.equal(hits, logits.argmax(-1) == targets)


def test_a_target_too_unlikely_for_a_float_still_has_its_logarithm() -> None:
    hidden = torch.tensor([[1.0, 0.0]], requires_grad=True)
    weight = torch.tensor([[300.0, 0.0], [0.0, 1.0]])
    found, _ = token_logps(hidden, weight, torch.tensor([1]))
    found.sum().backward()
    assert found.item() == pytest.approx(-300.0)
    assert hidden.grad is not None
    assert hidden.grad.tolist() == [[-300.0, 1.0]]


def test_bf16_states_give_float32_log_probabilities_near_the_exact_ones() -> None:
    hidden, weight, targets = _case()
    exact, _ = token_logps(hidden, weight, targets)
    short, _ = token_logps(hidden.detach().bfloat16(), weight.bfloat16(), targets)
    assert short.dtype == torch.float32
    assert (short - exact).abs().max() < 0.15


def test_the_sft_loss_is_the_same_however_a_step_is_split() -> None:
    logps = -torch.rand(10, generator=torch.Generator().manual_seed(0))
    whole = sft_loss(logps, 10)
    assert (sft_loss(logps[:3], 10) + sft_loss(logps[3:], 10)).item() == pytest.approx(whole.item())
    assert whole.item() == pytest.approx(-logps.mean().item())


def test_sums_are_taken_by_completion() -> None:
    sums = segment_sums(torch.arange(6.0), torch.tensor([1, 3, 2]))
    assert sums.tolist() == [0.0, 6.0, 9.0]


def _pairs() -> PairLogps:
    return PairLogps(torch.tensor([-5.0, -7.0]), torch.tensor([-6.0, -3.0]), *_pairs_lengths())


REFERENCE = (torch.tensor([-5.5, -6.0]), torch.tensor([-5.0, -4.0]))


def test_the_sigmoid_loss_follows_the_dpo_paper() -> None:
    losses, rewards = preference_losses("sigmoid", _pairs(), *REFERENCE, 0.1)
    margins = [0.1 * (0.5 - -1.0), 0.1 * (-1.0 - 1.0)]
    assert losses.tolist() == pytest.approx([math.log(1 + math.exp(-m)) for m in margins])
    assert (rewards.chosen - rewards.rejected).tolist() == pytest.approx(margins)


def test_the_normalized_loss_divides_by_length() -> None:
    losses, _ = preference_losses("sigmoid_norm", _pairs(), *REFERENCE, 0.1)
    margins = [0.1 * (0.5 / 2 - -1.0 / 3), 0.1 * (-1.0 / 4 - 1.0)]
    assert losses.tolist() == pytest.approx([math.log(1 + math.exp(-m)) for m in margins])


def test_ipo_is_squared_distance_from_half_the_inverse_beta() -> None:
    losses, _ = preference_losses("ipo", _pairs(), *REFERENCE, 0.1)
    gaps = [0.5 / 2 - -1.0 / 3, -1.0 / 4 - 1.0]
    assert losses.tolist() == pytest.approx([(gap - 5) ** 2 for gap in gaps])


def test_equal_policy_and_reference_cost_the_logarithm_of_two() -> None:
    values = torch.tensor([-3.0, -9.0])
    losses, _ = preference_losses("sigmoid", PairLogps(values, values, *_pairs_lengths()), values, values, 0.5)
    assert losses.mean().item() == pytest.approx(math.log(2))


def _pairs_lengths() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([2, 4]), torch.tensor([3, 1])
