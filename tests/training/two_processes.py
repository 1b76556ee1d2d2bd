"""One of the two processes of the distributed test: gradients of a wrapped method."""

import datetime
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from metamae.masking.base import Masking
from metamae.methods.base import Method
from metamae.model.tokens import Tokens
from training.runs import make_method, series

B = 8
# Name -> method and settings. What is drawn at random depends on the process, so nothing is:
# masks follow from the samples, and every token beside a visible one is support.
CASES = {
    "mae": ("mae", {}),
    "metamae": ("metamae", {"contrast_weight": 0, "support_share": 1}),
    "two steps": ("metamae", {"contrast_weight": 0, "support_share": 1, "inner_steps": 2}),
    "again": ("metamae", {"contrast_weight": 0, "support_share": 1, "recompute": True}),
    "batch": ("metamae", {"contrast_weight": 0, "support_share": 1, "normaliser": "batch"}),
}


class ByValue(Masking):
    """Keeps the tokens of highest first value."""

    def scores(self, tokens: Tokens, rng: torch.Generator) -> Tensor:
        return tokens.values[..., 0].detach()


def prepare(case: str) -> Method:
    spec, _ = series()
    name, settings = CASES[case]
    method = make_method(spec, name, **settings)
    method.masking = ByValue(ratio=0.75)
    encoder = method.backbone.encoder
    for part in (encoder, *encoder.blocks):
        part.dropout = 0.0
    return method.train()


def gradients(method: torch.nn.Module, share: slice) -> dict[str, Tensor]:
    """Gradients of the loss of some of the first B samples."""
    spec, records = series()
    batch = {k: v[share] for k, v in spec.batch(records, torch.arange(B).numpy()).items()}
    method(batch, torch.Generator()).loss.backward()
    inner = getattr(method, "module", method)
    return {k: p.grad for k, p in inner.named_parameters() if p.grad is not None}


def join(rank: int, meeting: Path) -> dict[str, dict[str, Tensor]]:
    """Take part as one of two processes that meet at a file; return each case's gradients."""
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )
    try:
        share = slice(rank, B, 2)
        return {
            case: gradients(
                # The projector is unused while the contrast has no weight.
                DistributedDataParallel(prepare(case), find_unused_parameters=case != "mae"),
                share,
            )
            for case in CASES
        }
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    join(1, Path(sys.argv[1]))
