"""Attention in two forms: fused, and one that can be differentiated twice.

PyTorch's fused kernels have no second derivative (pytorch/pytorch#116350), and the failure
shows only in the outer backward pass. The explicit form has one; it is also the faster of the
two on a CPU where short sequences are learnt from. Where nothing is learnt the fused form took
0.3 to 1.0 of the time (`benchmarks/README.md`), and it rounds alike at every place of a batch.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Below this many tokens the explicit form won every timing on an Intel CPU, first derivative
# included (on an AMD one below 128); above it the (N, N) scores cost more than they save.
LONG = 384
# Below this many keys, PyTorch's softmax over the last axis takes 10 to 30 times as long on a CPU
# (its vectors hold 16 numbers) as over the last but one; few visible tokens are the usual case.
FEW_KEYS = 16
# On some CPUs (AMD's, with MKL) the last digit of a product depends on where its matrices begin in
# memory, and so on the place of a sample in a batch, unless that is a multiple of 16 bytes.
ALIGNED = 4  # float32 numbers


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
    learns = torch.is_grad_enabled()
    if kernel(q.device.type, k.shape[2], learns=learns, twice=twice) == "explicit":
        return _explicit(q, k, v, padding)
    return _fused(q, k, v, padding)


def kernel(device: str, num_keys: int, *, learns: bool, twice: bool) -> str:
    """Name the form that `attend` uses: "explicit" or "fused"."""
    short = device == "cpu" and learns and num_keys < LONG
    return "explicit" if twice or short else "fused"


def _fused(q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None) -> Tensor:
    width = q.shape[-1]
    there = None if padding is None else ~padding[:, None, None, :]  # (B, 1, 1, M)
    if width % ALIGNED:
        q, k, v = (F.pad(x, (0, -width % ALIGNED)) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=there, scale=width**-0.5)
    return mixed[..., :width]


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
