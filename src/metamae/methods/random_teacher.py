"""Imitate a random network: a control that learns without anything to learn from.

Source: Sarnthein et al., Random Teachers are Good Teachers, ICML 2023, arXiv:2302.12091.
Differs: the student starts from other weights than the teacher (there also from the same ones),
and both end in a small head instead of one of 65,536 outputs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metamae.core.checks import check_at_least, check_between
from metamae.methods.base import Method
from metamae.model.backbone import Backbone, pool
from metamae.model.tokens import Batch, Step
from metamae.model.transformer import xavier_linear

BOTTLENECK = 64  # width of the unit vectors in front of the outputs


class RandomTeacher(Method):
    """Learn to give the answers of a network that has learnt nothing and never will.

    What it gains over an untrained encoder comes from optimisation alone. A method is worth
    something if it gains more.

    Args:
        backbone: Tokenizer and encoder to train.
        teacher: The same with other weights, which stay as they are.
        outputs: Numbers that the two are compared in.
        temperature: Of the teacher's and the student's answers.
    """

    description = "control: imitate a network with random weights"

    def __init__(
        self,
        backbone: Backbone,
        teacher: Backbone,
        *,
        outputs: int = 1024,
        temperature: float = 0.1,
    ):
        super().__init__()
        self.outputs = check_at_least("RandomTeacher.outputs", outputs, 2)
        self.temperature = check_between("RandomTeacher.temperature", temperature, 0, float("inf"))
        self.backbone, self.teacher = backbone, teacher.requires_grad_(False)
        width = backbone.tokenizer.width
        self.head, other = Head(width, outputs), Head(width, outputs)
        self.teacher_head = other.requires_grad_(False)

    def forward(self, batch: Batch, rng: torch.Generator) -> Step:
        with torch.no_grad():
            answers = self.teacher_head(self.teacher.features(batch)) / self.temperature
        tokens = self.backbone.tokenizer.embed(batch)
        latent = self.backbone.encode(tokens, rng=rng if self.training else None)
        vectors = pool(latent[:, 1:], tokens.padding)
        guesses = self.head(vectors) / self.temperature
        wanted = answers.softmax(dim=1)
        loss = F.cross_entropy(guesses, wanted)
        least = -(wanted * answers.log_softmax(dim=1)).sum(dim=1).mean()
        return Step(loss, {"divergence": (loss - least).detach()})


class Head(nn.Module):
    """A small network to unit vectors, and their products with unit vectors: (B, D) -> (B, K)."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.layers = nn.Sequential(
            xavier_linear(width, 2 * width), nn.GELU(), xavier_linear(2 * width, BOTTLENECK)
        )
        self.ways = nn.Parameter(torch.randn(outputs, BOTTLENECK))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return cosines, at least in float32."""
        inner = self.layers(vectors)
        inner = F.normalize(inner.to(torch.promote_types(inner.dtype, torch.float32)), dim=1)
        with torch.autocast(inner.device.type, enabled=False):
            cosines: Tensor = inner @ F.normalize(self.ways.to(inner.dtype), dim=1).T
        return cosines
