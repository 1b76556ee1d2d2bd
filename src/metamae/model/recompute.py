"""Less memory for the same gradients: what is not kept is computed again.

`again` keeps a block's input and nothing inside, and computes the block once more when it is
derived. `loss_in_parts` and `gradient_in_parts` compute a loss a few samples at a time, so that no
graph holds the batch. The samples of a batch meet only in the weights and in what is summed over
them: a loss that is a sum over samples can be derived part by part, and so can the gradient that
an inner step takes, once it is known what its result is wanted for. Nothing is approximated.

Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016, arXiv:1604.06174.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Block = Callable[[Tensor, torch.Generator | None], Tensor]
"""Tokens and the source of the dropout -> tokens."""


def again(block: Block, x: Tensor, rng: torch.Generator | None) -> Tensor:
    """Apply a block to tokens, with the same draws each time that it is computed.

    The result can be derived once.
    """
    begin = None if rng is None else rng.get_state()
    ends: list[Tensor] = []

    def compute(tokens: Tensor) -> Tensor:
        if begin is None:
            return block(tokens, None)
        own = torch.Generator(tokens.device)
        own.set_state(begin)
        found = block(tokens, own)
        ends.append(own.get_state())
        return found

    # PyTorch keeps the state of its global generators; the draws here come from none of them.
    found: Tensor = checkpoint(compute, x, use_reentrant=False, preserve_rng_state=False)
    if rng is not None:
        rng.set_state(ends[0])
    return found


# Tokens of a part at most, but for a sample that has more: enough for matrix products at full
# speed, few enough to save memory.
TOKENS = {"cpu": 2048}
TOKENS_ELSEWHERE = 16384

Loss = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""Latents (b, V, D) of some samples, and which of the batch these are -> what they add to a sum
over the batch, and their errors (b, N), which are not derived."""


def loss_in_parts(
    loss: Loss, latent: Tensor, tokens: int, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Sum a loss over the batch and compute its gradients at once.

    It takes the arithmetic of a loss that is derived later, and the memory of one part.

    Args:
        loss: What is summed.
        latent: (B, V, D).
        tokens: N of a sample, from which the size of a part follows.
        weights: Parameters to learn that the loss may depend on.

    Returns:
        The sum, which can be derived once, and the errors (B, N), detached.
    """
    found: tuple[Tensor, Tensor] = _Loss.apply(  # type: ignore[no-untyped-call]
        loss, tokens, torch.is_grad_enabled(), latent, *weights
    )
    return found


def gradient_in_parts(
    loss: Loss, latent: Tensor, tokens: int, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Derive a loss by the latents and keep no graph; where that is derived, compute it again.

    The arguments are those of `loss_in_parts`.

    Returns:
        The gradient (B, V, D), which can be derived once, and the errors (B, N), detached.
    """
    found: tuple[Tensor, Tensor] = _Gradient.apply(  # type: ignore[no-untyped-call]
        loss, tokens, latent, *weights
    )
    return found


def _parts(latent: Tensor, tokens: int) -> Iterator[tuple[Tensor, slice]]:
    """Yield latents to derive by and which samples of the batch they are of."""
    B = len(latent)
    most = TOKENS.get(latent.device.type, TOKENS_ELSEWHERE)
    size = -(-B // -(-B * tokens // most))
    for start in range(0, B, size):
        part = slice(start, start + size)
        yield latent[part].detach().requires_grad_(), part


class _Gradients:
    """Gradients by latents, side by side, and by weights, summed over the parts."""

    def __init__(self, num_weights: int):
        self.latents: list[Tensor] = []
        self.weights: list[Tensor | None] = [None] * num_weights

    def add(self, latent: Tensor, *weights: Tensor | None) -> None:
        """Take in those of a part; None where the loss does not depend on a weight."""
        self.latents.append(latent)
        for number, new in enumerate(weights):
            old = self.weights[number]
            self.weights[number] = old if new is None else new if old is None else old + new

    def all(self) -> tuple[Tensor | None, ...]:
        """Return that by the latents (B, V, D), then those by the weights."""
        return (torch.cat(self.latents), *self.weights)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, loss: Loss, tokens: int, derived: bool, latent: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        values, errors, gradients = [], [], _Gradients(len(weights))
        for some, part in _parts(latent, tokens):
            with torch.set_grad_enabled(derived):
                value, error = loss(some, part)
            if derived:
                gradients.add(*torch.autograd.grad(value, [some, *weights], allow_unused=True))
            values.append(value.detach())
            errors.append(error.detach())
        if derived:
            ctx.gradients = gradients.all()
        all_errors = torch.cat(errors)
        ctx.mark_non_differentiable(all_errors)
        return torch.stack(values).sum(), all_errors

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (None if g is None else g * slope.to(g.dtype) for g in ctx.gradients)
        return (None, None, None, *scaled)


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, loss: Loss, tokens: int, latent: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        gradients: list[Tensor] = []
        errors = []
        for some, part in _parts(latent, tokens):
            with torch.enable_grad():
                value, error = loss(some, part)
            gradients += torch.autograd.grad(value, some)
            errors.append(error.detach())
        ctx.loss, ctx.tokens = loss, tokens
        device = latent.device.type
        ctx.autocast = {
            "device_type": device,
            "enabled": torch.is_autocast_enabled(device),
            "dtype": torch.get_autocast_dtype(device),
        }
        ctx.save_for_backward(latent, *weights)
        all_errors = torch.cat(errors)
        ctx.mark_non_differentiable(all_errors)
        return torch.cat(gradients), all_errors

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, wanted: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        latent, *weights = ctx.saved_tensors
        gradients = _Gradients(len(weights))
        for some, part in _parts(latent, ctx.tokens):
            # As in the first pass, which the graph has to repeat.
            with torch.enable_grad(), torch.autocast(**ctx.autocast):
                value, _error = ctx.loss(some, part)
                (slope,) = torch.autograd.grad(value, some, create_graph=True)
            gradients.add(
                *torch.autograd.grad(slope, [some, *weights], wanted[part], allow_unused=True)
            )
        return (None, None, *gradients.all())
