"""The state of a run as one file of plain tensors, written in one piece.

A checkpoint is a safetensors file: weights, optimiser state and generator states as tensors,
counters as JSON in its header. Nothing is ever unpickled.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from metamae.atomic import write_atomically
from metamae.errors import ArtifactError

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


def capture(module: nn.Module, optimizer: torch.optim.Optimizer, rng: torch.Generator) -> State:
    """Copy everything that changes while training into named tensors on the CPU."""
    state = {f"weights/{k}": v for k, v in module.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        state |= {f"optimizer/{number}/{k}": v for k, v in values.items()}
    state["rng"] = rng.get_state()
    return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in state.items()}


def restore(
    state: Mapping[str, Tensor],
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
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
        rng.set_state(state["rng"].clone())


def save(folder: Path, state: State, progress: Progress, keep: int) -> Path:
    """Write a checkpoint, then remove all but the newest `keep`.

    Raises:
        ArtifactError: If it cannot be written; older checkpoints are then untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{progress.step:08d}.safetensors"
    header = {"progress": json.dumps(asdict(progress))}
    try:
        write_atomically(path, lambda temporary: save_file(state, temporary, metadata=header))
    except ArtifactError as error:
        last = latest(folder)
        left = f"The last good checkpoint is {last.name}." if last else "There is none yet."
        raise ArtifactError(f"{error} {left}") from error
    for old in _all(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def load(path: Path) -> tuple[State, Progress]:
    """Read a checkpoint.

    Raises:
        ArtifactError: If the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
            return {key: file.get_tensor(key) for key in file.keys()}, progress
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} must be a whole checkpoint; got {error}. Remove it to go on from the one "
            f"before."
        ) from error


def latest(folder: Path) -> Path | None:
    """Return the newest checkpoint of a folder, or None."""
    found = _all(folder)
    return found[-1] if found else None


def _all(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))
