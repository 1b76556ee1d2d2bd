"""Let a pretrained encoder go on learning with labels, and use what comes of it."""

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from metamae.core.atomic import write_atomically, write_text_atomically
from metamae.core.checks import check_at_least, check_between
from metamae.core.version import VERSION
from metamae.data.records import Records, sample_names
from metamae.encoder.embedding import Progress
from metamae.encoder.labels import check_no_input, notes_on
from metamae.encoder.pretrained import Pretrained, load, read_sound
from metamae.encoder.representations import embeddings, raw_features
from metamae.errors import ConfigError, DataError
from metamae.evaluation.probes import EVALUATIONS
from metamae.evaluation.probes.base import Labelled
from metamae.evaluation.scoring.result import Judgement
from metamae.evaluation.scoring.task import Array, Prediction, Task, labelled
from metamae.evaluation.split import TEST_SHARE, Division, divide
from metamae.uses.finetune import comparison, finetuned
from metamae.uses.finetune.finetuned import Finetuned, Predicted, load_finetuned
from metamae.uses.finetune.fit import Fitted, Labels, Observer, fit
from metamae.uses.finetune.settings import FitSettings
from metamae.uses.finetune.writing import KINDS, write_predictions
from metamae.uses.outputs import check_out


@dataclass(frozen=True)
class Finetuning:
    """A fine-tuned model, and how it does on the test samples beside simpler ways.

    Attributes:
        model: What predicts.
        label: Name of the label.
        source: The data set.
        task: What is predicted.
        fits: How the weights were learnt: "finetuned" and, unless left out, "scratch".
        judgement: Scores and comparisons; None if a signal stopped the fine-tuning.
        seed: Of split, order, dropout and bootstrap.
        notes: What a reader should know.
        interrupted: Name of the signal that stopped it, or None.
    """

    model: Finetuned
    label: str
    source: str
    task: Task
    fits: Mapping[str, Fitted]
    judgement: Judgement | None
    seed: int
    notes: tuple[str, ...]
    interrupted: str | None = None

    @property
    def sentence(self) -> str:
        """Whether fine-tuning helped, in one sentence; empty if it was stopped before."""
        return "" if self.judgement is None else comparison.sentence(self.judgement)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        judged = self.judgement
        return {
            "version": VERSION,
            "data": self.source,
            "label": self.label,
            "task": self.task.to_dict(),
            "seed": self.seed,
            "verdict": self.sentence,
            "outcome": None if judged is None else comparison.finding(judged).outcome,
            "notes": list(self.notes),
            "fits": {name: summary(found) for name, found in self.fits.items()},
            "results": [] if judged is None else [r.to_dict() for r in judged.results],
            "comparisons": [] if judged is None else [c.to_dict() for c in judged.comparisons],
        }


def summary(found: Fitted) -> dict[str, Any]:
    """Return how weights were learnt as plain values."""
    return {
        "steps": found.steps,
        "best": found.best,
        "seconds": round(found.seconds, 3),
        "trained_weights": found.trained,
        "interrupted": found.interrupted,
        "checks": [asdict(check) for check in found.checks],
    }


def finetune(  # noqa: PLR0913  # one argument per choice of the user
    run: str | Path | Pretrained,
    data: Any,
    label: str,
    out: str | Path | None = None,
    *,
    test: Any = None,
    split: str | None = None,
    group: str | None = None,
    task: str = "auto",
    training: Mapping[str, Any] | None = None,
    scratch: bool = True,
    test_share: float = TEST_SHARE,
    seed: int = 0,
    skip_bad: int = 0,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    device: str = "auto",
    observe: Observer | None = None,
) -> Finetuning:
    """Let an encoder learn from labels, and test it once on samples set aside.

    Beside it, on the same test samples: the same network from fresh weights with the same budget,
    linear models of the frozen embedding and of raw features. Fresh weights all learn at the full
    rate, whatever `how` says, for there is nothing in them to keep.

    Args:
        run: Folder of a run, or what `load` returned; it is not changed.
        data: Labelled samples; those without a label are left out.
        label: Name of the label's field; several names with commas for a multilabel task.
        out: Folder for the model; None keeps it in memory. A signal then stops the learning after
            the current step, and the best weights so far are written.
        test: Labelled test samples; without them a part of `data` is set aside.
        split: Field of `data` that says "test" of the test samples; all others train.
        group: Field that says which samples belong together: no group is torn apart, neither for
            the test nor for stopping early.
        task: "classification", "regression", "multilabel", or "auto".
        training: Settings of `FitSettings` by name: how, blocks, rank, steps, minutes, epochs,
            batch_size, lr, encoder_rate, weight_decay, warmup, dropout, validation, patience.
        scratch: Whether to train from scratch too.
        test_share: Share of the samples that is set aside.
        seed: Of split, order, dropout and bootstrap.
        skip_bad: How many bad samples of each data set may be left out.
        settings: Settings of the reader by name, in place of those of the run.
        overwrite: Whether a fine-tuned model in `out` may be replaced.
        device: Where to compute.
        observe: Called after each step.

    Raises:
        ConfigError: If a name or a setting is refused.
        DataError: If the label is missing, was an input of the encoder, or cannot be learnt.
        ArtifactError: If the run cannot be loaded, or `out` is taken.
        TrainingError: If the loss is not finite.
    """
    check_at_least("Finetune.seed", seed, 0)
    check_between("Finetune.test_share", test_share, 0, 1)
    chosen = FitSettings.chosen(training or {})
    folder = None if out is None else Path(out)
    if folder is not None:
        finetuned.claim(folder, overwrite=overwrite)
    encoder = run if isinstance(run, Pretrained) else load(run, device=device)
    # The inner step has no part in what learns from labels.
    encoder = replace(encoder, adapted=False)
    check_no_input(encoder, [part.strip() for part in label.split(",")])
    records = read_sound(encoder, data, skip_bad, settings)
    other = None if test is None else read_sound(encoder, test, skip_bad, settings)
    whole = records
    if split is not None:
        records, other = _by_column(records, split, other)
    division = divide(
        records, label, test=other, group=group, task=task, test_share=test_share, seed=seed
    )
    sides = _Sides.of(encoder, division)
    notes = notes_on(encoder, whole if test is None else division.test)
    left_out = len(records) + len(other or ()) - len(sides.train.y) - len(sides.y_test)
    if left_out:
        notes.append(f"{left_out} samples have no label and are left out")
    course = _Course(encoder, sides, chosen, seed, folder is not None, observe, notes)
    model = course.finetuned({"label": label, "data": records.source})
    if folder is not None:
        finetuned.save(folder, model)
    judgement = None if course.interrupted else course.judged(model, scratch)
    found = Finetuning(
        model=model,
        label=label,
        source=records.source,
        task=division.task,
        fits=course.fits,
        judgement=judgement,
        seed=seed,
        notes=tuple(notes),
        interrupted=course.interrupted,
    )
    if folder is not None:
        text = json.dumps(found.to_dict(), indent=1)
        write_text_atomically(folder / finetuned.RESULTS, text + "\n")
    return found


def predict(
    model: str | Path | Finetuned,
    data: Any,
    out: str | Path | None = None,
    *,
    skip_bad: int = 0,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Predicted:
    """Predict the label of new samples with a fine-tuned model.

    Args:
        model: Folder of a fine-tuned model, or what `finetune` or `load_finetuned` gave.
        data: Samples like those of the training; no labels are needed.
        out: A .csv or .parquet file to write: a column "sample", "predicted", and for classes
            "p <class>", the probability of each.
        skip_bad: How many bad samples may be left out; the names of the others tell which.
        settings: Settings of the reader by name, in place of those of the run.
        overwrite: Whether a file that is there may be replaced.
        device: Where to compute.
        progress: Called now and then with the samples done and their number.

    Raises:
        ConfigError: If the kind of file is unknown, or a setting is refused.
        DataError: If the data do not fit the model's schema.
        ArtifactError: If the model cannot be loaded, or the file cannot be written.
    """
    path = None if out is None else check_out(Path(out), KINDS, overwrite, "Predict")
    ready = model if isinstance(model, Finetuned) else load_finetuned(model, device=device)
    records = ready.encoder.records(read_sound(ready.encoder, data, skip_bad, settings))
    found = ready.predict(records, progress=progress)
    if path is not None:
        kind, names = path.suffix.lower(), sample_names(records)
        write_atomically(path, lambda place: write_predictions(place, kind, names, found))
    return found


@dataclass(frozen=True)
class _Sides:
    """Labelled samples to learn from, and to be tested on."""

    train: Labels
    test: Records
    y_test: Array
    groups_test: Array | None

    @classmethod
    def of(cls, encoder: Pretrained, division: Division) -> "_Sides":
        rows, test_rows = labelled(division.y_train), labelled(division.y_test)
        if len(rows) < 2 or len(test_rows) < 1:
            raise DataError(
                f"Label {division.task.name!r} must be there for at least two training samples and "
                f"one test sample; got {len(rows)} and {len(test_rows)}."
            )
        y = division.y_train[rows]
        if (y == y[0]).all():
            raise DataError(
                f"Label {division.task.name!r} must vary among the training samples; all {len(y)} "
                f"have the same. Another split would do."
            )
        groups, groups_test = division.groups_train, division.groups_test
        return cls(
            Labels(
                encoder.records(division.train.subset(rows)),
                y,
                division.task,
                None if groups is None else groups[rows],
            ),
            encoder.records(division.test.subset(test_rows)),
            division.y_test[test_rows],
            None if groups_test is None else groups_test[test_rows],
        )


@dataclass
class _Course:
    """One fine-tuning and what it is compared with."""

    encoder: Pretrained
    sides: _Sides
    settings: FitSettings
    seed: int
    stoppable: bool
    observe: Observer | None
    notes: list[str]
    fits: dict[str, Fitted] = field(default_factory=dict)

    @property
    def interrupted(self) -> str | None:
        """Name of the signal that came, or None."""
        return next((f.interrupted for f in self.fits.values() if f.interrupted), None)

    def finetuned(self, facts: dict[str, Any]) -> Finetuned:
        """Learn from labels, starting with a copy of the pretrained weights."""
        own = replace(self.encoder, module=copy.deepcopy(self.encoder.module))
        found = self._fit(comparison.FINETUNED, "fine-tuning", own, self.settings)
        facts |= {"seed": self.seed, "training": asdict(self.settings), "fit": summary(found)}
        return Finetuned(own, found.head, found.target, facts)

    def judged(self, model: Finetuned, scratch: bool) -> Judgement:
        """Test the model and what it is compared with."""
        predictions = {comparison.FINETUNED: model.scores(self.sides.test)}
        if scratch:
            fresh = self.encoder.untrained()
            whole = replace(self.settings, how="full", encoder_rate=1.0)
            found = self._fit(comparison.SCRATCH, "training from scratch", fresh, whole)
            if found.interrupted is None:
                other = Finetuned(fresh, found.head, found.target, {})
                predictions[comparison.SCRATCH] = other.scores(self.sides.test)
            else:
                self.notes.append("training from scratch was stopped and is left out")
        predictions |= self._probes()
        return comparison.compare(
            predictions,
            self.sides.train.y,
            self.sides.y_test,
            self.sides.train.task,
            groups_test=self.sides.groups_test,
            seed=self.seed,
        )

    def _fit(self, key: str, name: str, start: Pretrained, settings: FitSettings) -> Fitted:
        config = self.encoder.config
        found = fit(
            start.module.backbone,
            start.schema.modality,
            self.sides.train,
            settings,
            optimizer=config.train.optimizer,
            precision=config.train.precision,
            seed=self.seed,
            name=name,
            stoppable=self.stoppable,
            observe=self.observe,
        )
        self.fits[key] = found
        if found.note is not None:
            self.notes.append(found.note)
        return found

    def _probes(self) -> dict[str, Prediction]:
        """Predict with linear models of the frozen embedding and of raw features."""
        train, test = self.sides.train, self.sides.test
        spec = self.encoder.schema.modality
        features = {
            comparison.PROBE: embeddings(self.encoder, train.records, test),
            comparison.RAW: (raw_features(spec, train.records), raw_features(spec, test)),
        }
        probe = EVALUATIONS.build("linear_probe")
        return {
            name: probe.fit_predict(
                Labelled(inside, train.y, train.groups),
                outside,
                train.task,
                np.random.default_rng([self.seed, 7]),
            )
            for name, (inside, outside) in features.items()
        }


def _by_column(records: Records, name: str, other: Records | None) -> tuple[Records, Records]:
    """Divide samples into training and test as one of their fields says."""
    if other is not None:
        raise ConfigError("Finetune must have one of test and split; got both. Leave one out.")
    values = np.asarray(records[name][np.arange(len(records))]).tolist()
    words = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]
    tests = np.array([word.strip().lower() == "test" for word in words])
    if not tests.any() or tests.all():
        raise DataError(
            f"{records.source}: field {name!r} must say 'test' of some samples, not of all; it "
            f"does of {int(tests.sum())} of {len(tests)}. A test file of its own would do."
        )
    return records.subset(np.flatnonzero(~tests)), records.subset(np.flatnonzero(tests))
