"""Learn an encoder from unlabelled data."""

import contextlib
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metamae.core.checks import check_at_least
from metamae.core.version import VERSION
from metamae.data.bad_samples import Aside
from metamae.data.columns.indexing import AllBut
from metamae.data.records import Records
from metamae.encoder.pretrained import Pretrained, pick_device
from metamae.errors import ConfigError, DataError
from metamae.modalities.base import Modality
from metamae.model.attention import kernel
from metamae.model.tokens import Batch
from metamae.run.config import Choices, Config, choose, resolve
from metamae.run.folder import (
    begin_run,
    build_from,
    claim,
    fingerprint,
    read_run,
    read_set_aside,
    save_model,
    write_set_aside,
)
from metamae.run.resume import check_same
from metamae.run.screening import MOST_LOOKED_AT, vet, without_samples
from metamae.schema.file import read_schema_file
from metamae.schema.schema import Schema
from metamae.training.batches import Batches, read_good
from metamae.training.device import choose_precision
from metamae.training.loop import Observer, Outcome, Run
from metamae.training.order import blocks_of_records
from metamae.training.settings import DEFAULT_STEPS, MOST_SAMPLES, TrainSettings

log = logging.getLogger("metamae")
MOST_HELD_OUT = 1024
MOST_CHECKED = 2**16
"""Tokens of the held-out samples on which a check is made, if they are as long as the longest: the
checks of long samples would take as long as the steps between them."""
FEWEST_CHECKED = 64  # samples, however long they are
FEWEST_TO_HOLD_OUT = 50
LEAST_SEARCHED, MOST_SEARCHED = 10.0, 0.1
"""Of a run of so many minutes, the share that may be spent on looking for bad samples first, and
the seconds that are always granted."""


def pretrain(
    data: Any,
    out: str | Path | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    schema: str | Path | None = None,
    ignore: Iterable[str] = (),
    field: str | None = None,
    skip_bad: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    tensorboard: bool = False,
    observe: Observer | None = None,
) -> tuple[Pretrained, Outcome]:
    """Learn an encoder from unlabelled data.

    Args:
        data: The path of a file or folder of any known format, a pattern such as "part-*.parquet"
            or a list of such paths; an array, a DataFrame, a list of strings; or Records.
        out: Folder for the run; None keeps everything in memory.
        settings: Any setting by name: method, masking, size, modality, seed, steps, minutes, lr,
            inner_lr, ratio, cell, ... (`metamae list` and the README name them).
        schema: A file that `inspect` wrote, edited or not: which fields are input, and how.
        ignore: Fields that are no input, e.g. labels.
        field: The one field that is input.
        skip_bad: How many bad samples may be set aside; they are listed in the run's folder.
        resume: Go on with the run in `out` if there is one; its settings are taken over.
        overwrite: Remove the run in `out` if there is one.
        device: "cpu", "cuda", or "auto".
        tensorboard: Write TensorBoard files too.
        observe: Called after each step.

    Returns:
        The encoder, and how the run ended.

    Raises:
        ConfigError: If a setting is unknown or refused.
        DataError: If the data cannot be read or learnt from; more bad samples than allowed are
            listed.
        ArtifactError: If `out` is taken, or cannot be written.
        TrainingError: If the loss stays non-finite, or a process that reads samples is ended.
    """
    folder = None if out is None else Path(out)
    _check_asked(folder, resume, overwrite, skip_bad)
    declared = None if schema is None else read_schema_file(schema)
    given = {**(declared.settings() if declared else {}), **(settings or {})}
    choices = choose(Choices(), given)
    where = pick_device(device)
    going_on = folder is not None and claim(folder, overwrite=overwrite, resume=resume)
    began = read_run(folder) if going_on and folder is not None else None
    if began is not None:
        skip_bad = int(began[0].data["skip_bad"])
        choices = replace(choices, reader=began[0].reader, settings=began[0].settings)
    records = choices.read(data, field=field, skip_bad=skip_bad)
    ignore = declared.ignored(records) if declared else list(ignore)
    aside = Aside(skip_bad, list(records.aside))
    if began is not None and folder is not None:
        config, known = began
        aside.add_new(read_set_aside(folder))
        records = without_samples(records, config.data["set_aside"])
        check_same(config, known, records, given, ignore)
    else:
        records, config, known = _plan(records, choices, ignore, where, aside)
    log.info(_first_line(where, config, known.modality))
    for note in known.notes:
        log.info("%s", note)
    batches, held_out = _batches(records, config, known.modality, aside)
    method = build_from(config, known.modality).to(where)
    if folder is not None and not going_on:
        # Now that nothing about settings and data can be refused any more.
        begin_run(folder, config, known)
    _tell_aside(folder, aside)
    run = Run(
        method,
        batches,
        held_out,
        config.train,
        total=total_steps(config.train, batches.per_pass),
        device=where,
        seed=config.seed,
        folder=folder,
        tensorboard=tensorboard,
        resume=going_on,
    )
    outcome = _train(run, folder, observe, aside)
    return Pretrained(method.eval(), known, config, outcome.interrupted is None), outcome


def untrained(
    data: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    ignore: Iterable[str] = (),
    device: str = "auto",
) -> Pretrained:
    """Return the encoder that `pretrain` would begin with: what learning has to beat.

    Args:
        data: Whatever `pretrain` takes.
        settings: Any setting by name, as for `pretrain`; a budget tells the size of the network.
        ignore: Fields that are no input.
        device: "cpu", "cuda", or "auto".

    Raises:
        ConfigError: If a setting is unknown or refused.
        DataError: If the data cannot be read or learnt from.
    """
    choices, where = choose(Choices(), settings or {}), pick_device(device)
    _, config, known = _plan(choices.read(data), choices, ignore, where, Aside(0))
    method = build_from(config, known.modality).to(where)
    return Pretrained(method.eval(), known, config, finished=False)


def _check_asked(folder: Path | None, resume: bool, overwrite: bool, skip_bad: int) -> None:
    if resume and overwrite:
        raise ConfigError(
            "Pretrain must have one of resume and overwrite; got both. Leave one out."
        )
    if resume and folder is None:
        raise ConfigError("Pretrain.resume must come with a folder `out`; got none.")
    check_at_least("Pretrain.skip_bad", skip_bad, 0)


def _train(run: Run, folder: Path | None, observe: Observer | None, aside: Aside) -> Outcome:
    """Learn, and write the weights."""
    if run.done >= 1:
        log.info("nothing left to do: the run has used its whole budget")
    known = len(aside.found)
    outcome = run.train(observe)
    if len(aside.found) > known:
        _tell_aside(folder, aside)
    if folder is not None:
        finished = outcome.interrupted is None
        save_model(folder, run.method, step=outcome.progress.step, finished=finished)
    return outcome


def _plan(
    records: Records,
    choices: Choices,
    ignore: Iterable[str],
    device: torch.device,
    aside: Aside,
) -> tuple[Records, Config, Schema]:
    """Decide everything that a new run needs to know before its first step."""
    train = TrainSettings(**choices.settings.get("train", {}))
    infer = partial(choices.infer, ignore=ignore)
    records, schema = vet(records, infer, aside, **search_limits(train))
    held_out = num_held_out(len(records), train.holdout)
    learnt, _ = split(records.only(schema.modality.columns), held_out, choices.seed)
    pieces, _ = schema.modality.unfold(learnt)
    config = resolve(
        choices,
        schema.modality,
        num_samples=len(pieces),
        device=device.type,
        data={
            "source": records.source,
            "samples": len(records),
            "held_out": held_out,
            "skip_bad": aside.most,
            "set_aside": aside.samples,
            "fingerprint": fingerprint(records, schema.modality),
        },
        version=VERSION,
    )
    return records, config, schema


def search_limits(train: TrainSettings) -> dict[str, Any]:
    """Say how long `vet` may look for bad samples: no more than the training would read."""
    found: dict[str, Any] = {"workers": _workers(train)}
    if train.minutes is not None:
        found["seconds"] = max(LEAST_SEARCHED, MOST_SEARCHED * 60 * train.minutes)
    elif train.epochs is None:
        found["most"] = min(MOST_LOOKED_AT, (train.steps or DEFAULT_STEPS) * MOST_SAMPLES)
    return found


def _workers(train: TrainSettings) -> int | None:
    return None if train.workers == "auto" else int(train.workers)


def _tell_aside(folder: Path | None, aside: Aside) -> None:
    """Say how many samples were set aside, and list them in the run's folder."""
    if not aside.found:
        return
    if folder is None:
        log.warning("%d bad samples were set aside: %s", len(aside.found), aside.found[0])
        return
    path = write_set_aside(folder, aside.found)
    log.warning("%d bad samples were set aside; %s lists them", len(aside.found), path)


def _batches(
    records: Records, config: Config, spec: Modality, aside: Aside
) -> tuple[Batches, list[Batch]]:
    """Return training batches, and the held-out samples in memory."""
    train, held_out = (
        spec.unfold(part)[0]
        for part in split(records.only(spec.columns), config.data["held_out"], config.seed)
    )
    size = int(config.train.batch_size)
    batches = Batches(
        spec,
        train,
        batch_size=size,
        seed=config.seed,
        workers=_workers(config.train),
        aside=aside,
        group_by_length=config.train.group_by_length,
    )
    rng = np.random.default_rng([config.seed, 2])
    most = max(FEWEST_CHECKED, min(MOST_HELD_OUT, MOST_CHECKED // spec.num_tokens))
    return batches, _read_all(spec, held_out.sample(most, rng), size, aside)


def num_held_out(num_samples: int, share: float) -> int:
    """Samples kept for label-free checks: none of fewer than 50, at most 1,024."""
    if num_samples < FEWEST_TO_HOLD_OUT:
        return 0
    return min(MOST_HELD_OUT, round(share * num_samples))


def split(records: Records, held_out: int, seed: int) -> tuple[Records, Records]:
    """Divide samples into those to learn from and those that are held out, in their old order."""
    chosen = np.random.default_rng([seed, 1]).choice(len(records), held_out, replace=False)
    return records.subset(AllBut(len(records), chosen)), records.subset(np.sort(chosen))


def total_steps(settings: TrainSettings, per_pass: int) -> int | None:
    """Optimiser steps of a whole run; None if its time is limited instead."""
    if settings.epochs is not None:
        return settings.epochs * per_pass
    return settings.steps


def _read_all(spec: Modality, records: Records, batch_size: int, aside: Aside) -> list[Batch]:
    if not len(records):
        return []
    # Samples of like length together, so that little is padding; those that are stored in blocks
    # as they stand, or each block would be read many times.
    sizes = None
    with contextlib.suppress(DataError):  # of a bad sample, which is noted when it is read
        sizes = spec.rough_sizes(records) if blocks_of_records(records) is None else None
    positions = np.arange(len(records)) if sizes is None else np.argsort(sizes, kind="stable")
    parts = np.array_split(positions, math.ceil(len(positions) / batch_size))
    # A contrast needs two samples.
    read = [read_good(spec, records, part, aside) for part in parts if len(part) >= 2]
    return [batch for batch in read if len(next(iter(batch.values()))) >= 2]


def _first_line(device: torch.device, config: Config, spec: Modality) -> str:
    precision = choose_precision(config.train.precision, device.type, config.network.width)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    attention = kernel(device.type, 1 + spec.num_tokens, learns=True, twice=False)
    return (
        f"metamae {VERSION} on {name}{threads}; {precision}; {attention} attention over "
        f"{spec.num_tokens} tokens; method {config.method}, size {config.size}, batch "
        f"{config.train.batch_size}"
    )
