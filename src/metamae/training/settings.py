"""Settings of a training run."""

from dataclasses import dataclass

from metamae.core.checks import check_at_least, check_between, check_flag, check_one_of
from metamae.errors import ConfigError
from metamae.training.device import PRECISIONS

BUDGETS = ("steps", "minutes", "epochs")
"""Settings of which a run has one: another takes its place."""

DEFAULT_STEPS = 2000
MOST_SAMPLES = 256  # of a batch, where its size is chosen automatically


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How long and how fast to learn.

    At most one of `steps`, `minutes` and `epochs`; without any, 2,000 steps.

    Args:
        steps: Optimiser steps.
        minutes: Time to train, checks and checkpoints included.
        epochs: Passes over the training data.
        batch_size: Samples of a step, or "auto"; see `auto_batch_size`.
        group_by_length: Whether a batch has samples of like length, where lengths differ and are
            known without decoding: less of it is padding.
        optimizer: "muon" for the matrices of the blocks and AdamW for the rest, or "adamw".
        lr: Highest learning rate.
        weight_decay: Of matrices, and not of norms, biases and tokens.
        warmup: Share of the run over which the rate rises from 0.
        schedule: What follows: "cosine" down to 0, or "constant".
        clip: Largest norm of the gradient.
        holdout: Share of the training data that is kept for the label-free checks, at most
            1,024 samples; none of fewer than 50.
        log_every: Steps between lines of the log.
        check_every: Steps between label-free checks on held-out samples.
        checkpoint_every: Steps between checkpoints.
        keep: Checkpoints kept on disk.
        patience: Steps in a row with a non-finite loss before rolling back.
        workers: Processes that read batches, 0 for a thread, or "auto": a thread where reading is
            copying, processes where files are decoded.
        precision: "float32", "bfloat16", or "auto" for the faster: bfloat16 on a GPU, and for
            networks at least 128 wide on a CPU with a unit for it (AMX).
        compile: Whether to compile the encoder's blocks, which takes time at first.

    Raises:
        ConfigError: If a value is refused.
    """

    steps: int | None = None
    minutes: float | None = None
    epochs: int | None = None
    batch_size: int | str = "auto"
    group_by_length: bool = True
    optimizer: str = "muon"
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    schedule: str = "cosine"
    clip: float = 1.0
    holdout: float = 0.05
    log_every: int = 20
    check_every: int = 200
    checkpoint_every: int = 500
    keep: int = 2
    patience: int = 5
    workers: int | str = "auto"
    precision: str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        infinite = float("inf")
        budgets = {k: getattr(self, k) for k in BUDGETS}
        given = {k: v for k, v in budgets.items() if v is not None}
        if len(given) > 1:
            raise ConfigError(
                f"Train must have one budget of steps, minutes and epochs; got {given}. Leave "
                f"{' or '.join(given)} out."
            )
        for name in ("steps", "epochs"):
            if name in given:
                check_at_least(f"Train.{name}", given[name], 1)
        if "minutes" in given:
            check_between("Train.minutes", given["minutes"], 0, infinite)
        if self.batch_size != "auto":
            if isinstance(self.batch_size, str):
                raise ConfigError(
                    f"Train.batch_size must be 'auto' or a whole number of at least 2; got "
                    f"{self.batch_size!r}. 64 would do."
                )
            check_at_least("Train.batch_size", self.batch_size, 2)
        check_between("Train.lr", self.lr, 0, infinite)
        check_between("Train.clip", self.clip, 0, infinite)
        check_between("Train.weight_decay", self.weight_decay, 0, infinite, closed=True)
        check_between("Train.warmup", self.warmup, 0, 1, closed=True)
        check_between("Train.holdout", self.holdout, 0, 0.5, closed=True)
        for name in ("log_every", "check_every", "checkpoint_every", "keep", "patience"):
            check_at_least(f"Train.{name}", getattr(self, name), 1)
        if self.workers != "auto":
            if isinstance(self.workers, str):
                raise ConfigError(
                    f"Train.workers must be 'auto' or a whole number; got {self.workers!r}. 0 "
                    f"would do."
                )
            check_at_least("Train.workers", self.workers, 0)
        check_one_of("Train.optimizer", self.optimizer, ["adamw", "muon"])
        check_one_of("Train.schedule", self.schedule, ["cosine", "constant"])
        check_flag("Train.compile", self.compile)
        check_flag("Train.group_by_length", self.group_by_length)
        check_one_of("Train.precision", self.precision, PRECISIONS)


def auto_batch_size(num_samples: int, num_tokens: int) -> int:
    """Choose a batch size: a power of two of about 16,000 tokens, between 16 and 256.

    Small data get small batches, at least 16 of them to a pass, since a few large ones would
    make few steps; there are never more samples in a batch than there are.
    """
    fitting = min(MOST_SAMPLES, 16384 // max(num_tokens, 1), num_samples // 16)
    power: int = 2 ** (max(16, fitting).bit_length() - 1)
    return min(power, num_samples)
