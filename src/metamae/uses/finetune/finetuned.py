"""A fine-tuned model: what predicts, and the folder that it is kept in.

The folder holds plain data: `finetuned.json` (task, class names, scale of a regression's target,
settings), `encoder.toml` and `schema.json` (those of the run), `finetuned.safetensors` (weights of
encoder and head) and `results.json`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from metamae.core.atomic import make_folder, write_text_atomically
from metamae.core.version import VERSION
from metamae.encoder.embedding import Progress, Vectors
from metamae.encoder.pretrained import Pretrained, pick_device
from metamae.errors import ArtifactError, ConfigError
from metamae.evaluation.scoring.task import Array, Prediction, Task
from metamae.run.config import Config
from metamae.run.folder import build_from
from metamae.schema.schema import Schema
from metamae.training.checkpoint import read_tensors, write_tensors
from metamae.uses.finetune.head import Head, Target

FACTS, CONFIG, SCHEMA = "finetuned.json", "encoder.toml", "schema.json"
WEIGHTS, RESULTS = "finetuned.safetensors", "results.json"
WRITTEN = (FACTS, CONFIG, SCHEMA, WEIGHTS, RESULTS)
"""All that is written into the folder: the only names that are ever removed from it."""


@dataclass(frozen=True)
class Predicted:
    """What a fine-tuned model says of S samples.

    Attributes:
        task: What was predicted.
        values: Class names (S,), numbers in the label's units (S,), or for several labels at once
            whether each is there, (S, L) of 0 and 1.
        probabilities: Of the classes or labels in the order of `task.classes`, (S, C); None for
            a regression.
    """

    task: Task
    values: Array
    probabilities: NDArray[np.float64] | None


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuned encoder with its head.

    Attributes:
        encoder: The encoder, ready to embed; its decoder, if it has one, is not trained.
        head: Maps embeddings to outputs.
        target: What these mean.
        facts: What was noted about the fine-tuning: plain values.
    """

    encoder: Pretrained
    head: Head
    target: Target
    facts: Mapping[str, Any]

    def predict(self, data: Any, *, progress: Progress | None = None) -> Predicted:
        """Predict the label of samples; a sample's does not depend on those beside it.

        Args:
            data: Whatever `metamae.pretrain` takes, or Records; without labels.
            progress: Called now and then with the samples done and their number.

        Raises:
            DataError: If the data do not fit the schema.
        """
        outputs, task = self.outputs(data, progress), self.target.task
        found, chances = self.target.predict(outputs), self.target.probabilities(outputs)
        if task.kind == "classification":
            found = np.array(task.classes, dtype=object)[found]
        elif task.kind == "multilabel":
            found = (outputs > 0).astype(np.int64)
        return Predicted(task, found, chances)

    def scores(self, data: Any) -> Prediction:
        """Predict in the form that metrics take: codes, numbers, or scores of labels."""
        return self.target.predict(self.outputs(data))

    def outputs(self, data: Any, progress: Progress | None = None) -> Vectors:
        """Return the head's outputs, (S, O): logits, or numbers in standard deviations."""
        vectors = self.encoder.embed(data, progress=progress)
        assert isinstance(vectors, np.ndarray)
        return self.head.outputs(vectors)


def claim(folder: Path, *, overwrite: bool) -> None:
    """Make sure that a fine-tuned model may be written to a folder; nothing is changed yet.

    Raises:
        ArtifactError: If something is there that may not be replaced.
    """
    try:
        there = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        own = (folder / FACTS).is_file()
    except OSError as error:
        raise ArtifactError(
            f"{folder} must be a folder that can be read; got: {error}. Choose another --out."
        ) from error
    if there and not (own and overwrite):
        what = (
            "a fine-tuned model; --overwrite replaces it"
            if own
            else "other files, which are never removed"
        )
        raise ArtifactError(
            f"{folder} must be a new or empty folder; it holds {what}. Another --out would do."
        )


def save(folder: Path, model: Finetuned) -> None:
    """Write a fine-tuned model; files of an older one are replaced.

    Raises:
        ArtifactError: If the folder cannot be written.
    """
    make_folder(folder)
    try:
        for name in WRITTEN:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"{folder} must be a folder that can be written; got: {error}. Choose another --out."
        ) from error
    parts = {"backbone": model.encoder.module.backbone, "head": model.head}
    state = {
        f"{part}.{key}": value.detach().cpu().contiguous()
        for part, module in parts.items()
        for key, value in module.state_dict().items()
    }
    target = model.target
    facts = {
        "version": VERSION,
        "task": target.task.to_dict(),
        "mean": target.mean,
        "scale": target.scale,
        **model.facts,
    }
    write_text_atomically(folder / SCHEMA, model.encoder.schema.to_json())
    write_text_atomically(folder / CONFIG, model.encoder.config.to_toml())
    write_tensors(folder / WEIGHTS, state, {})
    # Last, because what it is in is taken for a whole model.
    write_text_atomically(folder / FACTS, json.dumps(facts, indent=1) + "\n")


def load_finetuned(folder: str | Path, *, device: str = "auto") -> Finetuned:
    """Load a fine-tuned model.

    Args:
        folder: The folder that was --out of `metamae finetune`.
        device: Where to compute: "cpu", "cuda", or "auto".

    Raises:
        ArtifactError: If it is none, or damaged.
    """
    folder = Path(folder)
    if not (folder / FACTS).is_file():
        raise ArtifactError(
            f"{folder} must be the folder of a fine-tuned model; got no {FACTS} in it. Give the "
            f"folder that was --out of `metamae finetune`."
        )
    try:
        facts, target = _facts((folder / FACTS).read_text(encoding="utf-8"))
        config = Config.from_toml((folder / CONFIG).read_text("utf-8"), str(folder / CONFIG))
        schema = Schema.from_json((folder / SCHEMA).read_text("utf-8"), str(folder / SCHEMA))
        method = build_from(config, schema.modality)
        width = schema.modality.embedding_width(method.backbone.tokenizer.width)
        head = Head(width, target.outputs)
        state, _ = read_tensors(folder / WEIGHTS)
        for part, module in (("backbone", method.backbone), ("head", head)):
            own = {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(part)}
            module.load_state_dict(own)
    except (
        *(OSError, UnicodeDecodeError, SafetensorError, ConfigError),
        *(RuntimeError, ValueError, KeyError, TypeError, AttributeError),
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(
            f"{folder} must hold a whole fine-tuned model; got: {reason}. It is damaged, or of "
            f"another version: restore it or fine-tune again."
        ) from error
    encoder = Pretrained(method.to(pick_device(device)).eval(), schema, config)
    return Finetuned(encoder, head.eval(), target, facts)


def _facts(text: str) -> tuple[dict[str, Any], Target]:
    facts = json.loads(text)
    facts.pop("version")
    task = Task.from_dict(facts.pop("task"))
    if not all(isinstance(name, str) for name in (*task.classes, task.name)):
        raise ValueError("names of classes that are no text")
    mean, scale = float(facts.pop("mean")), float(facts.pop("scale"))
    if not (np.isfinite([mean, scale]).all() and scale > 0):
        raise ValueError("a scale of the label that is no number")
    return facts, Target(task, mean, scale)
