"""Learn an encoder from unlabelled data."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metamae import artifact
from metamae.config import Choices, Config, choose, resolve
from metamae.errors import ConfigError, DataError
from metamae.modalities.base import Modality
from metamae.networks.attention import kernel
from metamae.pretrained import Pretrained, pick_device
from metamae.readers import read
from metamae.records import Records
from metamae.schema import KINDS, Schema, infer_schema
from metamae.training.batches import Batches
from metamae.training.loop import Observer, Outcome, Run
from metamae.training.settings import TrainSettings
from metamae.types import Batch
from metamae.version import VERSION

log = logging.getLogger("metamae")
MOST_HELD_OUT = 1024
FEWEST_TO_HOLD_OUT = 50
MOST_LOOKED_AT = 100_000  # samples that are read once before training


def pretrain(
    data: Any,
    out: str | Path | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    ignore: Iterable[str] = (),
    field: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    tensorboard: bool = False,
    observe: Observer | None = None,
) -> tuple[Pretrained, Outcome]:
    """Learn an encoder from unlabelled data.

    Args:
        data: A path of a .npy, .npz, .csv or .parquet file or of a folder of images; an array, a
            DataFrame, a list of strings; or Records.
        out: Folder for the run; None keeps everything in memory.
        settings: Any setting by name: method, masking, size, modality, seed, steps, minutes, lr,
            inner_lr, ratio, cell, ... (`metamae list` and the README name them).
        ignore: Fields that are no input, e.g. labels.
        field: The one field that is input.
        resume: Go on with the run in `out` if there is one; its settings are taken over.
        overwrite: Remove the run in `out` if there is one.
        device: "cpu", "cuda", or "auto".
        tensorboard: Write TensorBoard files too.
        observe: Called after each step.

    Returns:
        The encoder, and how the run ended.

    Raises:
        ConfigError: If a setting is unknown or refused.
        DataError: If the data cannot be read or learnt from.
        ArtifactError: If `out` is taken, or cannot be written.
        TrainingError: If the loss stays non-finite.
    """
    if resume and overwrite:
        raise ConfigError(
            "Pretrain must have one of resume and overwrite; got both. Leave one out."
        )
    folder = None if out is None else Path(out)
    if resume and folder is None:
        raise ConfigError("Pretrain.resume must come with a folder `out`; got none.")
    choices = choose(Choices(), settings or {})
    where = pick_device(device)
    going_on = folder is not None and artifact.claim(folder, overwrite=overwrite, resume=resume)
    records = data if isinstance(data, Records) else read(data, field=field)
    if going_on:
        assert folder is not None
        config, schema = artifact.read_run(folder)
        _check_same(config, schema, records, settings or {}, ignore)
    else:
        config, schema = _plan(records, choices, ignore, where)
    log.info(_first_line(where, config, schema.modality))
    for note in schema.notes:
        log.info("%s", note)
    batches, held_out = _batches(records, config, schema.modality)
    method = artifact.build_from(config, schema.modality).to(where)
    if not going_on:
        _look_ahead(batches, config.train)
        # Now that nothing about settings and data can be refused any more.
        if folder is not None:
            artifact.begin_run(folder, config, schema)
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
    if run.done >= 1:
        log.info("nothing left to do: the run has used its whole budget")
    outcome = run.train(observe)
    finished = outcome.interrupted is None
    if folder is not None:
        artifact.save_model(folder, method, step=outcome.progress.step, finished=finished)
    return Pretrained(method.eval(), schema, config, finished), outcome


def _plan(
    records: Records, choices: Choices, ignore: Iterable[str], device: torch.device
) -> tuple[Config, Schema]:
    """Decide everything that a new run needs to know before its first step."""
    schema = infer_schema(
        records,
        modality=choices.modality,
        ignore=ignore,
        settings=choices.settings.get("modality"),
        seed=choices.seed,
    )
    train = TrainSettings(**choices.settings.get("train", {}))
    held_out = num_held_out(len(records), train.holdout)
    found = artifact.fingerprint(records, schema.modality)
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
            "fingerprint": found,
        },
        version=VERSION,
    )
    return config, schema


def _batches(records: Records, config: Config, spec: Modality) -> tuple[Batches, list[Batch]]:
    """Return training batches, and the held-out samples in memory."""
    train, held_out = (
        spec.unfold(part)[0]
        for part in split(records.only(spec.columns), config.data["held_out"], config.seed)
    )
    size = int(config.train.batch_size)
    batches = Batches(spec, train, batch_size=size, seed=config.seed)
    rng = np.random.default_rng([config.seed, 2])
    return batches, _read_all(spec, held_out.sample(MOST_HELD_OUT, rng), size)


def _look_ahead(batches: Batches, settings: TrainSettings) -> None:
    """Read what the first pass will read, so that a bad sample stops the run before it begins."""
    most = math.ceil(MOST_LOOKED_AT / batches.batch_size)
    total = total_steps(settings, batches.per_pass) or most
    for number in range(min(batches.per_pass, total, most)):
        batches.read(number)


def num_held_out(num_samples: int, share: float) -> int:
    """Samples kept for label-free checks: none of fewer than 50, at most 1,024."""
    if num_samples < FEWEST_TO_HOLD_OUT:
        return 0
    return min(MOST_HELD_OUT, round(share * num_samples))


def split(records: Records, held_out: int, seed: int) -> tuple[Records, Records]:
    """Divide samples into those to learn from and those that are held out, in their old order."""
    order = np.random.default_rng([seed, 1]).permutation(len(records))
    return records.subset(np.sort(order[held_out:])), records.subset(np.sort(order[:held_out]))


def total_steps(settings: TrainSettings, per_pass: int) -> int | None:
    """Optimiser steps of a whole run; None if its time is limited instead."""
    if settings.epochs is not None:
        return settings.epochs * per_pass
    return settings.steps


def _read_all(spec: Modality, records: Records, batch_size: int) -> list[Batch]:
    positions = np.arange(len(records)) if len(records) else np.empty(0, dtype=np.int64)
    parts = np.array_split(positions, math.ceil(len(positions) / batch_size) or 1)
    # A contrast needs two samples.
    return [spec.batch(records, part) for part in parts if len(part) >= 2]


def _check_same(
    config: Config,
    schema: Schema,
    records: Records,
    settings: Mapping[str, Any],
    ignore: Iterable[str],
) -> None:
    """Refuse to resume a run with other data or other settings than it began with."""
    expected = int(config.data["samples"])
    if len(records) != expected:
        raise DataError(
            f"{records.source} must be the data that the run began with; got {len(records)} "
            f"samples instead of {expected}. Resume with the same data, or start a new run."
        )
    spec = schema.modality
    if artifact.fingerprint(records, spec) != config.data.get("fingerprint"):
        raise DataError(
            f"{records.source} must be the data that the run began with; it has as many samples "
            f"as {config.data['source']} had, but other values. Resume with the same data, or "
            f"start a new run."
        )
    began = Choices(
        method=config.method,
        masking=config.masking or "random",
        size=config.size,
        seed=config.seed,
        settings={
            **config.settings,
            "network": vars(config.network),
            "train": vars(config.train),
        },
    )
    asked = choose(replace(began, modality="auto"), settings)
    changed = [
        f"{section}.{name} = {value!r} instead of {began.settings[section].get(name)!r}"
        for section, values in asked.settings.items()
        for name, value in values.items()
        if value != began.settings[section].get(name) and value != "auto"
    ]
    changed += [
        f"{name} = {getattr(asked, name)!r} instead of {getattr(began, name)!r}"
        for name in ("method", "masking", "size", "seed")
        if getattr(asked, name) not in (getattr(began, name), "auto")
    ]
    if asked.modality != "auto" and KINDS[asked.modality][0] != spec.kind:
        changed.append(f"modality = {asked.modality!r} instead of {spec.kind!r}")
    changed += [f"ignore = {name!r}, which was input" for name in ignore if name in spec.columns]
    if changed:
        raise ConfigError(
            f"Pretrain.resume must go on with the settings that the run began with; got "
            f"{'; '.join(changed)}. Leave them out, or start a new run."
        )


def _first_line(device: torch.device, config: Config, spec: Modality) -> str:
    precision = "bfloat16" if config.train.halves(device.type) else "float32"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    attention = kernel(device.type, 1 + spec.num_tokens, twice=False)
    return (
        f"metamae {VERSION} on {name}{threads}; {precision}; {attention} attention over "
        f"{spec.num_tokens} tokens; method {config.method}, size {config.size}, batch "
        f"{config.train.batch_size}"
    )
