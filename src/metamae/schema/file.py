"""What a data set holds, as a TOML file that `inspect` writes and a user edits.

Each field has a role: "input", "label" or "left out", or "rate" for the field that gives
another one's sampling rate. Each input has a kind, a word of `kinds()`, and settings of its
own; all fields of kind "table" are the columns of one table, whose settings stand in [table].
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from metamae.core.registry import did_you_mean
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError
from metamae.schema.kinds import kinds, modality_of, modality_settings
from metamae.schema.schema import PARTS

ROLES = ("input", "label", "left out", "rate")
_HEAD = """\
# What `metamae inspect` took {source} for. Edit it, then:
#   metamae pretrain DATA --schema FILE
# role: input, label, left out, or rate (of another field's samples).
# kind of an input: {kinds}.
# Lines that only describe (type, shape, missing, distinct) may go or stay.
"""
_FIELD_KEYS = ("name", "role", "kind", "settings", "type", "shape", "missing", "distinct")


@dataclass(frozen=True, kw_only=True)
class DeclaredField:
    """One field as a user declares it.

    Attributes:
        name: Of the field.
        role: One of `ROLES`.
        kind: What an input is, a word of `kinds()`; None for what is no input.
        settings: Of its modality; those of a table's columns stand in `Declared.table`.
        facts: What describes the field and is not read back.
    """

    name: str
    role: str
    kind: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A data set as a user declares it.

    Attributes:
        fields: Its fields.
        table: Settings of the table that the fields of kind "table" make up.
        mixture: Settings of the mixture, if the fields are several.
        reader: Name and settings of the reader, or nothing.
    """

    fields: tuple[DeclaredField, ...]
    table: Mapping[str, Any] = field(default_factory=dict)
    mixture: Mapping[str, Any] = field(default_factory=dict)
    reader: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """Return modality and reader as settings by name, as `config.choose` takes them."""
        parts = self._parts()
        if len(parts) == 1:
            chosen = {"modality": parts[0]["kind"], **_prefixed("modality", parts[0]["settings"])}
        else:
            registered = []
            for part in parts:
                kind, implied = kinds()[part["kind"]]
                registered.append(
                    {**part, "kind": kind, "settings": {**implied, **part["settings"]}}
                )
            chosen = {
                "modality": "mixture",
                "modality.parts": registered,
                **_prefixed("modality", self.mixture),
            }
        reader = dict(self.reader)
        name = {"reader": reader.pop("name")} if "name" in reader else {}
        return {**chosen, **name, **_prefixed("reader", reader)}

    def ignored(self, records: Records) -> list[str]:
        """Return the fields of the records that are no input.

        Raises:
            DataError: If a declared input is not there.
        """
        inputs = [name for part in self._parts() for name in part["columns"]]
        for name in inputs:
            if name not in records.columns:
                raise DataError(
                    f"{records.source} must hold every input that the schema declares; it has no "
                    f"field {name!r}.{did_you_mean(name, records)}"
                )
        return [name for name in records if name not in inputs]

    def to_toml(self, source: str) -> str:
        """Return the declaration as TOML with a few words of explanation."""
        document: dict[str, Any] = {}
        for key in ("reader", "table", "mixture"):
            if getattr(self, key):
                document[key] = dict(getattr(self, key))
        document["field"] = [
            {
                "name": f.name,
                "role": f.role,
                **({"kind": f.kind} if f.kind else {}),
                **f.facts,
                **({"settings": dict(f.settings)} if f.settings else {}),
            }
            for f in self.fields
        ]
        return (
            _HEAD.format(source=source, kinds=", ".join(kinds())) + "\n" + tomli_w.dumps(document)
        )

    def _parts(self) -> list[dict[str, Any]]:
        """Inputs as the parts of a mixture: name, kind (a word of `kinds()`), columns, settings."""
        parts: list[dict[str, Any]] = []
        inputs = [f for f in self.fields if f.role == "input"]
        columnwise = {word for word in kinds() if modality_of(word).columnwise}
        columns = [f.name for f in inputs if f.kind in columnwise]
        if columns:
            table = {"columns": columns, "settings": dict(self.table)}
            parts.append({"name": "table", "kind": "table", **table})
        for f in inputs:
            if f.kind in columnwise:
                continue
            rate = f.settings.get("rate_field")
            parts.append(
                {
                    "name": f.name,
                    "kind": f.kind,
                    "columns": [f.name, rate] if rate else [f.name],
                    "settings": dict(f.settings),
                }
            )
        return parts


def read_schema_file(path: str | Path) -> Declared:
    """Read a declaration.

    Raises:
        ConfigError: If the file cannot be read, or a field, a role, a kind or a key is unknown.
    """
    source = f"--schema {path}"
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"{source} must be a readable TOML file; got: {error}. `metamae inspect DATA --write "
            f"FILE` makes one."
        ) from error
    _check_keys(source, document, ("reader", "table", "mixture", "field"))
    entries = document.pop("field", [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise ConfigError(f"{source} must list its fields as [[field]]; got {entries!r:.80}.")
    for key, value in document.items():
        if not isinstance(value, dict):
            raise ConfigError(f"{source}: [{key}] must be a table of settings; got {value!r}.")
    # A field is of one modality; several together are a mixture without being told so.
    known = [word for word, (name, _) in kinds().items() if PARTS not in modality_settings(name)]
    declared = Declared(fields=tuple(_field(source, e, known) for e in entries), **document)
    if not any(f.role == "input" for f in declared.fields):
        raise ConfigError(
            f"{source} must declare at least one input; got {len(declared.fields)} fields and "
            f'none. role = "input" would do.'
        )
    return declared


def _field(source: str, entry: Mapping[str, Any], known: Sequence[str]) -> DeclaredField:
    name = entry.get("name")
    if not isinstance(name, str):
        raise ConfigError(f"{source}: every [[field]] must have a name; got {entry!r:.80}.")
    owner = f"{source}, field {name!r}"
    _check_keys(owner, entry, _FIELD_KEYS)
    role, kind = entry.get("role"), entry.get("kind")
    if role not in ROLES:
        near = did_you_mean(role, ROLES)
        raise ConfigError(f"{owner}: role must be a known one; got {role!r}.{near}")
    if role == "input" and kind not in known:
        near = did_you_mean(kind, known)
        raise ConfigError(f"{owner}: kind of an input must be a known one; got {kind!r}.{near}")
    settings = entry.get("settings", {})
    if not isinstance(settings, dict):
        raise ConfigError(f"{owner}: settings must be a table; got {settings!r}.")
    return DeclaredField(name=name, role=role, kind=kind, settings=settings)


def _check_keys(owner: str, entry: Mapping[str, Any], known: Iterable[str]) -> None:
    for key in entry:
        if key not in known:
            raise ConfigError(f"{owner} has no entry {key!r}.{did_you_mean(key, known)}")


def _prefixed(section: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{section}.{name}": value for name, value in settings.items()}
