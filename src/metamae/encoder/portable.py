"""An encoder without the rest of its run, as a folder to hand on.

The folder has the form that Hugging Face gives to models: `config.json`, `schema.json`,
`model.safetensors` with the weights of the backbone alone, and the model card `README.md`. It holds
no path of the machine that it was made on.
"""

import json
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors import SafetensorError

from metamae.core.version import VERSION
from metamae.data.readers import READERS
from metamae.errors import ArtifactError, ConfigError
from metamae.methods.base import Method
from metamae.model.backbone import Backbone
from metamae.model.tokens import Batch, Step
from metamae.run.build import build_method
from metamae.run.config import Config
from metamae.schema.schema import Schema
from metamae.training.checkpoint import read_tensors, write_tensors

CONFIG, SCHEMA, MODEL, CARD = "config.json", "schema.json", "model.safetensors", "README.md"
FORMAT = 1
"""Version of the folder's form; raised when an old reader could no longer understand it."""
MODEL_TYPE = "metamae"


class EncoderOnly(Method):
    """A backbone without the method that trained it: it embeds, and neither learns nor predicts."""

    description = "a pretrained encoder without its method"

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, batch: Batch, rng: torch.Generator) -> Step:
        """Refuse.

        Raises:
            ConfigError: Always; a run's folder is what learns on.
        """
        raise ConfigError(
            "EncoderOnly must not be trained; it has neither decoder nor loss. The folder of the "
            "run, with `metamae.load`, would do."
        )


def is_portable(folder: Path) -> bool:
    """Say whether a folder was written by `write_portable`."""
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and values.get("model_type") == MODEL_TYPE


def write_portable(
    folder: Path, backbone: Backbone, config: Config, schema: Schema, finished: bool, card: str
) -> None:
    """Write a folder that `read_portable` understands, all of it or nothing.

    Args:
        folder: New or empty.
        backbone: The encoder.
        config: Settings of its run; paths in them are shortened to names.
        schema: How samples are read.
        finished: Whether the run used its whole budget.
        card: Text of the model card.

    Raises:
        ArtifactError: If something is there, or the folder cannot be written.
    """
    values = {
        "model_type": MODEL_TYPE,
        "format": FORMAT,
        "metamae_version": VERSION,
        "finished": finished,
        "run": without_paths(config),
    }
    state = {k: v.detach().cpu().contiguous() for k, v in backbone.state_dict().items()}

    def write(new: Path) -> None:
        (new / CONFIG).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        (new / SCHEMA).write_text(schema.to_json() + "\n", encoding="utf-8")
        (new / CARD).write_text(card, encoding="utf-8")
        write_tensors(new / MODEL, state, {"finished": finished})

    write_folder(folder, write)


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder beside `folder`, then put it in the place of `folder`.

    Raises:
        ArtifactError: If something is there, or the folder cannot be written.
    """
    check_free(folder)
    made = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        write(made)
        # mkdtemp makes the folder private; this one is as open as the user's other folders.
        mask = os.umask(0)
        os.umask(mask)
        made.chmod(0o777 & ~mask)
        if folder.is_dir():
            folder.rmdir()  # empty: see above
        made.replace(folder)
    except BaseException as error:  # Ctrl-C included: nothing half-written may stay behind
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
        if isinstance(error, OSError):
            raise ArtifactError(
                f"{folder} must be a folder that can be written; got: {error}. Choose another one."
            ) from error
        raise


def check_free(folder: Path) -> None:
    """Raise ArtifactError if a folder cannot be made because something is there."""
    try:
        there = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise ArtifactError(
            f"{folder} must be a folder that can be read; got: {error}. Choose another one."
        ) from error
    if there:
        raise ArtifactError(
            f"{folder} must be new or empty; something is there, and nothing is ever replaced. "
            f"Another folder would do."
        )


def read_portable(folder: Path) -> tuple[EncoderOnly, Config, Schema, bool]:
    """Read what `write_portable` wrote.

    Returns:
        The encoder on the CPU, the settings of its run, its schema, and whether the run was
        finished.

    Raises:
        ArtifactError: If the folder is none of that kind, of a newer form, or damaged.
    """
    if not (folder / CONFIG).is_file():
        raise ArtifactError(
            f"{folder} must be a folder that `save_pretrained` wrote; got no {CONFIG} in it. The "
            f"folder of a run is opened by `metamae.load`."
        )
    if not is_portable(folder):
        raise ArtifactError(
            f"{folder / CONFIG} must describe a model of metamae (model_type {MODEL_TYPE!r}); it "
            f"does not. The folder is damaged, or holds a model of another library."
        )
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if values["format"] > FORMAT:
            raise ArtifactError(
                f"{folder / CONFIG} must have format {FORMAT} or older; got {values['format']}. A "
                f"newer metamae wrote it: upgrade."
            )
        config = Config.from_toml(tomli_w.dumps(values["run"]), str(folder / CONFIG))
        text = (folder / SCHEMA).read_text(encoding="utf-8")
        schema = Schema.from_json(text, str(folder / SCHEMA))
        backbone = _fresh(config, schema)
        state, _ = read_tensors(folder / MODEL)
        backbone.load_state_dict(state)
    except (
        *(OSError, SafetensorError, ConfigError, UnicodeDecodeError),
        *(RuntimeError, ValueError, KeyError, TypeError, AttributeError),
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(
            f"{folder} must hold a whole pretrained encoder; got: {reason}. It is damaged, or of "
            f"another version: fetch or write it again."
        ) from error
    return EncoderOnly(backbone), config, schema, bool(values.get("finished", True))


def without_paths(config: Config) -> dict[str, Any]:
    """Return a run's settings as plain values that tell nothing of the machine's folders."""
    values = tomllib.loads(config.to_toml())
    values["data"] = {
        **values["data"],
        "source": bare_name(str(values["data"].get("source", ""))),
        "set_aside": len(values["data"].get("set_aside", [])),
    }
    local = {name for reader in READERS.entries for name in READERS.get(reader).local}
    values["reader"] = {k: v for k, v in values["reader"].items() if k not in local}
    unit = values["modality"].get("unit")  # may be the path of a tokenizer, which the schema holds
    if isinstance(unit, str):
        values["modality"]["unit"] = bare_name(unit)
    return values


def bare_name(source: str) -> str:
    """Return the last part of a path, as any system writes it; other texts as they are."""
    return re.split(r"[\\/]", source.rstrip("\\/"))[-1] or source


def _fresh(config: Config, schema: Schema) -> Backbone:
    """Build the encoder with fresh weights; what was built beside it is dropped."""
    return build_method(
        schema.modality,
        config.network,
        method=config.method,
        method_settings=config.settings["method"],
        masking=config.masking,
        masking_settings=config.settings["masking"],
        seed=config.seed,
    ).backbone
