"""The optimiser and the course of its learning rate."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metamae.model.transformer import Block
from metamae.training.muon import Muon
from metamae.training.settings import TrainSettings


class Together:
    """Several optimisers that step as one; the state is that of all, numbered through.

    Args:
        parts: Muon, or PyTorch's own that leave everything as it is where their `found_inf` is 1,
            as gradient scaling asks of the fused ones.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]):
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups of all."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def step(self, fine: Tensor | None = None) -> None:
        """Move all parameters, or change nothing if `fine`, (), is false.

        The device decides: the host need not know yet whether it is.
        """
        found = None if fine is None else (~fine).float()
        for part in self.parts:
            part.found_inf = found  # type: ignore[attr-defined]
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return state and groups in the form of `torch.optim.Optimizer.state_dict`."""
        state: dict[int, Any] = {}
        groups: list[dict[str, Any]] = []
        first = 0
        for part in self.parts:
            own = part.state_dict()
            state |= {first + number: values for number, values in own["state"].items()}
            groups += own["param_groups"]
            first += sum(len(group["params"]) for group in own["param_groups"])
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Undo `state_dict`."""
        groups, first = list(values["param_groups"]), 0
        for part in self.parts:
            own, groups = groups[: len(part.param_groups)], groups[len(part.param_groups) :]
            count = sum(len(group["params"]) for group in own)
            state = {
                number - first: state
                for number, state in values["state"].items()
                if first <= number < first + count
            }
            part.load_state_dict({"state": state, "param_groups": own})
            first += count


def make_optimizer(module: nn.Module, settings: TrainSettings) -> Together:
    """AdamW that decays matrices only, betas as in He et al. (arXiv:2111.06377, appendix A).

    With "muon" the matrices of the blocks learn by that; tokens, heads, norms and biases do not.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    inside = set()
    if settings.optimizer == "muon":
        blocks = [block for block in module.modules() if isinstance(block, Block)]
        inside = {p for block in blocks for p in block.parameters() if p.ndim == 2}
    matrices = [p for p in trained if p in inside]
    rest = [p for p in trained if p not in inside]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    filled = [group for group in groups if group["params"]]
    parts: list[torch.optim.Optimizer] = []
    if matrices:
        parts.append(
            Muon(
                matrices,
                lr=settings.lr,
                weight_decay=settings.weight_decay,
                precision=settings.precision,
            )
        )
    if filled:
        parts.append(torch.optim.AdamW(filled, lr=settings.lr, betas=(0.9, 0.95), fused=True))
    return Together(parts)


def rate(settings: TrainSettings, progress: float) -> float:
    """Learning rate at a share of the run between 0 and 1: linear warm-up, then the schedule."""
    if progress < settings.warmup:
        return settings.lr * progress / settings.warmup
    if settings.schedule == "constant":
        return settings.lr
    rest = (progress - settings.warmup) / max(1 - settings.warmup, 1e-9)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))
