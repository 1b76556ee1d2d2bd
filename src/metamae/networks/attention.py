"""Attention in two forms: fused, and one that can be differentiated twice.

PyTorch's fused kernels have no second derivative (pytorch/pytorch#116350), and the failure
shows only in the outer backward pass. The explicit form has one; it is also the faster of the
two on a CPU for the short sequences that this package trains on.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Below this many tokens the explicit form won every CPU timing, first derivative included;
# above it the (N, N) scores cost more than they save.
LONG = 384
# Below this many keys, PyTorch's softmax over the last axis takes 10 to 30 times as long on a CPU
# (its vectors hold 16 numbers) as over the last but one; few visible tokens are the usual case.
FEW_KEYS = 16
# On some CPUs (AMD's, with MKL) the last digit of a small product depends on where its matrices
# begin in memory, and so on their places in the batch. Matrices of a multiple of so many rows and
# columns all begin alike. From 12 on none was seen to differ.
ALIKE = 8


def attend(q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None, *, twice: bool) -> Tensor:
    """Softmax attention.

    Args:
        q: Queries, (B, heads, N, D / heads).
        k: Keys, (B, heads, M, D / heads).
        v: Values, the shape of `k`.
        padding: True where a key is no token, (B, M); None if all are.
        twice: Whether the result will be differentiated twice.

    Returns:
        (B, heads, N, D / heads).
    """
    if kernel(q.device.type, k.shape[2], twice=twice) == "explicit":
        # What is not learnt from is looked at: there a sample's companions must not show.
        few = min(q.shape[2], k.shape[2]) < FEW_KEYS and not torch.is_grad_enabled()
        return _alike(q, k, v, padding) if few else _explicit(q, k, v, padding)
    there = None if padding is None else ~padding[:, None, None, :]  # (B, 1, 1, M)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=there)


def kernel(device: str, num_keys: int, *, twice: bool) -> str:
    """Name the form that `attend` uses: "explicit" or "fused"."""
    return "explicit" if twice or (device == "cpu" and num_keys < LONG) else "fused"


def _alike(q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None) -> Tensor:
    """Compute the same with queries and keys filled up to a multiple of `ALIKE`."""
    N, M = q.shape[2], k.shape[2]
    if M % ALIKE:
        if padding is None:
            padding = torch.zeros(k.shape[0], M, dtype=torch.bool, device=k.device)
        padding = F.pad(padding, (0, -M % ALIKE), value=True)
    q = F.pad(q, (0, 0, 0, -N % ALIKE))
    k, v = (F.pad(x, (0, 0, 0, -M % ALIKE)) for x in (k, v))
    return _explicit(q, k, v, padding)[:, :, :N]


def _explicit(q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None) -> Tensor:
    q = q / math.sqrt(q.shape[-1])
    if k.shape[2] < FEW_KEYS:
        scores = k @ q.transpose(-2, -1)  # (B, heads, M, N)
        if padding is not None:
            scores = _without(scores, padding[:, None, :, None])
        return scores.softmax(dim=-2).transpose(-2, -1) @ v
    scores = q @ k.transpose(-2, -1)  # (B, heads, N, M)
    if padding is not None:
        scores = _without(scores, padding[:, None, None, :])
    return scores.softmax(dim=-1) @ v


def _without(scores: Tensor, padding: Tensor) -> Tensor:
    # The most negative finite number: a row in which nothing is there must not become NaN.
    return scores.masked_fill(padding, torch.finfo(scores.dtype).min)
