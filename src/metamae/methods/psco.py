"""Few-shot tasks made without labels: shots of a sample are what a queue holds that is like it.

Source: Jang et al., Unsupervised Meta-Learning via Few-shot Pseudo-supervised Contrastive Learning
(PsCo), ICLR 2023, arXiv:2303.00996, section 3.2; the queue and the contrast beside it: He et al.,
MoCo, CVPR 2020, arXiv:1911.05722.
Differs: the two views of a sample are two masks, so that any modality has them; layer norm in
place of batch norm, so that a sample alone can be learnt from; the queue starts with random
directions and is short, for data sets that are.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metamae.core.checks import check_at_least, check_between
from metamae.masking.base import Masking
from metamae.methods.base import Method
from metamae.model.backbone import Backbone, pool
from metamae.model.tokens import Batch, Step, Tokens
from metamae.model.transformer import xavier_linear

PROJECTED = 128
SHARPNESS = 0.05  # of the assignment, and how often its rows and columns are evened out
ROUNDS = 3


class PsCo(Method):
    """Tell each sample by its shots from all others, and from the rest of the queue.

    Args:
        backbone: Tokenizer and encoder to train.
        masking: Makes the two views of a sample.
        shots: Entries of the queue that stand for a sample.
        queue: Projections of past samples that are kept; more than `shots`.
        ema: Share of itself that the slow copy of the encoder keeps at a step.
        temperature: Of the contrast with the queue.
        task_temperature: Of the few-shot tasks.
    """

    description = "PsCo: few-shot tasks from a queue of past samples, without labels"
    masking: Masking
    mask_ratio = 0.5

    queue: Tensor
    place: Tensor

    def __init__(
        self,
        backbone: Backbone,
        masking: Masking,
        *,
        shots: int = 4,
        queue: int = 2048,
        ema: float = 0.99,
        temperature: float = 0.2,
        task_temperature: float = 1.0,
    ):
        super().__init__()
        self.backbone, self.masking = backbone, masking
        self.shots = check_at_least("PsCo.shots", shots, 1)
        check_at_least("PsCo.queue", queue, shots + 1)
        self.ema = check_between("PsCo.ema", ema, 0, 1, closed=True)
        self.temperature = check_between("PsCo.temperature", temperature, 0, float("inf"))
        self.task_temperature = check_between(
            "PsCo.task_temperature", task_temperature, 0, float("inf")
        )
        self.projector = _perceptron(backbone.tokenizer.width, PROJECTED)
        self.predictor = _perceptron(PROJECTED, PROJECTED)
        self.teacher = deepcopy(backbone).requires_grad_(False)
        self.teacher_projector = deepcopy(self.projector).requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(queue, PROJECTED), dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch, rng: torch.Generator) -> Step:
        tokens = self.backbone.tokenizer.embed(batch)
        ours = self.view(self.backbone, tokens, rng, rng if self.training else None)
        guess = _unit(self.predictor(self.projector(ours)))
        with torch.no_grad():
            slow = self.teacher.tokenizer.embed(batch)
            target = _unit(self.teacher_projector(self.view(self.teacher, slow, rng, None)))
        with torch.autocast(guess.device.type, enabled=False):
            # A copy: the queue itself moves on before the backward pass.
            past = self.queue.to(guess.dtype, copy=True)
            task = self.task_loss(guess, self.shots_of(target, past))
            contrast = self.contrast(guess, target, past)
        if self.training:
            self.remember(target)
        return Step(task + contrast, {"task": task.detach(), "contrast": contrast.detach()})

    def view(
        self,
        backbone: Backbone,
        tokens: Tokens,
        rng: torch.Generator,
        dropout: torch.Generator | None,
    ) -> Tensor:
        """Hide some tokens and encode the others: one vector per sample, (B, D)."""
        mask = self.masking(tokens, rng)
        return pool(backbone.encode(tokens, mask, dropout)[:, 1:], mask.padding)

    def shots_of(self, target: Tensor, past: Tensor) -> Tensor:
        """Choose entries of the queue for each sample, (B, K, P).

        A sample takes those that an assignment gives it which uses the whole queue evenly.

        Args:
            target: Projections of the samples by the slow encoder, (B, P), of length 1.
            past: The queue, (M, P).
        """
        shares = ((target @ past.T - 1) / SHARPNESS).exp()  # (B, M)
        for _ in range(ROUNDS):
            shares = shares / shares.sum(dim=0, keepdim=True).clamp(min=1e-12)
            shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-12)
        return past[shares.topk(self.shots, dim=1).indices]

    def task_loss(self, guess: Tensor, shots: Tensor) -> Tensor:
        """Cross-entropy of each sample's mean shot among the shots of all samples.

        Args:
            guess: Predictions, (B, P), of length 1.
            shots: (B, K, P).
        """
        every = guess @ shots.flatten(0, 1).T / self.task_temperature  # (B, B K)
        own = (guess * shots.mean(dim=1)).sum(dim=1) / self.task_temperature
        return (every.logsumexp(dim=1) - own).mean()

    def contrast(self, guess: Tensor, target: Tensor, past: Tensor) -> Tensor:
        """Cross-entropy of a sample's other view among the queue."""
        own = (guess * target).sum(dim=1, keepdim=True)
        logits = torch.cat([own, guess @ past.T], dim=1) / self.temperature
        return -logits.log_softmax(dim=1)[:, 0].mean()

    @torch.no_grad()
    def remember(self, target: Tensor) -> None:
        """Put projections into the queue, in the place of the oldest."""
        size = len(self.queue)
        target = target[-size:]
        at = (self.place + torch.arange(len(target), device=target.device)) % size
        self.queue[at] = target.to(self.queue.dtype)
        self.place.copy_((self.place + len(target)) % size)

    @torch.no_grad()
    def after_update(self, progress: float, learnt: Tensor) -> None:
        """Let the slow encoder and its projector follow."""
        pairs = ((self.teacher, self.backbone), (self.teacher_projector, self.projector))
        for slow, fast in pairs:
            for old, new in zip(slow.parameters(), fast.parameters(), strict=True):
                old.lerp_(new.to(old.dtype), (1 - self.ema) * learnt.to(old.dtype))


def _perceptron(inputs: int, outputs: int) -> nn.Sequential:
    hidden = 4 * inputs
    return nn.Sequential(
        xavier_linear(inputs, hidden, bias=False),
        nn.LayerNorm(hidden),
        nn.ReLU(),
        xavier_linear(hidden, outputs, bias=False),
    )


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=1)
