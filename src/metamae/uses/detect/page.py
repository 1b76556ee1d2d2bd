"""Write a page about samples that were scored: the strangest of them with a map of their heat."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from metamae.core.atomic import write_text_atomically
from metamae.data.columns.base import Array
from metamae.data.records import Records
from metamae.encoder.pretrained import Pretrained
from metamae.modalities.base import Modality
from metamae.model.tokenizer import Tokenizer
from metamae.model.tokens import Batch
from metamae.pages.form import Heated
from metamae.pages.strange import Odd, Scored, Strange, write_strange
from metamae.uses.detect.detectors.base import collect
from metamae.uses.detect.result import Detected, table_of
from metamae.uses.detect.scores import Finding, lay_out
from metamae.uses.outputs import versions


def write_strange_page(path: Path, found: Detected, most: int) -> None:
    """Write one self-contained page.

    Args:
        path: The file.
        found: What `detect` found.
        most: Samples that are shown, the strangest first.

    Raises:
        ArtifactError: If the file cannot be written.
    """
    write_text_atomically(path, write_strange(_material(found, most)))


def _material(found: Detected, most: int) -> Strange:
    pretrained, inputs = found.run
    first = next(iter(found.findings.values()))
    assert first.usual is not None  # every detector scores tokens
    header, rows = table_of(found)
    spec = pretrained.schema.modality
    many = len(found.names)
    return Strange(
        title=Path(found.source).name or found.source,
        summary=f"{many:,} samples, {spec.describe()}, scored by {', '.join(found.findings)}.",
        facts=_facts(found, pretrained, first),
        notes=found.notes,
        header=header,
        rows=rows,
        scored=[_scored(name, one, found) for name, one in found.all.items()],
        unusual=None if found.unusual is None else found.unusual.sum() / found.is_labelled.sum(),
        groups=_groups(found),
        usual=first.usual,
        odd=[
            _odd(found, pretrained, inputs, first, sample)
            for sample in found.strangest(most).tolist()
        ],
        versions=versions(pretrained),
    )


def _facts(found: Detected, pretrained: Pretrained, first: Finding) -> dict[str, str]:
    config = pretrained.config
    facts = {
        "scored": found.source,
        "samples": f"{len(found.names):,}",
        "run": "given in memory" if pretrained.folder is None else str(pretrained.folder),
        "encoder": f"{config.method}, size {config.size}, of {config.data['source']}",
        "normal samples": found.normal,
        "learnt from": f"{found.num_fitted:,} of them",
        "thresholds from": f"{first.alarm.num_normal:,} others",
        "false alarms, at most": f"{first.alarm.false_alarms:.2%}",
        "seed": str(found.seed),
    }
    if found.unusual is not None:
        normal = int((found.is_labelled & ~found.unusual).sum())
        facts[f"label {found.label}"] = (
            f"{int(found.unusual.sum()):,} not normal, {normal:,} normal"
        )
    return facts


def _scored(name: str, one: Finding, found: Detected) -> Scored:
    told = one.told
    return Scored(
        name=name,
        scores=one.samples,
        threshold=one.alarm.threshold,
        raised=int(one.raised.sum()),
        auroc=None if told is None else (told.auroc, *told.auroc_interval),
        aupr=None if told is None else (told.aupr, *told.aupr_interval),
        is_baseline=name in found.baselines,
    )


def _groups(found: Detected) -> dict[str, NDArray[np.bool_]]:
    if found.unusual is None:
        return {"samples": np.ones(len(found.names), dtype=bool)}
    groups = {
        "labelled normal": found.is_labelled & ~found.unusual,
        "labelled not normal": found.unusual,
        "without a label": ~found.is_labelled,
    }
    return {name: at for name, at in groups.items() if at.any()}


def _odd(
    found: Detected, pretrained: Pretrained, inputs: Records, first: Finding, sample: int
) -> Odd:
    label = ""
    if found.unusual is not None:
        kind = "not normal" if found.unusual[sample] else "normal"
        known = found.is_labelled[sample]
        label = f"{found.label}: {found.labels[sample]}, {kind}" if known else "without a label"
    parts, note = see_heated(pretrained, inputs, sample, first.tokens[sample])
    return Odd(
        name=str(found.names[sample]),
        score=float(first.samples[sample]),
        is_reported=bool(first.raised[sample]),
        label=label,
        note=note,
        parts=parts,
    )


def see_heated(
    pretrained: Pretrained, inputs: Records, sample: int, tokens: NDArray[np.float32]
) -> tuple[list[Heated], str]:
    """Read a sample with the strangeness of its places.

    Args:
        pretrained: The run.
        inputs: Samples, with the columns that are input only.
        sample: Position among them.
        tokens: Strangeness of each of its tokens, NaN where there is none.

    Returns:
        Its parts, and which of its windows these show: a sample that is cut into windows is too
        long to be shown, so the one with the strangest token is.
    """
    spec, tokenizer = pretrained.schema.modality, pretrained.module.backbone.tokenizer
    pieces, owner = spec.unfold(inputs.subset(np.array([sample])))
    note = ""
    if owner is not None and len(pieces) > 1:
        rows = _divided(pretrained, pieces, tokens)
        peaks = [np.nan_to_num(row, nan=-np.inf).max(initial=-np.inf) for row in rows]
        at = int(np.argmax(peaks))
        note = f"Window {at} of {len(pieces)}, counted from 0: the one with the strangest place."
        pieces, tokens = pieces.subset(np.array([at])), rows[at]
    batch, heat = lay_out(pretrained, pieces, [tokens])
    with torch.no_grad():
        return _parts(spec, tokenizer, batch, heat)[0], note


def _divided(
    pretrained: Pretrained, pieces: Records, tokens: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """Divide the scores of a sample's tokens among its windows, whose tokens stand in a row."""
    every = collect(pretrained, pieces, lambda batch, own: [own.values[..., :1]])
    bounds = zip(every.starts[:-1], every.starts[1:], strict=True)
    lengths = [int(every.positions[start:stop].max(initial=-1)) + 1 for start, stop in bounds]
    return np.split(tokens, np.cumsum(lengths)[:-1])


def _parts(
    spec: Modality, tokenizer: Tokenizer, batch: Batch, heat: torch.Tensor
) -> list[list[Heated]]:
    """Parts of each sample of a batch, without those that are missing."""
    rows: list[list[Heated]] = [[] for _ in heat]
    for leaf in tokenizer.leaves(batch):
        name, own = spec.leaves[leaf.number]
        form, values = own.form(name), leaf.tokenizer.elements(leaf.batch)
        laid: Array = leaf.tokenizer.spread(heat[:, leaf.range], leaf.batch)
        for row in leaf.present.nonzero().flatten().tolist():
            # Tokens behind the end of a sample that is shorter than others have no value.
            rows[row].append(Heated(form, values[row], laid[row][: len(values[row])]))
    return rows
