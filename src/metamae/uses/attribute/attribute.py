"""Say which tokens of a sample a probe's answer rests on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.core.atomic import write_atomically
from metamae.core.checks import check_at_least
from metamae.data.records import Records, sample_names
from metamae.encoder.embedding import micro_batches
from metamae.encoder.labels import check_no_input
from metamae.encoder.pretrained import Pretrained, read_sound, take
from metamae.encoder.representations import embeddings
from metamae.errors import ConfigError, DataError
from metamae.evaluation.scoring.interval import mean_interval
from metamae.evaluation.scoring.task import Array, labelled
from metamae.evaluation.split import divide
from metamae.uses.attribute.deletion import SHARES, Answer, Floats, attribute
from metamae.uses.outputs import check_out


@dataclass(frozen=True)
class Importance:
    """Which tokens count, for some test samples.

    Attributes:
        label: What the probe predicts.
        names: Of the samples, as their source calls them.
        scores: How much the probe's answer falls without each token, one array per sample; NaN
            where a token is missing.
        curves: "deletion", "insertion" and "random" -> the answer as tokens are left out, (S,
            shares).
    """

    label: str
    names: list[Any]
    scores: list[Floats]
    curves: Mapping[str, Floats]

    @property
    def areas(self) -> dict[str, tuple[float, float, float]]:
        """Curve -> mean answer along it, and the ends of its 95 % interval over samples."""
        found = {}
        for name, curve in self.curves.items():
            area = curve.mean(axis=1)
            found[name] = (float(area.mean()), *mean_interval(area))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold, without the scores of single tokens."""
        return {
            "label": self.label,
            "samples": len(self.names),
            "left_out": list(SHARES),
            "curves": {name: curve.mean(axis=0).tolist() for name, curve in self.curves.items()},
            "areas": {name: list(values) for name, values in self.areas.items()},
        }


def attribute_tokens(
    run: str | Path | Pretrained,
    data: Any,
    label: str,
    out: str | Path | None = None,
    *,
    samples: int = 100,
    group: str | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> Importance:
    """Fit a probe on one part of the samples and say which tokens it goes by in the others.

    Args:
        run: Folder of a run, or what `load` returned.
        data: Labelled samples.
        label: Name of the label's field; classes.
        out: A .parquet file: a row per sample with its scores as a list.
        samples: Test samples that are looked at, at most.
        group: Field that says which samples belong together; none is on both sides.
        seed: Of the split, the choice of samples and the random order.
        settings: Settings of the reader by name, in place of those of the run.
        overwrite: Whether a file that is there may be replaced.
        device: Where to compute.

    Raises:
        ConfigError: If a number or a setting is refused, or samples are cut into pieces.
        DataError: If the label is missing, was an input of the encoder, or is no class.
        ArtifactError: If the run cannot be loaded or the file cannot be written.
    """
    check_at_least("Attribute.samples", samples, 1)
    check_at_least("Attribute.seed", seed, 0)
    path = None if out is None else check_out(Path(out), (".parquet",), overwrite, "Attribute")
    pretrained = take(run, device=device)
    records = read_sound(pretrained, data, 0, settings)
    check_no_input(pretrained, [label])
    division = divide(records, label, group=group, task="auto", seed=seed)
    if division.task.kind != "classification":
        raise DataError(
            f"Label {label!r} must be classes for their probability to fall; got a "
            f"{division.task.kind} target. Another --label would do."
        )
    spec = pretrained.schema.modality
    train, held = pretrained.records(division.train), pretrained.records(division.test)
    if spec.unfold(held)[1] is not None:
        raise ConfigError(
            "Attribute.data must be samples that are encoded whole; these are cut into pieces. A "
            "run with a longer max_length, or without windows, would do."
        )
    rows = labelled(division.y_train)
    inside, _ = embeddings(pretrained, train.subset(rows), held.subset(np.arange(1)))
    answer = probe(inside, division.y_train[rows])
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(held))[:samples])
    scores, curves = _look(pretrained, held.subset(chosen), answer, seed)
    found = Importance(label, sample_names(division.test.subset(chosen)), scores, curves)
    if path is not None:
        write_atomically(path, lambda temporary: _write(temporary, found))
    return found


def probe(features: Array, labels: Array) -> Answer:
    """Fit a logistic regression on standardised features; it gives class probabilities."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    model.fit(features, labels)

    def answer(some: NDArray[np.float32]) -> Floats:
        found: Floats = model.predict_proba(some)
        return found

    return answer


def _look(
    pretrained: Pretrained, records: Records, answer: Answer, seed: int
) -> tuple[list[Floats], dict[str, Floats]]:
    """Score the tokens of samples, in their order."""
    module, spec = pretrained.module.eval(), pretrained.schema.modality
    device = next(module.parameters()).device
    scores: list[Floats] = [np.empty(0)] * len(records)
    curves = {name: np.empty((len(records), len(SHARES))) for name in CURVES}
    for index, batch in micro_batches(spec, records, device):
        found = attribute(pretrained, batch, answer, seed)
        for row, position in enumerate(index.tolist()):
            scores[position] = found.scores[row]
            for name, curve in curves.items():
                curve[position] = getattr(found, name)[row]
    return scores, curves


CURVES = ("deletion", "insertion", "random")


def _write(path: Path, found: Importance) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [[None if np.isnan(v) else float(v) for v in own] for own in found.scores]
    columns = {"sample": found.names, "tokens": pa.array(rows, pa.list_(pa.float64()))}
    pq.write_table(pa.table(columns), path)
