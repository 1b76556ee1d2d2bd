"""A pretrained encoder, ready for use: what `metamae.load` gives back."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metamae.core.checks import check_one_of
from metamae.data.bad_samples import Aside
from metamae.data.records import Records
from metamae.encoder.card import read_findings, read_last, write_card
from metamae.encoder.embedding import Progress, Vectors, embed_samples, embed_tokens
from metamae.encoder.portable import is_portable, read_portable, write_portable
from metamae.errors import ConfigError
from metamae.methods.base import Method
from metamae.model.backbone import Backbone
from metamae.run.config import Config
from metamae.run.folder import CONFIG, build_from, build_run, load_model, read_run
from metamae.run.screening import look_through, without_samples
from metamae.schema.schema import Schema
from metamae.training.device import PRECISIONS

log = logging.getLogger("metamae")


@dataclass(frozen=True)
class Reconstructed:
    """Samples, what was hidden of them, and what the method made of the rest.

    Attributes:
        original: The samples in the user's units, (B, ...); for text an array of strings.
        hidden: True where a value was hidden, the shape of `original`, or (B, N) for text.
        before: Predictions, the shape of `original`.
        after: The same after the inner step; None for a method that has none.
    """

    original: NDArray[Any]
    hidden: NDArray[np.bool_]
    before: NDArray[Any]
    after: NDArray[Any] | None


@dataclass(frozen=True)
class Pretrained:
    """A pretrained method with its schema and settings.

    Attributes:
        module: The torch module; its `backbone` is the encoder.
        schema: How samples are read.
        config: Every setting of the run.
        finished: Whether the run used its whole budget.
        adapted: Whether to embed samples after the method's inner step.
        folder: Where it was loaded from; None if it was not.
    """

    module: Method
    schema: Schema
    config: Config
    finished: bool = True
    adapted: bool = False
    folder: Path | None = None

    @property
    def encoder(self) -> Backbone:
        """What embeds: the backbone, or the backbone followed by the method's inner step.

        Raises:
            ConfigError: If embeddings are to be adapted by a method that has no inner step.
        """
        return self.module.adapted() if self.adapted else self.module.backbone

    @property
    def embedding_width(self) -> int:
        """Numbers of a sample's embedding."""
        return self.schema.modality.embedding_width(self.module.backbone.tokenizer.width)

    def embed(
        self,
        data: Any,
        *,
        tokens: bool = False,
        precision: str = "float32",
        progress: Progress | None = None,
    ) -> Vectors | list[Vectors]:
        """Embed samples: nothing is hidden and nothing drawn.

        A sample's vector does not depend on the samples beside it, their order or their number.

        Args:
            data: Whatever `metamae.pretrain` takes, or Records.
            tokens: Whether to return one vector per token.
            precision: "float32", "bfloat16", or "auto" for the faster, at the price of rounding.
            progress: Called now and then with the samples done and their number.

        Returns:
            (S, D) float32; with `tokens` a list of S arrays (N, D).

        Raises:
            DataError: If the data do not fit the schema.
            ConfigError: If there is no such precision.
        """
        check_one_of("Embed.precision", precision, PRECISIONS)
        how = embed_tokens if tokens else embed_samples
        found: Vectors | list[Vectors] = how(
            self.encoder,
            self.schema.modality,
            self.records(data),
            progress,
            precision=precision,
        )
        return found

    def reconstruct(self, data: Any, *, seed: int = 0) -> Reconstructed:
        """Hide a part of each sample and predict it, in the user's units.

        Args:
            data: Samples, few enough for one batch; a long one counts as its pieces.
            seed: Of the choice of what is hidden.

        Raises:
            ConfigError: If the method has no decoder.
            DataError: If the data do not fit the schema.
        """
        spec = self.schema.modality
        records, _ = spec.unfold(self.records(data))
        device = next(self.module.parameters()).device
        batch = spec.batch(records, np.arange(len(records)))
        batch = {k: v.to(device) for k, v in batch.items()}
        self.module.eval()
        found = self.module.reconstruct(batch, torch.Generator(device).manual_seed(seed))
        tokenizer = self.module.backbone.tokenizer
        return Reconstructed(
            original=tokenizer.original(batch),
            hidden=tokenizer.spread(found.hidden, batch),
            before=tokenizer.decode(found.before, batch),
            after=None if found.after is None else tokenizer.decode(found.after, batch),
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the encoder to a folder to hand on, in the form of Hugging Face, with a model card.

        The card quotes what `metamae evaluate` found in the folder that this was loaded from.

        Args:
            folder: New or empty; `from_pretrained` reads it.

        Raises:
            ConfigError: If embeddings are adapted, for which the decoder would be needed.
            ArtifactError: If something is there, or the folder cannot be written.
        """
        if self.adapted:
            raise ConfigError(
                "Pretrained.adapted must be False for an encoder to be handed on; got True, and "
                "the inner step needs the decoder. metamae.load(run) without adapted would do."
            )
        backbone = self.module.backbone
        card = write_card(
            self.config,
            self.schema,
            finished=self.finished,
            width=self.embedding_width,
            num_weights=sum(weight.numel() for weight in backbone.parameters()),
            findings=read_findings(self.folder),
            last=read_last(self.folder),
        )
        write_portable(Path(folder), backbone, self.config, self.schema, self.finished, card)

    def untrained(self) -> "Pretrained":
        """Return the same network with fresh weights: what the training has to beat.

        Its seed differs from the run's, so that it is not the point from which that one set out.
        """
        fresh = build_from(self.config, self.schema.modality, seed=self.config.seed + 1)
        device = next(self.module.parameters()).device
        return replace(self, module=fresh.to(device).eval(), finished=True, folder=None)

    def records(self, data: Any) -> Records:
        """Read data down to the columns that are input.

        Raises:
            DataError: If a column is missing.
        """
        records = self.config.read(data)
        columns = self.schema.modality.columns
        if len(columns) == 1 and len(records.columns) == 1:
            # One field in training and one here: an array needs no name to be recognised.
            return replace(records, columns={columns[0]: next(iter(records.columns.values()))})
        there = [name for name in columns if name in records.columns]
        # The modality knows best what to say of one that is missing.
        return records.only(there or columns)


def load(run: str | Path, *, adapted: bool = False, device: str = "auto") -> Pretrained:
    """Load a pretrained encoder from the folder of a run.

    Args:
        run: The folder that was --out of `metamae pretrain`, or one of `save_pretrained`.
        adapted: Whether to embed samples after the method's inner step.
        device: Where to compute: "cpu", "cuda", or "auto".

    Raises:
        ArtifactError: If it is no run, unfinished, or damaged.
        ConfigError: If embeddings are to be adapted by a method that has no inner step.
    """
    folder = Path(run)
    if not (folder / CONFIG).exists() and is_portable(folder):
        return from_pretrained(folder, adapted=adapted, device=device)
    config, schema = read_run(folder)
    method = build_run(folder, config, schema.modality)
    finished = bool(load_model(folder, method).get("finished"))
    if adapted:
        method.adapted()
    method.to(pick_device(device)).eval()
    return Pretrained(method, schema, config, finished, adapted, folder)


def from_pretrained(
    folder: str | Path, *, adapted: bool = False, device: str = "auto"
) -> Pretrained:
    """Load an encoder from a folder that `Pretrained.save_pretrained` wrote.

    It embeds, and can be evaluated and searched with; it has no decoder.

    Args:
        folder: The folder; nothing is ever fetched.
        adapted: Must be False, since the inner step needs the decoder.
        device: Where to compute: "cpu", "cuda", or "auto".

    Raises:
        ArtifactError: If it is no such folder, or damaged.
        ConfigError: If embeddings are to be adapted.
    """
    folder = Path(folder)
    module, config, schema, finished = read_portable(folder)
    if adapted:
        module.adapted()
    module.to(pick_device(device)).eval()
    return Pretrained(module, schema, config, finished, folder=folder)


def take(run: "str | Path | Pretrained", *, adapted: bool = False, device: str) -> Pretrained:
    """Return a run that is loaded already, or load it; the errors of `load`."""
    if not isinstance(run, Pretrained):
        return load(run, adapted=adapted, device=device)
    if adapted:
        run.module.adapted()
    return replace(run, adapted=adapted or run.adapted)


def read_sound(
    pretrained: Pretrained, data: Any, skip_bad: int, settings: Mapping[str, Any] | None = None
) -> Records:
    """Read data as a run's were read, without the bad samples among them, all fields included.

    Args:
        pretrained: The run.
        data: Whatever `metamae.pretrain` takes, or Records.
        skip_bad: How many may be left out; a warning names them.
        settings: Settings of the reader by name, in place of the run's.

    Raises:
        DataError: If there are more; it lists them.
        ConfigError: If the reader does not know a setting.
    """
    records = pretrained.config.read(data, skip_bad=skip_bad, settings=settings)
    if skip_bad == 0:
        return records
    aside = Aside(skip_bad, list(records.aside))
    inputs = pretrained.records(records)
    look_through(pretrained.schema.modality, inputs, aside, len(inputs))
    aside.settle(records.source)
    for one in aside.found:
        log.warning("left out %s: %s", one.where, one.reason)
    return without_samples(records, aside.samples)


def pick_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is a GPU if there is one.

    Raises:
        ConfigError: If it is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device must be one that this machine has; got {name!r}. 'cpu' would do."
        ) from error
    return device
