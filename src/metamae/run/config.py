"""Every setting of a run with its resolved value, and how a user's choices become one."""

import tomllib
from ast import literal_eval
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from metamae.core.checks import check_at_least, check_one_of
from metamae.core.registry import did_you_mean
from metamae.data.readers import READERS, pick, read
from metamae.data.records import Records
from metamae.errors import ArtifactError, ConfigError
from metamae.masking import MASKINGS
from metamae.methods import METHODS
from metamae.modalities import MODALITIES
from metamae.modalities.base import Modality
from metamae.run.build import SIZES, Network, auto_size
from metamae.schema.kinds import kinds, modality_settings
from metamae.schema.schema import Schema, infer_schema
from metamae.training.settings import DEFAULT_STEPS, TrainSettings, auto_batch_size

# What a size changes besides the network. The paper's optimiser is that of arXiv:2310.16318.
TRAIN_OF_SIZE: dict[str, dict[str, Any]] = {
    "tiny": {"lr": 2e-3},
    "base": {"lr": 5e-4},
    "paper": {
        **{"optimizer": "adamw", "lr": 1e-4, "weight_decay": 1e-4},
        **{"warmup": 0.0, "schedule": "constant"},
    },
}
SECTIONS = ("reader", "modality", "network", "method", "masking", "train")
Settings = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a user asked for; whatever is not here gets a default.

    Attributes:
        method: Registered name.
        masking: Registered name.
        size: A key of `SIZES`, or "auto".
        modality: What the data are, or "auto".
        reader: Registered name, or "auto".
        seed: Of weights, order, masks and dropout.
        settings: Section -> setting -> value.
    """

    method: str = "metamae"
    masking: str = "random"
    size: str = "auto"
    modality: str = "auto"
    reader: str = "auto"
    seed: int = 0
    settings: Mapping[str, Settings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        METHODS.get(self.method)
        MASKINGS.get(self.masking)
        check_one_of("Pretrain.size", self.size, ["auto", *SIZES])
        check_one_of("Pretrain.modality", self.modality, ["auto", *kinds()])
        check_one_of("Pretrain.reader", self.reader, ["auto", *READERS.entries])
        check_at_least("Pretrain.seed", self.seed, 0)

    def read(self, data: Any, *, field: str | None = None, skip_bad: int = 0) -> Records:
        """Read data with the reader that was chosen; records are returned as they are.

        Raises:
            DataError: If they cannot be read.
            ConfigError: If the reader does not know a setting.
        """
        if isinstance(data, Records):
            return data
        reading = self.settings.get("reader", {})
        return read(data, reader=self.reader, field=field, skip_bad=skip_bad, **reading)

    def infer(self, records: Records, ignore: Iterable[str] = ()) -> Schema:
        """Decide what the samples are and measure them.

        Args:
            records: Training data.
            ignore: Fields that are no input.

        Raises:
            ConfigError: If a name or a setting is refused.
            DataError: If the data are not of the modality that was chosen.
        """
        return infer_schema(
            records,
            modality=self.modality,
            ignore=ignore,
            settings=self.settings.get("modality"),
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class Config:
    """A run, down to the last default.

    Attributes:
        seed: Of weights, order, masks and dropout.
        size: Name of the network's size.
        network: Its shape.
        method: Registered name.
        masking: Registered name; None for a method that hides nothing.
        modality: What the data were taken for, a word of `kinds()`.
        reader: Registered name of the reader, or "auto".
        train: How long and how fast to learn.
        settings: Settings of reader, modality, method and masking, by section.
        data: What the training data were: source, number of samples, and the like.
        version: Of the package that wrote it.
    """

    seed: int
    size: str
    network: Network
    method: str
    masking: str | None
    modality: str
    reader: str
    train: TrainSettings
    settings: Mapping[str, Settings]
    data: Settings
    version: str

    def read(
        self, data: Any, *, skip_bad: int = 0, settings: Mapping[str, Any] | None = None
    ) -> Records:
        """Read other data as the run's were read, where they come from the same reader.

        Args:
            data: Whatever `metamae.pretrain` takes; records are returned as they are.
            skip_bad: How many bad samples may be set aside.
            settings: Settings of the reader by name ("labels" or "reader.labels") in place of the
                run's; "reader" names another one.

        Raises:
            DataError: If they cannot be read.
            ConfigError: If the reader does not know a setting.
        """
        if isinstance(data, Records):
            return data
        given = {key.removeprefix("reader."): v for key, v in (settings or {}).items()}
        chosen = given.pop("reader", self.reader)
        name = chosen if chosen != "auto" else pick(data)
        known, local = READERS.settings(name), READERS.get(name).local
        ran = self.settings["reader"]
        kept = {k: v for k, v in ran.items() if k in known and k not in local}
        return read(data, reader=chosen, skip_bad=skip_bad, **(kept | given))

    def to_toml(self) -> str:
        """Return the configuration as TOML; what is None is left out."""
        document = {
            "version": self.version,
            "seed": self.seed,
            "size": self.size,
            "data": self.data,
            "reader": {"name": self.reader, **self.settings["reader"]},
            "modality": {"name": self.modality, **self.settings["modality"]},
            "network": asdict(self.network),
            "method": {"name": self.method, **self.settings["method"]},
            "masking": {"name": self.masking, **self.settings["masking"]},
            "train": asdict(self.train),
        }
        return tomli_w.dumps(_without_none(document))

    @classmethod
    def from_toml(cls, text: str, source: str) -> "Config":
        """Undo `to_toml`.

        Raises:
            ArtifactError: If the text is no run's configuration.
        """
        try:
            document = tomllib.loads(text)
            method, masking = dict(document["method"]), dict(document["masking"])
            modality, reader = dict(document["modality"]), dict(document["reader"])
            return cls(
                seed=document["seed"],
                size=document["size"],
                network=Network(**document["network"]),
                method=method.pop("name"),
                masking=masking.pop("name", None),
                modality=modality.pop("name"),
                reader=reader.pop("name"),
                train=TrainSettings(**document["train"]),
                settings={
                    "reader": reader,
                    "modality": modality,
                    "method": method,
                    "masking": masking,
                },
                data=document["data"],
                version=document["version"],
            )
        except (tomllib.TOMLDecodeError, KeyError, TypeError, ConfigError) as error:
            raise ArtifactError(
                f"{source} must hold the configuration of a run; got {error!r}. The file is "
                f"damaged: restore it or pretrain again."
            ) from error


def resolve(
    choices: Choices, spec: Modality, *, num_samples: int, device: str, data: Settings, version: str
) -> Config:
    """Fill in every default.

    Args:
        choices: What the user asked for.
        spec: What one sample is.
        num_samples: Training samples, the held-out ones not counted.
        device: "cpu" or "cuda".
        data: What to write down about the data.
        version: Of this package.

    Raises:
        ConfigError: If a name, a setting or a value is refused.
    """
    asked = {section: dict(choices.settings.get(section, {})) for section in SECTIONS}
    train = TrainSettings(**asked["train"])
    batch_size = _batch_size(train, num_samples, spec.num_tokens)
    size = choices.size
    if size == "auto":
        size = auto_size(
            num_samples=num_samples,
            num_tokens=spec.num_tokens,
            batch_size=batch_size,
            minutes=train.minutes,
            device=device,
        )
    train = TrainSettings(
        **{**TRAIN_OF_SIZE.get(size, {}), **asked["train"], "batch_size": batch_size}
    )
    if train.steps is None and train.minutes is None and train.epochs is None:
        train = replace(train, steps=DEFAULT_STEPS)
    hides = "masking" in METHODS.parts(choices.method)
    ratio = METHODS.get(choices.method).mask_ratio or spec.mask_ratio
    masking = {"ratio": ratio, **asked["masking"]} if hides else asked["masking"]
    own = METHODS.settings(choices.method)
    suited = {name: value for name, value in spec.suited.items() if name in own}
    return Config(
        seed=choices.seed,
        size=size,
        network=replace(SIZES[size], **asked["network"]),
        method=choices.method,
        masking=choices.masking if hides else None,
        modality=spec.kind if choices.modality == "auto" else choices.modality,
        reader=choices.reader,
        train=train,
        settings={
            "reader": asked["reader"],
            "modality": asked["modality"],
            "method": {**own, **suited, **asked["method"]},
            "masking": {**MASKINGS.settings(choices.masking), **masking} if hides else {},
        },
        data=data,
        version=version,
    )


def _batch_size(train: TrainSettings, num_samples: int, num_tokens: int) -> int:
    if train.batch_size == "auto":
        return auto_batch_size(num_samples, num_tokens)
    batch_size = int(train.batch_size)
    if batch_size > num_samples:
        raise ConfigError(
            f"Train.batch_size must be at most the number of training samples; got {batch_size} "
            f"for {num_samples}. {num_samples} or 'auto' would do."
        )
    return batch_size


def known_settings(choices: Choices) -> dict[str, Settings]:
    """Return section -> setting -> default for a reader, a modality, a method and a masking."""
    reader: Settings = {}
    for name in READERS.entries if choices.reader == "auto" else [choices.reader]:
        reader |= READERS.settings(name)
    named = choices.modality != "auto"
    modality: Settings = {}
    for kind in [kinds()[choices.modality][0]] if named else MODALITIES.entries:
        modality |= modality_settings(kind)
    return {
        "reader": reader,
        "modality": modality,
        "network": _defaults(Network),
        "method": METHODS.settings(choices.method),
        "masking": MASKINGS.settings(choices.masking),
        "train": _defaults(TrainSettings),
    }


def choose(choices: Choices, settings: Mapping[str, Any]) -> Choices:
    """Add settings by name: "lr", or "train.lr" where a bare name would be ambiguous.

    The names "method", "masking", "size", "modality", "reader" and "seed" set those choices.

    Raises:
        ConfigError: If a name is unknown or stands in two sections.
    """
    top = {f.name for f in fields(Choices)} - {"settings"}
    choices = replace(choices, **{k: v for k, v in settings.items() if k in top})
    known = known_settings(choices)
    added = {section: dict(choices.settings.get(section, {})) for section in SECTIONS}
    for key, value in settings.items():
        if key in top:
            continue
        section, _, name = key.rpartition(".")
        found = [s for s in SECTIONS if name in known[s] and section in ("", s)]
        if not found:
            everything = {n for s in SECTIONS for n in known[s]} | top
            raise ConfigError(f"Unknown setting {key!r}.{did_you_mean(name, everything)}")
        if len(found) > 1:
            raise ConfigError(
                f"Setting {key!r} must name its section; it stands in {' and '.join(found)}. "
                f"{found[0]}.{name} would do."
            )
        added[found[0]][name] = value
    return replace(choices, settings=added)


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Turn "key=value" texts into settings; a value is TOML, or Python as in messages, or text.

    Raises:
        ConfigError: If an equals sign is missing.
    """
    settings: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set must be key=value; got {text!r}. lr=0.001 would do.")
        settings[key.strip()] = _value(value.strip())
    return settings


def _value(text: str) -> Any:
    with suppress(tomllib.TOMLDecodeError):
        return tomllib.loads(f"value = {text}")["value"]
    with suppress(ValueError, SyntaxError):
        return literal_eval(text)
    return text


def read_config_file(path: Path) -> dict[str, Any]:
    """Read settings from a TOML file, a run's `config.toml` included, as flat names.

    Raises:
        ConfigError: If the file is missing or not TOML.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"--config must be a readable TOML file; got {path}: {error}. A run's config.toml "
            f"would do."
        ) from error
    settings: dict[str, Any] = {}
    for key, value in document.items():
        if key in ("data", "version"):
            continue
        if isinstance(value, dict):
            for name, inner in value.items():
                settings[key if name == "name" else f"{key}.{name}"] = inner
        else:
            settings[key] = value
    return settings


def _defaults(cls: type) -> Settings:
    return {f.name: None if f.default is MISSING else f.default for f in fields(cls)}


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(v) for v in value]
    return value
