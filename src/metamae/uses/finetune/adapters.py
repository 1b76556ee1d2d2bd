"""Which weights of an encoder learn from labels: all, those of the last blocks, or a low-rank part.

Source of the low-rank part: Hu et al., LoRA, 2021, arXiv:2106.09685: a frozen matrix W becomes
W + (alpha / r) B A with A random and B zero, so that nothing has changed before the first step.
Differs: every matrix of a block has one, not queries and values only (Dettmers et al., QLoRA,
2023, arXiv:2305.14314, section 4: needed to reach full fine-tuning); queries, keys and values are
one matrix here and share A. alpha is 2 r.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from metamae.core.checks import check_one_of
from metamae.errors import ConfigError
from metamae.model.backbone import Backbone
from metamae.model.transformer import Block

HOW = ("full", "last", "lora")
ALPHA = 2.0  # alpha / r
MATRICES = ("qkv", "out", "expand", "contract")  # of a block


class LowRank(nn.Module):
    """Adds a learnt matrix of low rank to a weight.

    Args:
        outputs: Rows of the weight.
        inputs: Columns of it.
        rank: r, at most either of the two.
        rng: Source of A, on the CPU.
    """

    def __init__(self, outputs: int, inputs: int, rank: int, rng: torch.Generator):
        super().__init__()
        bound = math.sqrt(3 / inputs)
        self.down = nn.Parameter(torch.empty(rank, inputs).uniform_(-bound, bound, generator=rng))
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight, (outputs, inputs)."""
        return weight + ALPHA * self.up @ self.down


def choose_trained(
    backbone: Backbone, how: str, *, blocks: int = 2, rank: int = 8, seed: int = 0
) -> None:
    """Let the weights learn that are to learn, and freeze the others.

    Args:
        backbone: Is changed.
        how: "full" for all; "last" for the last blocks and the final norm; "lora" for matrices of
            low rank that are added to those of all blocks.
        blocks: How many are the last.
        rank: Of the matrices.
        seed: Of what they begin with.

    Raises:
        ConfigError: If there are not as many blocks, or no such rank.
    """
    check_one_of("Finetune.how", how, HOW)
    encoder = backbone.encoder
    backbone.requires_grad_(how == "full")
    if how == "last":
        depth = len(encoder.blocks)
        if not 1 <= blocks <= depth:
            raise ConfigError(
                f"Finetune.blocks must be between 1 and the encoder's {depth}; got {blocks}. "
                f"{min(2, depth)} would do."
            )
        for part in (*encoder.blocks[depth - blocks :], encoder.norm):
            part.requires_grad_(True)
    elif how == "lora":
        rng = torch.Generator().manual_seed(seed)
        for linear in _matrices(backbone):
            outputs, inputs = linear.weight.shape
            if not 1 <= rank <= min(outputs, inputs):
                raise ConfigError(
                    f"Finetune.rank must be between 1 and the width of the encoder, "
                    f"{min(outputs, inputs)}; got {rank}. {min(8, outputs, inputs)} would do."
                )
            added = LowRank(outputs, inputs, rank, rng).to(linear.weight)
            parametrize.register_parametrization(linear, "weight", added)


def merge(backbone: Backbone) -> None:
    """Put what low-rank matrices add into the weights themselves; nothing else changes.

    The merged weight is the very tensor that was computed with until now, so that not even
    rounding differs.
    """
    for linear in _matrices(backbone):
        if parametrize.is_parametrized(linear, "weight"):
            parametrize.remove_parametrizations(linear, "weight", leave_parametrized=True)


def _matrices(backbone: Backbone) -> list[nn.Linear]:
    found = []
    for block in backbone.encoder.blocks:
        assert isinstance(block, Block)
        found += [getattr(block, name) for name in MATRICES]
    return found
