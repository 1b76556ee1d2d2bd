"""The loop of a fine-tuning: learn from labels, and keep the weights that validate best."""

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.encoder.embedding import embed_samples
from metamae.errors import ConfigError, TrainingError
from metamae.evaluation.scoring.task import Array, Task
from metamae.modalities.base import Modality
from metamae.model.backbone import Backbone
from metamae.model.tokens import Batch
from metamae.training.device import autocast
from metamae.training.interrupt import Interrupt
from metamae.training.optimizer import Together, make_optimizer, rate
from metamae.training.settings import auto_batch_size
from metamae.uses.finetune.adapters import choose_trained, merge
from metamae.uses.finetune.head import Head, Target
from metamae.uses.finetune.pieces import PIECES, LabelledBatches, Pooling
from metamae.uses.finetune.settings import DEFAULT_STEPS, UNWATCHED_STEPS, FitSettings
from metamae.uses.finetune.validation import watch

log = logging.getLogger("metamae")
FEWEST_CHECKS, MOST_CHECKS = 20, 50  # of a run that uses its whole budget
Observer = Callable[[str, float, float | None], None]
"""Called with the name of a fit, the share of it that is done, and the last validation score."""


@dataclass(frozen=True)
class Check:
    """The validation samples at one moment: steps done, primary score, loss."""

    step: int
    score: float
    loss: float


@dataclass(frozen=True)
class Labels:
    """What is learnt from: S samples, all with a label.

    Attributes:
        records: Input columns.
        y: Labels from `infer_task`, (S,) or (S, L).
        task: What they mean.
        groups: Group of each sample; stopping early respects it.
    """

    records: Records
    y: Array
    task: Task
    groups: Array | None = None

    def part(self, index: Index) -> "Labels":
        """Return the samples at some positions."""
        groups = None if self.groups is None else self.groups[index]
        return Labels(self.records.subset(index), self.y[index], self.task, groups)


@dataclass(frozen=True)
class Fitted:
    """An encoder with a head that have learnt, and how.

    Attributes:
        backbone: The encoder, plain again: nothing of how it was trained is left.
        head: Maps its embeddings to outputs.
        target: What these mean.
        checks: Validation scores on the way.
        steps: Optimiser steps done.
        best: Step that the weights are from.
        seconds: Time that it took.
        trained: Number of weights that learnt.
        note: What a reader should know, or None.
        interrupted: Name of the signal that stopped it, or None.
    """

    backbone: Backbone
    head: Head
    target: Target
    checks: tuple[Check, ...]
    steps: int
    best: int
    seconds: float
    trained: int
    note: str | None
    interrupted: str | None


def fit(
    backbone: Backbone,
    spec: Modality,
    labels: Labels,
    settings: FitSettings,
    *,
    optimizer: str = "adamw",
    precision: str = "auto",
    seed: int = 0,
    name: str = "fine-tuning",
    stoppable: bool = False,
    observe: Observer | None = None,
) -> Fitted:
    """Learn to predict labels, and stop early by a validation part of the samples.

    The head is first fitted to the embeddings as they are; these weights are the ones to beat.

    Args:
        backbone: The encoder; it is changed and becomes a part of the result.
        spec: Reads and scales the samples.
        labels: Training samples.
        settings: How long and how fast.
        optimizer: Of the encoder's matrices, "adamw" or "muon": best the one that they were
            pretrained with (Liu et al., 2025, arXiv:2502.16982, section 3.5.2).
        precision: "float32", "bfloat16" or "auto", as in pretraining.
        seed: Of the validation part, order and dropout. Same seed and steps, same result.
        name: For messages and `observe`.
        stoppable: Whether a signal ends it after the current step, with the best weights so far;
            otherwise a signal does what it always does.
        observe: Called after each step.

    Raises:
        ConfigError: If a setting does not fit the encoder or the data.
        DataError: If a sample does not fit the spec.
        TrainingError: If the loss is not finite.
    """
    inside, watched, note = watch(
        labels.y, labels.task, share=settings.validation, groups=labels.groups, seed=seed
    )
    if note is not None and settings.minutes is settings.epochs is settings.steps is None:
        settings = replace(settings, steps=UNWATCHED_STEPS)
    learner = _Learner(
        backbone,
        spec,
        labels.part(inside),
        labels.part(watched) if len(watched) else None,
        settings,
        optimizer=optimizer,
        precision=precision,
        seed=seed,
    )
    found = learner.learn(name, Interrupt(active=stoppable), observe)
    if note is not None:
        note += f"; {name} took {found.steps} steps and kept the last weights"
    elif found.interrupted is None and _unfinished(found, learner.total):
        note = f"{name} still became better when its budget ended: a longer one would be fairer"
    best = "" if note and not found.checks else f", best at step {found.best}"
    log.info("%s: %d steps in %.0f s%s", name, found.steps, found.seconds, best)
    return replace(found, note=note)


def _unfinished(found: Fitted, total: int | None) -> bool:
    """Whether the last check of a whole budget was the best one by its score."""
    *before, last = [check.score for check in found.checks]
    whole = total is None or found.steps == total
    return whole and len(before) > 0 and found.best == found.steps and last > max(before)


class _Learner:
    """All that changes from step to step."""

    def __init__(
        self,
        backbone: Backbone,
        spec: Modality,
        inside: Labels,
        watched: Labels | None,
        settings: FitSettings,
        *,
        optimizer: str,
        precision: str,
        seed: int,
    ):
        self.backbone, self.spec, self.settings = backbone, spec, settings
        self.watched, self.device = watched, next(backbone.parameters()).device
        self.target = Target.of(inside.task, inside.y)
        self.wanted = self.target.encode(inside.y).to(self.device)
        width = spec.embedding_width(backbone.tokenizer.width)
        self.head = Head(width, self.target.outputs, dropout=settings.dropout)
        self._begin(inside, seed)
        choose_trained(
            backbone, settings.how, blocks=settings.blocks, rank=settings.rank, seed=seed
        )
        self.model = nn.ModuleDict({"backbone": backbone, "head": self.head})
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.batches = LabelledBatches(
            spec, inside.records, batch_size=_batch_size(settings, spec, inside.records), seed=seed
        )
        self.train_settings = settings.training(optimizer, precision)
        self.optimizer = self._optimizer()
        self.pooling = Pooling.of(spec, self.device)
        self.rng = torch.Generator(self.device).manual_seed(seed)
        self.total = _total(settings, self.batches.per_pass)
        self.step, self.seconds, self.best_step = 0, 0.0, 0
        self.checks: list[Check] = []
        self.best: tuple[float, float] | None = None
        self.kept: list[Tensor] = []
        self.since_best = 0

    def _begin(self, inside: Labels, seed: int) -> None:
        watched = None
        if self.watched is not None:
            watched = self.embed(self.watched), self.watched.y
        rng = np.random.default_rng([seed, 5])
        self.head.begin(self.target, self.embed(inside), inside.y, watched, rng)
        self.head.to(self.device)

    def embed(self, labels: Labels) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Embed samples with the weights as they are, (S, F)."""
        return embed_samples(self.backbone, self.spec, labels.records)

    def _optimizer(self) -> Together:
        """Return one optimiser of two speeds: see `FitSettings.encoder_rate`."""
        low_rank = self.settings.how == "lora"
        # To make the singular values of a low-rank factor's step equal has no meaning.
        settings = self.train_settings
        own = replace(settings, optimizer="adamw") if low_rank else settings
        encoder, head = make_optimizer(self.backbone, own), make_optimizer(self.head, settings)
        for part, factor in ((encoder, 1 if low_rank else self.settings.encoder_rate), (head, 1)):
            for group in part.param_groups:
                group["factor"] = factor
        return Together([*encoder.parts, *head.parts])

    @property
    def done(self) -> float:
        """Share of the budget that is used, between 0 and 1."""
        if self.total is not None:
            return min(1.0, self.step / self.total)
        assert self.settings.minutes is not None
        return min(1.0, self.seconds / (60 * self.settings.minutes))

    def learn(self, name: str, interrupt: Interrupt, observe: Observer | None) -> Fitted:
        """Learn until the budget is used, nothing becomes better, or a signal asks to stop."""
        since, number = time.monotonic(), 0
        stream = self.batches.start(0, self.device)
        self.check()
        next_check = 1
        num_checks = self._num_checks()
        with interrupt, contextlib.closing(stream):
            while self.done < 1 and interrupt.signal is None:
                self.advance(next(stream), number)
                number += 1
                self.seconds = time.monotonic() - since
                if self.done >= min(1.0, next_check / num_checks):
                    next_check = int(self.done * num_checks) + 1
                    self.check()
                    if self.since_best >= self.settings.patience:
                        break
                if observe is not None:
                    observe(name, self.done, self.checks[-1].score if self.checks else None)
        self._restore()
        merge(self.backbone)
        self.backbone.requires_grad_(True).eval()
        return Fitted(
            backbone=self.backbone,
            head=self.head.eval(),
            target=self.target,
            checks=tuple(self.checks),
            steps=self.step,
            best=self.best_step if self.checks else self.step,
            seconds=time.monotonic() - since,
            trained=sum(p.numel() for p in self.trained),
            note=None,
            interrupted=interrupt.signal,
        )

    def _num_checks(self) -> int:
        if self.total is None:
            return FEWEST_CHECKS
        passes = self.total // self.batches.per_pass
        return max(FEWEST_CHECKS, min(MOST_CHECKS, passes))

    def advance(self, batch: Batch, number: int) -> None:
        """Take one optimiser step.

        Raises:
            TrainingError: If the loss is not finite.
        """
        # The middle of the coming step, so that no step has rate 0.
        progress = self.done if self.total is None else (self.step + 0.5) / self.total
        for group in self.optimizer.param_groups:
            group["lr"] = rate(self.train_settings, progress) * group["factor"]
        self.optimizer.zero_grad(set_to_none=True)
        self.backbone.train()
        loss = self.loss(batch, number)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_grad_norm_(self.trained, self.train_settings.clip)
        if not bool(torch.isfinite(loss) & torch.isfinite(norm)):
            raise TrainingError(
                f"Finetune.loss must be finite; got {loss.item():g} at step {self.step}. A "
                f"lower lr (now {self.settings.lr:g}) would do."
            )
        self.optimizer.step()
        self.step += 1

    def loss(self, batch: Batch, number: int) -> Tensor:
        """Return the mean loss of the n-th batch."""
        wanted = self.wanted[torch.from_numpy(self.batches.samples(number)).to(self.device)]
        width = self.backbone.tokenizer.width
        with autocast(self.train_settings.precision, self.device.type, width):
            features = self.pooling.features(
                self.backbone, batch, self.batches.owner(number), self.rng
            )
        return self.target.loss(self.head(features, self.rng), wanted)

    def check(self) -> None:
        """Judge the validation samples, and keep the weights if they were never better."""
        if self.watched is None:
            return
        outputs = self.head.outputs(self.embed(self.watched))
        # Few samples have few different scores: of equal ones the lower loss is better.
        rank = self.target.rank(outputs, self.watched.y)
        self.checks.append(Check(self.step, rank[0], -rank[1]))
        self.since_best += 1
        if self.best is None or rank > self.best:
            self.best, self.best_step, self.since_best = rank, self.step, 0
            self.kept = [p.detach().clone() for p in self.trained]

    @torch.no_grad()
    def _restore(self) -> None:
        for parameter, value in zip(self.trained, self.kept, strict=bool(self.kept)):
            parameter.copy_(value)


def _batch_size(settings: FitSettings, spec: Modality, records: Records) -> int:
    num = len(records)
    if settings.batch_size != "auto":
        if int(settings.batch_size) > num:
            raise ConfigError(
                f"Finetune.batch_size must be at most the number of samples that are learnt from; "
                f"got {settings.batch_size} for {num}. {num} or 'auto' would do."
            )
        return int(settings.batch_size)
    _, owner = spec.unfold(records)
    pieces = 1 if owner is None else min(PIECES, -(-len(owner) // num))
    return auto_batch_size(num, spec.num_tokens * pieces)


def _total(settings: FitSettings, per_pass: int) -> int | None:
    if settings.epochs is not None:
        return settings.epochs * per_pass
    if settings.minutes is not None:
        return None
    return settings.steps or DEFAULT_STEPS
