"""The optimiser and the course of its learning rate."""

import math

import torch
from torch import nn

from metamae.training.settings import TrainSettings


def make_optimizer(module: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW that decays matrices only, betas as in He et al. (arXiv:2111.06377, appendix A)."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    filled = [group for group in groups if group["params"]]
    return torch.optim.AdamW(filled, lr=settings.lr, betas=(0.9, 0.95), fused=True)


def rate(settings: TrainSettings, progress: float) -> float:
    """Learning rate at a share of the run between 0 and 1: linear warm-up, then the schedule."""
    if progress < settings.warmup:
        return settings.lr * progress / settings.warmup
    if settings.schedule == "constant":
        return settings.lr
    rest = (progress - settings.warmup) / max(1 - settings.warmup, 1e-9)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))
