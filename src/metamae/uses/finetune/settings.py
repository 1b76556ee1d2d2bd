"""How long and how fast to learn from labels."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from metamae.core.checks import check_at_least, check_between, check_one_of
from metamae.core.registry import did_you_mean
from metamae.errors import ConfigError
from metamae.training.settings import BUDGETS, TrainSettings
from metamae.uses.finetune.adapters import HOW

DEFAULT_STEPS = 500
# Without samples to stop by, so many steps if no budget is given: about what few labels can stand.
UNWATCHED_STEPS = 100


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """Settings of a fine-tuning.

    At most one of `steps`, `minutes` and `epochs`; without any, 500 steps, or 100 where there are
    too few labels to stop early by.

    Args:
        how: What learns: "full", "last" or "lora"; see `choose_trained`.
        blocks: Of "last".
        rank: Of "lora".
        steps: Optimiser steps at most.
        minutes: Time to train at most, checks included.
        epochs: Passes over the training samples at most.
        batch_size: Samples of a step, or "auto" as in pretraining.
        lr: Highest learning rate of the head and of low-rank matrices.
        encoder_rate: Rate of the encoder's own weights as a share of `lr`: the head has to follow
            what they do, and what was learnt without labels is not to be washed out.
        weight_decay: Of matrices.
        warmup: Share of the run over which the rate rises from 0; then it falls as a cosine.
        dropout: Share of the embedding's values dropped before the head, while learning.
        validation: Share of the labelled training samples that early stopping watches.
        patience: Checks without a better validation score before stopping.

    Raises:
        ConfigError: If a value is refused.
    """

    how: str = "full"
    blocks: int = 2
    rank: int = 8
    steps: int | None = None
    minutes: float | None = None
    epochs: int | None = None
    batch_size: int | str = "auto"
    lr: float = 1e-3
    encoder_rate: float = 0.3
    weight_decay: float = 0.05
    warmup: float = 0.1
    dropout: float = 0.1
    validation: float = 0.2
    patience: int = 10

    def __post_init__(self) -> None:
        check_one_of("Finetune.how", self.how, HOW)
        check_at_least("Finetune.blocks", self.blocks, 1)
        check_at_least("Finetune.rank", self.rank, 1)
        given = {k: getattr(self, k) for k in BUDGETS if getattr(self, k) is not None}
        if len(given) > 1:
            raise ConfigError(
                f"Finetune must have one budget of steps, minutes and epochs; got {given}. Leave "
                f"{' or '.join(given)} out."
            )
        for name in ("steps", "epochs"):
            if name in given:
                check_at_least(f"Finetune.{name}", given[name], 1)
        infinite = float("inf")
        if "minutes" in given:
            check_between("Finetune.minutes", given["minutes"], 0, infinite)
        if self.batch_size != "auto":
            check_at_least("Finetune.batch_size", self.batch_size, 1)  # type: ignore[arg-type]
        check_between("Finetune.lr", self.lr, 0, infinite)
        check_between("Finetune.encoder_rate", self.encoder_rate, 0, infinite)
        check_between("Finetune.weight_decay", self.weight_decay, 0, infinite, closed=True)
        check_between("Finetune.warmup", self.warmup, 0, 1, closed=True)
        check_between("Finetune.dropout", self.dropout, 0, 0.9, closed=True)
        check_between("Finetune.validation", self.validation, 0, 0.5, closed=True)
        check_at_least("Finetune.patience", self.patience, 1)

    @classmethod
    def chosen(cls, values: Mapping[str, Any]) -> "FitSettings":
        """Take settings by name; those that are None keep their default.

        Raises:
            ConfigError: If a name is unknown or a value refused.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(
                    f"Unknown setting of a fine-tuning {name!r}.{did_you_mean(name, known)}"
                )
        return cls(**{k: v for k, v in values.items() if v is not None})

    def training(self, optimizer: str, precision: str) -> TrainSettings:
        """Return what an optimiser and the course of the rate need to know."""
        return TrainSettings(
            optimizer=optimizer,
            precision=precision,
            lr=self.lr,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
        )
