"""Log-probabilities of target tokens and the losses made of them; knows nothing of models or rows.

The product with the vocabulary matrix and the log-softmax are one autograd node that works in chunks: nothing of size
tokens x vocabulary outlives a chunk, and the gradient of the hidden states is computed while the chunk is at hand. That
is possible because d logp_t / d h_t = W[y_t] - softmax(W h_t) W does not depend on what follows in the graph.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from engine.training.config import LossType

CHUNK = 128
"""Rows of logits that exist at once on a CPU: enough for the full matrix rate, and few enough to stay in its cache."""
_CHUNK_ELSEWHERE = 512


class Logits(Protocol):
    """Logits of hidden states, differentiable by autograd."""

    def linear(self, x: Tensor) -> Tensor:
        """[N, d] -> [N, V]"""
        ...


class Projection(Logits, Protocol):
    """A frozen matrix [V, d] with both its products."""

    def input_grad(self, grad: Tensor) -> Tensor:
        """[N, V] -> [N, d]"""
        ...


@dataclass(frozen=True)
class Dense:
    """A plain tensor [V, d] (and bias [V] or None) as a `Projection`."""

    weight: Tensor
    bias: Tensor | None = None

    def linear(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)

    def input_grad(self, grad: Tensor) -> Tensor:
        return grad @ self.weight


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Any, targets: Tensor, chunk: int) -> Any:
        count = hidden.shape[0]
        logps = torch.empty(count, dtype=torch.float32, device=hidden.device)
        correct = torch.empty(count, dtype=torch.bool, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, count, chunk):
            part = slice(start, start + chunk)
            target = targets[part, None]
            if not hasattr(head, "input_grad"):
                logps[part], correct[part], grad = _by_autograd(hidden[part], head, target, grad_hidden is not None)
                if grad_hidden is not None:
                    grad_hidden[part] = grad
                continue
            probs = head.linear(hidden[part]).float()
            torch.softmax(probs, -1, out=probs)  # in place of the logits: they are the largest tensor of training
            target_probs = probs.gather(1, target)
            logps[part] = _log(target_probs, head, hidden[part], target).squeeze(1)
            correct[part] = (target_probs == probs.amax(-1, keepdim=True)).squeeze(1)
            if grad_hidden is not None:
                # d logp / d logit = [v = target] - p_v; the sign waits for the backward pass, where it costs nothing.
                probs.scatter_(1, target, target_probs - 1)
                grad_hidden[part] = head.input_grad(probs.to(hidden.dtype))
        if grad_hidden is not None:
            ctx.save_for_backward(grad_hidden)
        ctx.mark_non_differentiable(correct)
        return logps, correct

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad_hidden,) = ctx.saved_tensors
        return grad_hidden * grads[0].neg().to(grad_hidden.dtype)[:, None], None, None, None


def _by_autograd(hidden: Tensor, head: Logits, target: Tensor, learn: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities, whether each target was the likeliest, and minus the gradient, of one chunk by a head that is
    more than a matrix (a soft cap on the logits)."""
    with torch.enable_grad() if learn else contextlib.nullcontext():
        x = hidden.detach().requires_grad_(learn)
        logits = head.linear(x).float()
        logps = torch.log_softmax(logits, -1).gather(1, target).squeeze(1)
        grad = torch.autograd.grad(logps.sum(), x)[0].neg() if learn else hidden
    best = logits.detach().amax(-1) == logits.detach().gather(1, target).squeeze(1)
    return logps.detach(), best, grad


def _log(prob: Tensor, head: Logits, hidden: Tensor, target: Tensor) -> Tensor:
    """Log of the target's prob; from the logits where the prob is too small for float32 to tell."""
    if bool((prob > 1e-30).all()):
        return prob.log()
    logits = head.linear(hidden).float()
    return logits.gather(1, target) - logits.logsumexp(-1, keepdim=True)


def token_logps(hidden: Tensor, weight: Tensor | Logits, targets: Tensor, *, chunk: int = 0) -> tuple[Tensor, Tensor]:
    """Log-probabilities of targets, differentiable in `hidden` only (the matrix is frozen).

    Args:
        hidden: [N, d], normalised states at the positions before the targets.
        weight: [V, d], the vocabulary matrix, or anything with its two products (`engine.models.nn.linear.Linear`), or
            with `linear` alone, which autograd then goes through.
        targets: [N], token ids.
        chunk: rows of logits that exist at once; 0 chooses by device.

    Returns:
        [N] float32 log-probabilities, and [N] booleans: whether the target was the likeliest token.
    """
    head = Dense(weight) if isinstance(weight, Tensor) else weight
    chunk = chunk or (CHUNK if hidden.device.type == "cpu" else _CHUNK_ELSEWHERE)
    out: tuple[Tensor, Tensor] = _TokenLogps.apply(hidden, head, targets, chunk)  # type: ignore[no-untyped-call]
    return out


def segment_sums(values: Tensor, lengths: Tensor) -> Tensor:
    """Sums of consecutive runs: values [N], lengths [S] with sum N -> [S]."""
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=values.device), lengths)
    return torch.zeros(len(lengths), dtype=values.dtype, device=values.device).index_add(0, owner, values)


def sft_loss(logps: Tensor, total: int) -> Tensor:
    """Negative log-likelihood divided by the completion tokens of the whole step, over all micro-batches and processes
    (not a mean of means): [N], -> []."""
    return -logps.sum() / total


@dataclass(frozen=True)
class Rewards:
    """DPO's implicit rewards, beta times the log-ratio to the reference, [pairs] each, detached."""

    chosen: Tensor
    rejected: Tensor


@dataclass(frozen=True)
class PairLogps:
    """Summed log-probabilities of both completions of each pair, and their lengths.

    Args:
        chosen, rejected: [P], float32.
        chosen_tokens, rejected_tokens: [P], tokens of each completion.
    """

    chosen: Tensor
    rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor


def preference_losses(
    loss_type: LossType, policy: PairLogps, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> tuple[Tensor, Rewards]:
    """The preference loss of each pair, before any reduction; numerics as in TRL.

    With the log-ratios c and r of the chosen and rejected completion to the reference:

    - "sigmoid": -log sigmoid(beta (c - r)); Rafailov et al. (2023), equation 7.
    - "sigmoid_norm": the same with c and r divided by the length of their completion.
    - "ipo": (c/|c| - r/|r| - 1 / (2 beta))^2; Azar et al. (2023), equation 17, per token.

    Args:
        policy: log-probabilities under the policy, differentiable.
        reference_chosen, reference_rejected: [P], under the reference.
        beta: strength of the pull towards the reference.

    Returns:
        [P] losses, and the rewards.
    """
    chosen, rejected = policy.chosen - reference_chosen, policy.rejected - reference_rejected
    rewards = Rewards(beta * chosen.detach(), beta * rejected.detach())
    if loss_type != "sigmoid":
        chosen, rejected = chosen / policy.chosen_tokens, rejected / policy.rejected_tokens
    if loss_type == "ipo":
        return (chosen - rejected - 1 / (2 * beta)).square(), rewards
    return -functional.logsigmoid(beta * (chosen - rejected)), rewards
