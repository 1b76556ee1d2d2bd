"""The metrics of a run: one JSON object a line, and TensorBoard where it is asked for."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

from metamae.core.atomic import write_text_atomically
from metamae.errors import ArtifactError, ConfigError


class MetricsLog:
    """Appends to `metrics.jsonl`.

    Args:
        path: The file.
        step: Optimiser steps done where the run starts.
        drawn: Batches drawn. Later lines, left by a run that was killed after its last
            checkpoint, are removed, so that nothing stands there twice.
        tensorboard: Folder for TensorBoard files; None for none.

    Raises:
        ConfigError: If TensorBoard is asked for and not installed.
    """

    def __init__(self, path: Path, *, step: int, drawn: int, tensorboard: Path | None = None):
        self.path = path
        self._writer: Any = None
        if tensorboard is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise ConfigError(
                    "Train.tensorboard must be false where TensorBoard is not installed; got true. "
                    "pip install 'metamae[tensorboard]' installs it."
                ) from error
            self._writer = SummaryWriter(str(tensorboard), purge_step=step + 1)
        if path.exists():
            lines = read_metrics(path)
            kept = [v for v in lines if v["step"] <= step and v.get("drawn", 0) <= drawn]
            write_text_atomically(path, "".join(json.dumps(line) + "\n" for line in kept))

    def write(self, line: dict[str, Any]) -> None:
        """Add a line; NaN and infinity, which JSON does not have, become null."""
        clean = {k: _finite(v) for k, v in line.items()}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(clean) + "\n")
        except OSError as error:
            raise ArtifactError(
                f"{self.path} must be writable; got: {error}. Free some space and --resume."
            ) from error
        if self._writer is not None:
            for key, value in clean.items():
                if isinstance(value, int | float) and key != "step":
                    self._writer.add_scalar(key, value, line["step"])

    def close(self) -> None:
        """Finish the TensorBoard files."""
        if self._writer is not None:
            self._writer.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a log; a last line that a kill cut short is left out.

    Raises:
        ArtifactError: If the file cannot be read.
    """
    try:
        texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ArtifactError(f"{path} must be readable; got: {error}.") from error
    lines = []
    for text in texts:
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and "step" in line:
                lines.append(line)
    return lines


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
