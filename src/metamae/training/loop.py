"""The training loop."""

import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_

from metamae.errors import ArtifactError, TrainingError
from metamae.methods.base import Method
from metamae.model.tokens import Batch
from metamae.training import checkpoint
from metamae.training.batches import Batches, to_device
from metamae.training.checkpoint import Progress, State
from metamae.training.device import Flag, autocast, compile_blocks, freed_memory_kept
from metamae.training.health import effective_rank, keep_batch, spread
from metamae.training.interrupt import Interrupt
from metamae.training.log import MetricsLog
from metamae.training.optimizer import make_optimizer, rate
from metamae.training.settings import TrainSettings

MOST_ROLLBACKS = 3
LAG = {"cuda": 1}
"""Steps by type of device that are computed before their losses are looked at. Elsewhere none: the
host computes itself and has nothing to wait for."""
LEAST = 1e-4
"""Share of a run of limited time that its first step counts as."""
Observer = Callable[[Progress, float, dict[str, Any]], None]
"""Called after each step with progress, the share of the run that is done, and new metrics."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        progress: Where it stands.
        interrupted: Name of the signal that stopped it, or None if it is done.
        health: The last label-free check.
    """

    progress: Progress
    interrupted: str | None
    health: dict[str, float]


@dataclass(frozen=True)
class Taken:
    """A step that was computed, or is being computed on a device.

    Attributes:
        batch: What it learnt from.
        drawn: Number of that batch in the run, counted from 1.
        fine: Whether loss and gradient are finite, (). If not, nothing was learnt.
        counted: The same, to be looked at.
        logs: Its scalars.
    """

    batch: Batch
    drawn: int
    fine: torch.Tensor
    counted: Flag
    logs: dict[str, torch.Tensor]


class Run:
    """A training run in memory: all that changes from step to step, and how to go on.

    Args:
        method: What to train, on the device.
        batches: Training samples.
        held_out: Samples for the label-free checks, in batches.
        settings: How long and how fast.
        total: Optimiser steps of the whole run; None if its time is limited instead.
        device: Where to compute.
        seed: Of masks and dropout.
        folder: Where checkpoints, metrics and bad batches go; None to write nothing.
        tensorboard: Whether to write TensorBoard files too.
        resume: Whether to go on from the newest checkpoint of the folder.
    """

    def __init__(
        self,
        method: Method,
        batches: Batches,
        held_out: list[Batch],
        settings: TrainSettings,
        *,
        total: int | None,
        device: torch.device,
        seed: int,
        folder: Path | None = None,
        tensorboard: bool = False,
        resume: bool = False,
    ):
        self.method, self.batches, self.held_out = method, batches, held_out
        self.settings, self.total, self.device, self.seed = settings, total, device, seed
        self.folder = folder
        self.optimizer = make_optimizer(method, settings)
        self.rng = torch.Generator(device).manual_seed(seed)
        self.progress, self.window = Progress(), Window()
        # What a forward pass changes, such as BatchNorm's running statistics.
        lasting = method.state_dict(keep_vars=True)
        self.buffers = [b for name, b in method.named_buffers() if name in lasting]
        self.health: dict[str, float] = {}
        self.bad = 0  # batches skipped in a row
        self.lag = LAG.get(device.type, 0)
        self.waiting: deque[Taken] = deque()  # steps whose losses were not looked at yet
        last = checkpoint.latest(folder / "checkpoints") if folder and resume else None
        if last is not None:
            self.go_on(last)
        if settings.compile:
            compile_blocks(method.backbone.encoder)
        self.good: State = checkpoint.capture(method, self.optimizer, self.rng)
        self.log = None
        if folder is not None:
            board = folder / "tensorboard" if tensorboard else None
            path = folder / "metrics.jsonl"
            step, drawn = self.progress.step, self.progress.drawn
            self.log = MetricsLog(path, step=step, drawn=drawn, tensorboard=board)

    def go_on(self, path: Path) -> None:
        """Take over the state of a checkpoint.

        Raises:
            ArtifactError: If it is damaged or of another run.
        """
        state, self.progress = checkpoint.load(path)
        try:
            checkpoint.restore(state, self.method, self.optimizer, self.rng)
            self.window.load(state)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ArtifactError(
                f"{path} must be a checkpoint of this run; got: {reason}. Remove it to go on from "
                f"the one before."
            ) from error

    @property
    def done(self) -> float:
        """Share of the budget that is used, between 0 and 1."""
        if self.total is not None:
            return min(1.0, (self.progress.step + len(self.waiting)) / self.total)
        assert self.settings.minutes is not None
        return min(1.0, self.progress.seconds / (60 * self.settings.minutes))

    def train(self, observe: Observer | None = None) -> Outcome:
        """Learn until the budget is used or a signal asks to stop.

        Raises:
            TrainingError: If the loss stays non-finite whatever is tried.
            ArtifactError: If a checkpoint cannot be written.
        """
        finished = self.done >= 1
        since = time.monotonic() - self.progress.seconds
        stream = self.batches.start(self.progress.drawn, self.device)
        self.method.train()
        # Without a folder there is nothing to save: a signal then does what it always does.
        with (
            Interrupt(active=self.folder is not None) as interrupt,
            contextlib.closing(stream),
            freed_memory_kept(),
        ):
            while self.done < 1 and interrupt.signal is None:
                line = self.advance(next(stream), since)
                if line is not None and observe is not None:
                    observe(self.progress, self.done, line)
            self.settle()
            if self.folder is not None and not finished:
                self.save()
        if self.log is not None:
            self.log.close()
        # A signal that came when nothing was left to do has stopped nothing.
        stopped = None if self.done >= 1 else interrupt.signal
        return Outcome(progress=self.progress, interrupted=stopped, health=self.health)

    def advance(self, batch: Batch, since: float) -> dict[str, Any] | None:
        """Learn from a batch; return what was logged, or None if no step was counted.

        To look at a loss is to wait for the device. What is written down needs that; other steps
        are looked at when the next is on its way.
        """
        settings, progress = self.settings, self.progress
        progress.drawn += 1
        taken = self.step(batch)
        self.waiting.append(taken)
        self.method.after_update(self.done, taken.fine)
        progress.seconds = time.monotonic() - since
        ahead = progress.step + len(self.waiting)
        every = (settings.log_every, settings.check_every, settings.checkpoint_every)
        due = self.done >= 1 or any(ahead % one == 0 for one in every)
        if not self.settle(0 if due else self.lag):
            return None
        line: dict[str, Any] = {}
        if progress.step % settings.log_every == 0 or self.done >= 1:
            line |= self.window.close(progress.seconds)
        if progress.step % settings.check_every == 0 or self.done >= 1:
            self.health = self.check()
            line |= self.health
        if line:
            self.write(line)
        if progress.step % settings.checkpoint_every == 0 and self.done < 1:
            self.save()
        return line

    def settle(self, leave: int = 0) -> bool:
        """Look at the losses of all steps but the newest few; say whether the last was counted."""
        counted = False
        while len(self.waiting) > leave:
            taken = self.waiting.popleft()
            counted = bool(taken.counted)
            if counted:
                self.bad = 0
                self.progress.step += 1
                self.window.add(taken.logs, len(next(iter(taken.batch.values()))))
            else:
                self.skip(taken)
        return counted

    def step(self, batch: Batch) -> Taken:
        """Take one optimiser step, which changes nothing if its loss is not finite."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate(self.settings, self.next_done)
        self.optimizer.zero_grad(set_to_none=True)
        before = [buffer.clone() for buffer in self.buffers]
        self.method.before_update(self.next_done)
        with self.autocast():
            step = self.method(batch, self.rng)
        step.loss.backward()
        norm = clip_grad_norm_(self.method.parameters(), self.settings.clip)
        # A finite loss with a non-finite gradient would poison the weights all the same.
        fine = torch.isfinite(step.loss.detach()) & torch.isfinite(norm)
        for buffer, old in zip(self.buffers, before, strict=True):
            buffer.copy_(torch.where(fine, buffer, old))
        self.optimizer.step(fine)
        logs = {"loss": step.loss.detach(), "gradient": norm.detach(), **step.logs}
        return Taken(batch, self.progress.drawn, fine, Flag(fine), logs)

    @property
    def next_done(self) -> float:
        """Share of the run at the end of the coming step, so that no step has rate 0."""
        if self.total is None:
            return max(self.done, LEAST)
        return (self.progress.step + len(self.waiting) + 0.5) / self.total

    def skip(self, taken: Taken) -> None:
        """Keep a batch whose loss is not finite, and roll back after several in a row."""
        if self.folder is not None:
            keep_batch(self.folder / "nonfinite", taken.drawn, taken.batch)
        self.bad += 1
        self.write({"drawn": taken.drawn, "skipped": self.bad})
        if self.bad < self.settings.patience:
            return
        self.bad = 0
        self.progress.rollbacks += 1
        if self.progress.rollbacks > MOST_ROLLBACKS:
            raise TrainingError(
                f"Train.loss must be finite; got {self.settings.patience} non-finite losses in a "
                f"row after {MOST_ROLLBACKS} rollbacks, at step {self.progress.step}. A lower lr "
                f"(now {self.settings.lr:g}) or inner_lr would do; the batches are kept in the "
                f"run folder."
            )
        self.waiting.clear()  # steps from weights that are given up
        checkpoint.restore(self.good, self.method, self.optimizer, None)
        self.write({"drawn": self.progress.drawn, "rollbacks": self.progress.rollbacks})

    def check(self) -> dict[str, float]:
        """Judge the method on held-out samples, always with the same masks and no dropout."""
        if not self.held_out:
            return {}
        rng = torch.Generator(self.device).manual_seed(self.seed)
        features, logs = [], Window()
        self.method.eval()
        with torch.no_grad(), self.autocast():
            for batch in self.held_out:
                moved = to_device(batch, self.device)
                features.append(self.method.backbone.features(moved).float())
                step = self.method(moved, rng)
                logs.add({"loss": step.loss, **step.logs}, len(features[-1]))
        self.method.train()
        whole = torch.cat(features)
        found = {f"held_out_{k}": v for k, v in logs.means().items()}
        return {**found, "effective_rank": effective_rank(whole), "feature_std": spread(whole)}

    def save(self) -> None:
        """Remember the state for a rollback, and write it down."""
        self.good = checkpoint.capture(self.method, self.optimizer, self.rng)
        if self.folder is not None:
            folder = self.folder / "checkpoints"
            state = self.good | self.window.state()
            checkpoint.save(folder, state, self.progress, self.settings.keep)

    def write(self, line: dict[str, Any]) -> None:
        """Add a line to the log."""
        if self.log is not None:
            seconds = round(self.progress.seconds, 3)
            self.log.write({"step": self.progress.step, "seconds": seconds, **line})

    def autocast(self) -> torch.autocast:
        """Compute in the precision that the settings ask for."""
        width = self.method.backbone.tokenizer.width
        return autocast(self.settings.precision, self.device.type, width)


SUMS, COUNTS = "window/sums/", "window/counts/"  # of a window, in a checkpoint


class Window:
    """Means of logged scalars over some steps, weighted by samples, without waiting for each."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.counts: Counter[str] = Counter()  # samples by scalar: not every step has all
        self.samples = 0
        self.started: float | None = None

    def add(self, logs: dict[str, torch.Tensor], samples: int) -> None:
        """Add the scalars of a step over `samples` samples."""
        for key, value in logs.items():
            weighted = value.detach().double() * samples
            self.sums[key] = self.sums[key] + weighted if key in self.sums else weighted
            self.counts[key] += samples
        self.samples += samples

    def means(self) -> dict[str, float]:
        """Return the means so far."""
        return {k: float(v) / self.counts[k] for k, v in self.sums.items()}

    def close(self, seconds: float) -> dict[str, float]:
        """Return the means and samples per second since the last call, and start anew."""
        found = self.means()
        if self.started is not None and seconds > self.started:
            found["samples_per_second"] = round(self.samples / (seconds - self.started), 2)
        self.sums, self.counts = {}, Counter()
        self.samples, self.started = 0, seconds
        return found

    def state(self) -> State:
        """Return what `load` needs, so that a resumed run writes the line of an unbroken one."""
        started = math.nan if self.started is None else self.started
        counters = torch.tensor([self.samples, started], dtype=torch.float64)
        sums = {f"{SUMS}{k}": v.cpu() for k, v in self.sums.items()}
        counts = {f"{COUNTS}{k}": torch.tensor(v) for k, v in self.counts.items()}
        return {"window/counters": counters, **sums, **counts}

    def load(self, state: State) -> None:
        """Undo `state`."""
        samples, started = state["window/counters"].tolist()
        self.samples, self.started = int(samples), None if math.isnan(started) else started
        self.sums = {k.removeprefix(SUMS): v for k, v in state.items() if k.startswith(SUMS)}
        self.counts = Counter({k: int(state[f"{COUNTS}{k}"]) for k in self.sums})
