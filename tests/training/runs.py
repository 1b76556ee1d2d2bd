"""Runs in memory, small enough to take many of."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conftest import walks
from metamae.data.bad_samples import Bad
from metamae.data.records import Records
from metamae.methods.base import Method
from metamae.modalities.base import Modality
from metamae.modalities.grid.grid import Grid
from metamae.model.tokens import Batch, Step
from metamae.run.build import Network, build_method
from metamae.training.batches import Batches
from metamae.training.loop import Run
from metamae.training.settings import TrainSettings

CPU = torch.device("cpu")
NETWORK = Network(
    width=16, depth=1, heads=2, dropout=0.1, decoder_width=8, decoder_depth=1, decoder_heads=2
)


def series(num: int = 40) -> tuple[Modality, Records]:
    records = Records({"X": walks(num, 2, 16)}, "walks")
    spec, _ = Grid.infer(records, np.random.default_rng(0), axes=1, cell=2)
    return spec, records


def make_method(spec: Modality, name: str = "metamae", **settings: Any) -> Method:
    return build_method(
        spec,
        NETWORK,
        method=name,
        method_settings=settings,
        masking="random",
        masking_settings={"ratio": 0.5},
        seed=0,
    )


def make_run(
    folder: Path | None = None,
    *,
    read: Callable[[int, Batch], Batch] | None = None,
    resume: bool = False,
    method: str = "metamae",
    **settings: Any,
) -> Run:
    """Make a run over 32 series and 8 held-out ones; `read` may spoil the n-th batch."""
    spec, records = series()
    train, held_out = records.subset(np.arange(32)), spec.batch(records, np.arange(32, 40))
    batches = Batches(spec, train, batch_size=8, seed=0)
    if read is not None:
        whole = batches._read

        def spoilt(number: int) -> tuple[Batch, list[Bad]]:
            batch, bad = whole(number)
            return read(number, batch), bad

        batches._read = spoilt  # type: ignore[method-assign]
    chosen = TrainSettings(**{"steps": 6, "log_every": 1, "warmup": 0.0, **settings})
    return Run(
        make_method(spec, method),
        batches,
        [held_out],
        chosen,
        total=chosen.steps,
        device=CPU,
        seed=0,
        folder=folder,
        resume=resume,
    )


def weights(run: Run) -> dict[str, Tensor]:
    """Copy a run's weights and buffers."""
    return {k: v.clone() for k, v in run.method.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Say whether two states hold the same bits."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def poison(run: Run, calls: Iterable[int], spoil: Callable[[Run, Step], Tensor]) -> None:
    """Replace the loss of some calls of the method in training, counted from 1."""
    method, chosen, count = run.method, set(calls), 0
    whole = method.forward

    def forward(batch: Batch, rng: torch.Generator) -> Step:
        nonlocal count
        step = whole(batch, rng)
        if not method.training:
            return step
        count += 1
        return Step(spoil(run, step), step.logs) if count in chosen else step

    method.forward = forward  # type: ignore[method-assign]


def nan_loss(run: Run, step: Step) -> Tensor:
    return step.loss * float("nan")


def nan_gradient(run: Run, step: Step) -> Tensor:
    """A finite loss whose gradient is not: the square root of zero."""
    (some, *_) = run.method.parameters()
    return step.loss + (some * 0).abs().sum().sqrt()
