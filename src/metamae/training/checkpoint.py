"""The state of a run as one file of plain tensors, written in one piece.

A checkpoint is a safetensors file: weights, optimiser state and generator states as tensors,
counters as JSON in its header, and a digest of it all. Nothing is ever unpickled.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from metamae.core.atomic import make_folder, write_atomically
from metamae.errors import ArtifactError
from metamae.training.optimizer import Together

HEADER = "metamae"
NAME = re.compile(r"step-(\d{8})\.safetensors")


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: Optimiser steps done.
        drawn: Batches drawn: more than steps if some were skipped.
        seconds: Time trained, earlier sessions included.
        rollbacks: Returns to an earlier state after non-finite losses.
    """

    step: int = 0
    drawn: int = 0
    seconds: float = 0.0
    rollbacks: int = 0


State = dict[str, Tensor]


def capture(module: nn.Module, optimizer: Together, rng: torch.Generator) -> State:
    """Copy everything that changes while training into named tensors on the CPU."""
    state = {f"weights/{k}": v for k, v in module.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        state |= {f"optimizer/{number}/{k}": v for k, v in values.items()}
    state["rng"] = rng.get_state()
    return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in state.items()}


def restore(
    state: Mapping[str, Tensor],
    module: nn.Module,
    optimizer: Together,
    rng: torch.Generator | None,
) -> None:
    """Undo `capture`; without a generator its state is left as it is."""
    module.load_state_dict(
        {k.removeprefix("weights/"): v for k, v in state.items() if k.startswith("weights/")}
    )
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        if key.startswith("optimizer/"):
            _, number, name = key.split("/")
            moments.setdefault(int(number), {})[name] = value.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    if rng is not None:
        _restore_draws(state["rng"], rng)


def _restore_draws(state: Tensor, rng: torch.Generator) -> None:
    own = rng.device.type
    if len(state) != len(rng.get_state()):
        raise ArtifactError(
            f"A run must go on on a device of the kind on which it was begun, since each draws "
            f"other random numbers; got {own}. --device {'cuda' if own == 'cpu' else 'cpu'} would "
            f"do."
        )
    rng.set_state(state.clone())


def save(folder: Path, state: State, progress: Progress, keep: int) -> Path:
    """Write a checkpoint, then remove all but the newest `keep`.

    Raises:
        ArtifactError: If it cannot be written; older checkpoints are then untouched.
    """
    path = folder / f"step-{progress.step:08d}.safetensors"
    make_folder(folder)
    try:
        write_tensors(path, state, {"progress": asdict(progress)})
    except ArtifactError as error:
        last = latest(folder)
        left = f"The last good checkpoint is {last.name}." if last else "There is none yet."
        raise ArtifactError(f"{error} {left}") from error
    # Besides old checkpoints, what a kill left half-written.
    for old in (*_all(folder)[:-keep], *folder.glob(".step-*")):
        with contextlib.suppress(OSError):
            old.unlink()
    return path


def load(path: Path) -> tuple[State, Progress]:
    """Read a checkpoint.

    Raises:
        ArtifactError: If the file is damaged.
    """
    try:
        state, facts = read_tensors(path)
        return state, Progress(**facts["progress"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} must be a whole checkpoint; got {error}. Remove it to go on from the one "
            f"before."
        ) from error


def latest(folder: Path) -> Path | None:
    """Return the newest checkpoint of a folder, or None."""
    found = _all(folder)
    return found[-1] if found else None


def write_tensors(path: Path, state: State, facts: dict[str, Any]) -> None:
    """Write tensors, a digest of them, and facts about them that JSON can hold.

    Equal tensors and facts make equal bytes.

    Raises:
        ArtifactError: If the file cannot be written.
    """
    # One key, because safetensors writes several in any order.
    header = {HEADER: json.dumps({"digest": digest(state), **facts})}
    write_atomically(path, lambda temporary: save_file(state, temporary, metadata=header))


def read_tensors(path: Path) -> tuple[State, dict[str, Any]]:
    """Undo `write_tensors`.

    Raises:
        OSError: If the file cannot be read.
        SafetensorError: If it is cut short.
        ValueError: If its tensors are not those that the digest was made of.
    """
    with safe_open(path, framework="pt") as file:
        facts: dict[str, Any] = json.loads((file.metadata() or {}).get(HEADER, "{}"))
        state = {key: file.get_tensor(key) for key in file.keys()}
    if facts.pop("digest", None) != digest(state):
        raise ValueError("bytes that differ from those that were written (see their digest)")
    return state, facts


def digest(state: Mapping[str, Tensor]) -> str:
    """Hash names, types and bytes of tensors, to notice a damaged file."""
    seen = hashlib.blake2b(digest_size=16)
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        seen.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        seen.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return seen.hexdigest()


def _all(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))
