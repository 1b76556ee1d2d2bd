"""Muon: momentum whose singular values are made nearly equal, so that all directions learn.

Source: Jordan et al., Muon, 2024, https://kellerjordan.github.io/posts/muon; the scale that makes
AdamW's learning rates fit: Liu et al., Muon is Scalable for LLM Training, 2025, arXiv:2502.16982,
section 2.2.
Differs: in float32 where bfloat16 is not faster (torch.optim.Muon has bfloat16 only), and matrices
of one shape are computed together.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from metamae.training.device import choose_precision

# Of the quintic iteration, and how often it is applied: Jordan et al., 2024.
QUINTIC = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Step along the orthogonalised momentum of each matrix.

    Where the attribute `found_inf`, () float32 on their device, is 1, a step changes nothing; so it
    is with PyTorch's fused optimisers.

    Args:
        parameters: Matrices.
        lr: Learning rate, on the scale of AdamW's.
        weight_decay: Share of a weight that a step of rate 1 takes away.
        momentum: Share of the past that stays, with Nesterov's look ahead.
        precision: As in `training.precision`; "auto" for the faster of bfloat16 and float32.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        precision: str = "auto",
    ):
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(list(parameters), defaults)
        self.precision = precision
        self.found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for alike in shapes.values():
                self._update(alike, group)

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Move matrices of one shape."""
        states = [self.state[parameter] for parameter in parameters]
        for parameter, state in zip(parameters, states, strict=True):
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
        gradients = torch.stack([p.grad for p in parameters if p.grad is not None])
        before = torch.stack([state["momentum"] for state in states])
        momenta = before.lerp(gradients, 1 - group["momentum"])
        wanted = gradients.lerp(momenta, group["momentum"])
        precision = choose_precision(self.precision, wanted.device.type, min(wanted.shape[1:]))
        fast = wanted.bfloat16() if precision == "bfloat16" else wanted
        steps = orthogonalise(fast).to(wanted.dtype)
        # The root of the mean square of an AdamW update is about 0.2.
        length = group["lr"] * 0.2 * max(parameters[0].shape) ** 0.5
        old = torch.stack(parameters)
        new = old * (1 - group["lr"] * group["weight_decay"]) - length * steps
        if self.found_inf is not None:
            # No branch: it would make the host wait for the device.
            bad = self.found_inf == 1
            new, momenta = torch.where(bad, old, new), torch.where(bad, before, momenta)
        for parameter, state, moved, momentum in zip(parameters, states, new, momenta, strict=True):
            parameter.copy_(moved)
            state["momentum"].copy_(momentum)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices, (M, rows, columns), to between 0.7 and 1.2.

    Odd polynomials of a matrix act on its singular values alone; five rounds of this one, chosen
    for its slope at 0, take all but the smallest there.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        square = torch.bmm(x, x.transpose(1, 2))
        # a x + (b x x' + c x x' x x') x, with sums inside the products: two thirds of the time.
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x
