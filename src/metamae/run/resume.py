"""Going on with a run: only with the data and the settings that it began with."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from metamae.data.records import Records
from metamae.errors import ConfigError, DataError
from metamae.run.config import Choices, Config, choose
from metamae.run.folder import fingerprint
from metamae.schema.kinds import kinds
from metamae.schema.schema import Schema


def check_same(
    config: Config,
    schema: Schema,
    records: Records,
    settings: Mapping[str, Any],
    ignore: Iterable[str],
) -> None:
    """Refuse to resume a run with other data or other settings than it began with.

    Args:
        config: Of the run.
        schema: Of the run.
        records: The data now, without what the run had set aside.
        settings: The settings given now.
        ignore: The fields now said to be no input.

    Raises:
        DataError: If the data are others.
        ConfigError: If a setting is another.
    """
    expected = int(config.data["samples"])
    if len(records) != expected:
        raise DataError(
            f"{records.source} must be the data that the run began with; got {len(records)} "
            f"samples instead of {expected}. Resume with the same data, or start a new run."
        )
    spec = schema.modality
    if fingerprint(records, spec) != config.data.get("fingerprint"):
        raise DataError(
            f"{records.source} must be the data that the run began with; it has as many samples "
            f"as {config.data['source']} had, but other values. Resume with the same data, or "
            f"start a new run."
        )
    began = Choices(
        method=config.method,
        masking=config.masking or "random",
        size=config.size,
        reader=config.reader,
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
        for name in ("method", "masking", "size", "reader", "seed")
        if getattr(asked, name) not in (getattr(began, name), "auto")
    ]
    if asked.modality != "auto" and kinds()[asked.modality][0] != spec.kind:
        changed.append(f"modality = {asked.modality!r} instead of {spec.kind!r}")
    changed += [f"ignore = {name!r}, which was input" for name in ignore if name in spec.columns]
    if changed:
        raise ConfigError(
            f"Pretrain.resume must go on with the settings that the run began with; got "
            f"{'; '.join(changed)}. Leave them out, or start a new run."
        )
