"""An encoder as one function of tensors: what is written as a program that needs no metamae.

A program takes what `Modality.batch` makes of samples, scaled values and all (`inputs.py`), and
gives one vector for each. Reading and scaling stay in Python. Attention and pooling are written out
once more, because their usual forms choose a kernel by the number of tokens, which a program is to
leave open; every program is run against its source before it is written.
"""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metamae.encoder.embedding import Vectors, embed_samples
from metamae.errors import ArtifactError, ConfigError
from metamae.modalities.base import Modality
from metamae.model.backbone import Backbone
from metamae.model.transformer import Block
from metamae.uses.export.inputs import Samples, arguments, open_axes

TOLERANCE = 1e-4
"""Largest difference of a program from its source, as a share of the largest number in a vector."""


class Program(nn.Module):
    """Scaled samples in, one vector each out: (B, N, ...), ... -> (B, W).

    Args:
        backbone: The encoder; it is copied.
        spec: What one sample is.
        names: Arguments in order.
    """

    inside: Tensor | None

    def __init__(self, backbone: Backbone, spec: Modality, names: tuple[str, ...]):
        super().__init__()
        self.backbone, self.names = copy.deepcopy(backbone).cpu().eval(), names
        self.backbone.requires_grad_(False)
        regions, inside = spec.token_regions, None
        if regions is not None:
            inside = F.one_hot(torch.from_numpy(regions)).float()  # (N, R)
        self.register_buffer("inside", inside, persistent=False)

    def forward(self, *tensors: Tensor) -> Tensor:
        batch = dict(zip(self.names, tensors, strict=True))
        x, padding = self.backbone.tokenizer.embed_for_export(batch)
        x = torch.cat([self.backbone.cls.expand(x.shape[0], 1, -1), x], dim=1)
        there = ~F.pad(padding, (1, 0), value=False)
        for block in self.backbone.encoder.blocks:
            assert isinstance(block, Block)
            x = _mixed(block, x, there[:, None, None, :])
        latent = self.backbone.encoder.norm(x)[:, 1:]
        weight = (~padding).to(latent.dtype)
        mean = _mean(latent, weight[:, None])  # (B, 1, D)
        if self.inside is None:
            return mean[:, 0]
        own = weight[:, None] * self.inside.T  # (B, R, N)
        known = own.sum(dim=2, keepdim=True) > 0
        return torch.where(known, _mean(latent, own), mean).flatten(1)


def _mixed(block: Block, x: Tensor, there: Tensor) -> Tensor:
    """What `Block` computes, for any number of tokens: (B, N, D) -> (B, N, D)."""
    parts = block.qkv(block.norm1(x)).chunk(3, dim=-1)
    q, k, v = (p.unflatten(-1, (block.heads, -1)).transpose(1, 2) for p in parts)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=there)
    x = x + block.out(mixed.transpose(1, 2).flatten(2))
    grown: Tensor = x + block.contract(F.gelu(block.expand(block.norm2(x))))
    return grown


def _mean(latent: Tensor, weight: Tensor) -> Tensor:
    """Weighted means over tokens: (B, N, D), (B, R, N) -> (B, R, D)."""
    return weight @ latent / weight.sum(dim=2, keepdim=True).clamp(min=1)


def trace(backbone: Backbone, spec: Modality, samples: Samples) -> Any:
    """Turn an encoder into a `torch.export.ExportedProgram`.

    Raises:
        ConfigError: If this encoder cannot be turned into one.
    """
    program = Program(backbone, spec, tuple(one.name for one in samples.inputs))
    some = arguments(spec, samples, samples.traced)
    try:
        with torch.no_grad():
            return torch.export.export(
                program, some, dynamic_shapes=(open_axes(samples),), strict=False
            )
    except Exception as error:  # torch.export has no class of its own for what it cannot do
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"Export.run must be an encoder that torch.export can follow; got: {reason}. --format "
            f"huggingface would do."
        ) from error


def check(run: Any, backbone: Backbone, spec: Modality, samples: Samples) -> dict[str, Any]:
    """Compare a program with its source on samples that it was not made with.

    Args:
        run: Arguments -> vectors (B, W), as numpy or torch has them.
        backbone: The source.
        spec: What one sample is.
        samples: As `look_at` found them.

    Returns:
        What was found, for `export.json`.

    Raises:
        ArtifactError: If a vector differs by more than `TOLERANCE`.
    """
    fresh = samples.fresh
    # One by itself, a few together, special ones: other shapes than the program was made in.
    groups = [fresh[:1], fresh[1:], *(samples.alone[n : n + 1] for n in range(len(samples.alone)))]
    worst, num = 0.0, 0
    for index in (group for group in groups if len(group)):
        expected: Vectors = embed_samples(backbone, spec, samples.pieces.subset(index))
        found = np.asarray(run(*arguments(spec, samples, index)))
        size = max(float(np.abs(expected).max()), 1e-12)
        same = found.shape == expected.shape
        worst = max(worst, float(np.abs(found - expected).max()) / size if same else float("inf"))
        num += len(index)
    if not worst <= TOLERANCE:  # NaN included
        raise ArtifactError(
            f"The exported program must give the vectors of its source to {TOLERANCE:g} of their "
            f"largest number; got a difference of {worst:.2g}. Nothing was written: --format "
            f"huggingface would do."
        )
    return {"samples": num, "largest_difference": worst, "tolerance": TOLERANCE}


def described(spec: Modality, samples: Samples, backbone: Backbone) -> Mapping[str, Any]:
    """Say as plain values what a program takes and gives."""
    return {
        "inputs": [
            {"name": i.name, "dtype": i.dtype, "shape": list(i.shape)} for i in samples.inputs
        ],
        "output": {
            "name": "vectors",
            "dtype": "float32",
            "shape": ["batch", spec.embedding_width(backbone.tokenizer.width)],
        },
        "longest": samples.longest,
        "preprocessing": "metamae: schema.modality.batch; it reads and scales samples",
    }
