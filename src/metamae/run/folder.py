"""A run as a folder of plain data: config.toml, schema.json, model.safetensors and logs."""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from metamae.core.atomic import make_folder, write_text_atomically
from metamae.data.bad_samples import Bad
from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.errors import ArtifactError, ConfigError
from metamae.methods.base import Method
from metamae.modalities.base import Modality
from metamae.run.build import build_method
from metamae.run.config import Config
from metamae.schema.schema import Schema
from metamae.training.checkpoint import digest, read_tensors, write_tensors

log = logging.getLogger("metamae")

CONFIG, SCHEMA, MODEL = "config.toml", "schema.json", "model.safetensors"
METRICS, RESULTS, CHECKPOINTS = "metrics.jsonl", "results.json", "checkpoints"
SET_ASIDE = "set_aside.jsonl"
TUNING = "tuning.json"
WRITTEN = (
    *(CONFIG, SCHEMA, MODEL, METRICS, RESULTS, CHECKPOINTS, SET_ASIDE),
    *("nonfinite", "tensorboard", TUNING, "search", "report.html"),
)
"""All that a run writes into its folder: the only names that are ever removed from it."""


def claim(folder: Path, *, overwrite: bool, resume: bool) -> bool:
    """Make sure that a run may be written to a folder; nothing is changed yet.

    Args:
        folder: The run's folder.
        overwrite: Whether a run that is there may be removed.
        resume: Whether a run that is there is to go on.

    Returns:
        Whether there is a run to go on with.

    Raises:
        ArtifactError: If something is there and neither was asked for, or it is no run.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise ArtifactError(f"{folder} must be a folder; got a file. Choose another --out.")
        there = folder.is_dir() and any(folder.iterdir())
        # Both, because a config.toml of its own is in many a folder.
        is_run = (folder / CONFIG).is_file() and (folder / SCHEMA).is_file()
    except OSError as error:
        raise ArtifactError(
            f"{folder} must be a folder that can be read; got: {error}. Choose another --out."
        ) from error
    if there and is_run and resume:
        return True
    if there and not (overwrite and is_run):
        what = (
            "a run; --resume goes on with it, --overwrite removes it"
            if is_run
            else ("files that are no run, which are never removed")
        )
        raise ArtifactError(
            f"{folder} must be new or empty; it holds {what}. Another --out would do."
        )
    return False


def begin_run(folder: Path, config: Config, schema: Schema) -> None:
    """Write the configuration and the schema of a new run; files of an old one are removed.

    Raises:
        ArtifactError: If the folder cannot be written.
    """
    make_folder(folder)
    try:
        for path in (folder / name for name in WRITTEN):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"{folder} must be a folder that can be written; got: {error}. Choose another --out."
        ) from error
    write_text_atomically(folder / SCHEMA, schema.to_json())
    write_text_atomically(folder / CONFIG, config.to_toml())


def read_run(folder: Path) -> tuple[Config, Schema]:
    """Read the configuration and the schema of a run.

    Raises:
        ArtifactError: If the folder is no run, or a file is damaged.
    """
    texts = {}
    for name in (CONFIG, SCHEMA):
        path = folder / name
        if not path.is_file():
            raise ArtifactError(
                f"{folder} must be the folder of a run; got no {name} in it. Give the folder that "
                f"was --out of `metamae pretrain`."
            )
        try:
            texts[name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path} must be readable text; got: {error}.") from error
    config = Config.from_toml(texts[CONFIG], str(folder / CONFIG))
    return config, Schema.from_json(texts[SCHEMA], str(folder / SCHEMA))


def build_run(folder: Path, config: Config, spec: Modality) -> Method:
    """Build the method of a run that was read from a folder.

    Raises:
        ArtifactError: If its configuration asks for what does not exist.
    """
    try:
        return build_from(config, spec)
    except ConfigError as error:
        raise ArtifactError(
            f"{folder / CONFIG} must describe a run that this version can build; got: {error} The "
            f"file is damaged, or of another version: restore it or pretrain again."
        ) from error


def build_from(config: Config, spec: Modality, seed: int | None = None) -> Method:
    """Build a run's method with fresh weights."""
    return build_method(
        spec,
        config.network,
        method=config.method,
        method_settings=config.settings["method"],
        masking=config.masking,
        masking_settings=config.settings["masking"],
        seed=config.seed if seed is None else seed,
    )


def save_model(folder: Path, method: Method, *, step: int, finished: bool) -> None:
    """Write the weights, with a digest of them and how far they were trained.

    Raises:
        ArtifactError: If the file cannot be written.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in method.state_dict().items()}
    write_tensors(folder / MODEL, state, {"step": step, "finished": finished})


def load_model(folder: Path, method: Method) -> dict[str, Any]:
    """Read the weights into a method and return what was written with them.

    Raises:
        ArtifactError: If there are none, they are damaged, or they belong to another network.
    """
    path = folder / MODEL
    if not path.is_file():
        raise ArtifactError(
            f"{folder} must hold a pretrained model; got no {MODEL}. The run was killed before "
            f"its end: `metamae pretrain ... --resume` goes on with it."
        )
    try:
        state, facts = read_tensors(path)
        method.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(
            f"{path} must hold the weights of this run; got: {reason}. The file is damaged or of "
            f"another run: restore it or pretrain again."
        ) from error
    return facts


def fingerprint(records: Records, spec: Modality) -> str:
    """Hash up to 64 samples from all over the data, to know them again."""
    some = records.only(spec.columns).subset(_evenly(len(records)))
    pieces, _ = spec.unfold(some)
    return digest(spec.batch(pieces, _evenly(len(pieces))))


def _evenly(length: int) -> Index:
    """At most 64 positions from all over a sequence."""
    return np.unique(np.linspace(0, length - 1, 64).astype(np.int64))


def write_set_aside(folder: Path, found: Sequence[Bad]) -> Path:
    """List the bad samples that were set aside, one JSON object per line; return the file.

    Raises:
        ArtifactError: If it cannot be written.
    """
    path = folder / SET_ASIDE
    lines = [json.dumps(asdict(one), ensure_ascii=False) for one in found]
    write_text_atomically(path, "".join(f"{line}\n" for line in lines))
    return path


def read_set_aside(folder: Path) -> list[Bad]:
    """Undo `write_set_aside`; none if nothing was set aside.

    Raises:
        ArtifactError: If the file is damaged.
    """
    path = folder / SET_ASIDE
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [Bad(**json.loads(line)) for line in lines]
    except (OSError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} must be the list of samples that this run set aside; got: {error}. Remove it "
            f"to go on without."
        ) from error


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read what a run logged, without lines that a crash cut off."""
    lines = []
    for text in _text(folder / METRICS).splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Read what `evaluate` found; nothing, and a warning, where it is damaged."""
    path = folder / RESULTS
    text = _text(path)
    if not text:
        return []
    try:
        entries = json.loads(text)
        return [entry for entry in entries if entry["verdicts"] and entry["results"]]
    except (ValueError, KeyError, TypeError):
        log.warning("%s is damaged and was left out", path)
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
