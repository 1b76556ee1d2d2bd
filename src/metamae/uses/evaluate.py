"""Measure honestly whether pretraining helped."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metamae.core.atomic import write_text_atomically
from metamae.core.checks import check_at_least, check_between
from metamae.core.version import VERSION
from metamae.encoder.labels import check_no_input, notes_on
from metamae.encoder.pretrained import Pretrained, read_sound, take
from metamae.encoder.representations import represent
from metamae.errors import ArtifactError
from metamae.evaluation.probes import EVALUATIONS
from metamae.evaluation.probes.base import Budget, judge
from metamae.evaluation.scoring.result import Judgement
from metamae.evaluation.scoring.verdict import Verdict, verdict
from metamae.evaluation.split import TEST_SHARE, divide
from metamae.run.folder import RESULTS

log = logging.getLogger("metamae")


@dataclass(frozen=True)
class Assessment:
    """What was found about one label.

    Attributes:
        label: Its name.
        source: The data set.
        judgements: One per evaluation.
        verdicts: One per evaluation; the first is the one to quote.
        num_train: Labelled training samples.
        num_test: Labelled test samples.
        seed: Of split, draws and bootstrap.
        notes: What a reader should know.
        adapted: Whether the embeddings are those after the inner step.
    """

    label: str
    source: str
    judgements: tuple[Judgement, ...]
    verdicts: tuple[Verdict, ...]
    num_train: int
    num_test: int
    seed: int
    notes: tuple[str, ...]
    adapted: bool = False

    @property
    def sentence(self) -> str:
        """Whether pretraining helped, in one sentence."""
        return self.verdicts[0].sentence()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {
            "version": VERSION,
            "data": self.source,
            "label": self.label,
            "task": self.judgements[0].task.to_dict(),
            "num_train": self.num_train,
            "num_test": self.num_test,
            "seed": self.seed,
            "verdict": self.sentence,
            "notes": list(self.notes),
            "adapted": self.adapted,
            "results": [r.to_dict() for j in self.judgements for r in j.results],
            "comparisons": [c.to_dict() for j in self.judgements for c in j.comparisons],
            "verdicts": [v.to_dict() for v in self.verdicts],
        }


def evaluate(  # noqa: PLR0913  # one argument per choice of the user
    run: str | Path | Pretrained,
    data: Any,
    label: str,
    *,
    test: Any = None,
    group: str | None = None,
    task: str = "auto",
    evaluations: Sequence[str] = ("linear_probe", "knn"),
    budgets: Sequence[Budget] = ("all", 5),
    draws: int = 10,
    test_share: float = TEST_SHARE,
    seed: int = 0,
    skip_bad: int = 0,
    settings: Mapping[str, Any] | None = None,
    adapted: bool = False,
    device: str = "auto",
) -> Assessment:
    """Score the embeddings beside raw features, PCA and the untrained encoder.

    All four see the same split and the same labels. Nothing is chosen on the test samples. The
    findings are also written to `results.json` in the run's folder.

    Args:
        run: Folder of a run, or what `load` returned.
        data: Labelled samples.
        label: Name of the label's field; several names with commas for a multilabel task.
        test: Labelled test samples; without them a part of `data` is set aside.
        group: Field that says which samples belong together, e.g. to one person: no group is
            both in training and in test.
        task: "classification", "regression", "multilabel", or "auto".
        evaluations: Registered names.
        budgets: Training labels to use, each "all" or a number per class.
        draws: Draws of training labels for each budget in numbers.
        test_share: Share of the samples that is set aside.
        seed: Of split, draws and bootstrap.
        skip_bad: How many bad samples of each data set may be left out.
        settings: Settings of the reader by name, in place of those of the run.
        adapted: Whether to embed after the method's inner step.
        device: Where to embed.

    Raises:
        ConfigError: If a name or a setting is refused.
        DataError: If the label is missing, was an input of the encoder, or cannot be learnt.
        ArtifactError: If the run cannot be loaded.
    """
    check_at_least("Evaluate.seed", seed, 0)
    check_at_least("Evaluate.draws", draws, 1)
    check_between("Evaluate.test_share", test_share, 0, 1)
    pretrained = take(run, adapted=adapted, device=device)
    chosen = [EVALUATIONS.build(name) for name in evaluations]
    records = read_sound(pretrained, data, skip_bad, settings)
    names = [name.strip() for name in label.split(",")]
    check_no_input(pretrained, names)
    other = None if test is None else read_sound(pretrained, test, skip_bad, settings)
    division = divide(
        records, label, test=other, group=group, task=task, test_share=test_share, seed=seed
    )
    train, held = pretrained.records(division.train), pretrained.records(division.test)
    notes = notes_on(pretrained, records if test is None else division.test)
    features = represent(pretrained, train, held, seed=seed)
    judgements = tuple(
        judge(
            evaluation,
            features,
            division.y_train,
            division.y_test,
            division.task,
            budgets=budgets,
            draws=draws,
            seed=seed,
            groups_train=division.groups_train,
            groups_test=division.groups_test,
        )
        for evaluation in chosen
    )
    notes += dict.fromkeys(note for judgement in judgements for note in judgement.notes)
    unlabelled = judgements[0].num_unlabelled
    if unlabelled:
        notes.append(f"{unlabelled} samples have no label and are left out")
    found = Assessment(
        label=label,
        source=records.source,
        judgements=judgements,
        verdicts=tuple(verdict(j, pretrained.config.method) for j in judgements),
        num_train=max(r.num_train for r in judgements[0].results),
        num_test=judgements[0].results[0].num_test,
        seed=seed,
        notes=tuple(notes),
        adapted=pretrained.adapted,
    )
    if not isinstance(run, Pretrained):
        _remember(Path(run), found)
    return found


def _subject(finding: Mapping[str, Any]) -> tuple[str, str, bool]:
    """What a finding is about: a newer one takes its place."""
    return finding["data"], finding["label"], finding.get("adapted", False)


def _remember(folder: Path, found: Assessment) -> None:
    """Put the findings into `results.json`, in the place of older ones on the same label."""
    path = folder / RESULTS
    new = found.to_dict()
    kept = []
    try:
        if path.is_file():
            old = json.loads(path.read_text(encoding="utf-8"))
            kept = [v for v in old if _subject(v) != _subject(new)]
    except (OSError, ValueError, KeyError, TypeError):
        log.warning("%s was damaged and is written anew", path)
    try:
        write_text_atomically(path, json.dumps([*kept, new], indent=1))
    except ArtifactError as error:
        # A run may be shared and read-only; its findings are worth no less.
        log.warning("the findings were not kept: %s", error)
