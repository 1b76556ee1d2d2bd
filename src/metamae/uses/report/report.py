"""Write a page about a run, or about several beside each other."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from metamae.core.atomic import write_text_atomically
from metamae.core.checks import check_at_least, check_one_of
from metamae.data.columns.base import Index, decodes
from metamae.data.records import Records, sample_names
from metamae.encoder.embedding import Progress
from metamae.encoder.pretrained import Pretrained, load, read_sound
from metamae.errors import ConfigError, DataError, MetaMAEError
from metamae.pages import thumb
from metamae.pages.form import Seen
from metamae.pages.layout import WAYS, Colour, Layout, colour_by, lay_out
from metamae.pages.page import EXTREMES, Material, Points, write_page
from metamae.pretraining.pretrain import split
from metamae.run.folder import fingerprint, read_metrics, read_results
from metamae.run.screening import without_samples
from metamae.schema.guess import LABELS
from metamae.uses.outputs import PAGE_KINDS, check_out, versions
from metamae.uses.report.describe import facts_of, fields_of
from metamae.uses.report.reconstructions import see_partly, see_whole

log = logging.getLogger("metamae")

REPORT = "report.html"
POINTS = 10_000
"""Samples on the map where nothing is said."""
QUICK = 2_000
"""The same at the end of a training, which a report must not prolong by much."""
SEEN = 6  # samples that are reconstructed
COLOURS = 8  # fields that points can be coloured by
VIEW_BYTES = 6_000_000  # of all samples that a map can show, together
NUMBERS_READ = 10**8  # of all samples that are read to be shown


@dataclass(frozen=True)
class _Data:
    """Samples to show.

    Attributes:
        records: With all fields.
        held_out: Positions of those that the training held out, in the numbering of the source;
            None if these are not the data of the training.
    """

    records: Records
    held_out: Index | None


def report(  # noqa: PLR0913  # one argument per choice of the user
    run: str | Path | Pretrained,
    data: Any = None,
    out: str | Path | None = None,
    *,
    folder: str | Path | None = None,
    label: str | None = None,
    points: int = POINTS,
    way: str = "pca",
    skip_bad: int = 0,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Write one self-contained page about a run.

    Args:
        run: Folder of a run, or what `load` or `pretrain` returned (then `folder` is needed).
        data: Samples to show; the run's own, if they are still where they were, if not given.
        out: File to write; `report.html` in the run's folder if not given.
        folder: Folder of the run.
        label: Field that colours the map to begin with.
        points: Samples on the map, at most.
        way: How embeddings are brought to the plane: "pca" or "tsne".
        skip_bad: How many bad samples of `data` may be left out.
        settings: Settings of the reader by name, in place of those of the run.
        seed: Of the choice of samples and of what is hidden.
        overwrite: Whether a file `out` that is there may be replaced; the page in the run's own
            folder always is.
        device: Where to compute.
        progress: Called now and then with the samples embedded and their number.

    Returns:
        The file.

    Raises:
        ConfigError: If a setting is refused.
        DataError: If the data do not fit the run's schema, or have no such label.
        ArtifactError: If the run cannot be loaded, or the file cannot be written.
    """
    check_at_least("Report.points", points, 3)
    check_at_least("Report.seed", seed, 0)
    check_one_of("Report.map", way, WAYS)
    where = _folder(run, folder)
    path = where / REPORT if out is None else check_out(Path(out), PAGE_KINDS, overwrite, "Report")
    pretrained = run if isinstance(run, Pretrained) else load(where, device=device)
    held, missing = _open(pretrained, data, skip_bad, settings or {})
    if held is None and label is not None:
        raise DataError(f"Report.label must be a field of the samples. {missing}")
    metrics = read_metrics(where)
    shown: dict[str, Any] = {"missing": missing}
    if held is not None:
        if label is not None:
            held.records[label]  # a name that is not there is a slip of the user's
        seen, seen_note = _reconstruct(pretrained, held, seed)
        shown |= {
            "seen": seen,
            "seen_note": seen_note,
            "points": _points(pretrained, held, label, points, way, seed, progress),
        }
    spec = pretrained.schema.modality
    page = Material(
        title=where.resolve().name,
        summary=f"{spec.describe()[:1].upper()}{spec.describe()[1:]}.",
        state=_state(pretrained, metrics),
        facts=facts_of(pretrained),
        fields=fields_of(spec),
        notes=pretrained.schema.notes,
        results=read_results(where),
        metrics=metrics,
        settings=pretrained.config.to_toml(),
        versions=versions(pretrained),
        width=pretrained.embedding_width,
        **shown,
    )
    write_text_atomically(path, write_page(page))
    return path


def report_quietly(pretrained: Pretrained, data: Any, folder: Path) -> Path | None:
    """Write a page at the end of a training, or say in the log why there is none.

    Args:
        pretrained: What `pretrain` returned.
        data: What it learnt from.
        folder: Folder of the run.
    """
    try:
        return report(pretrained, data, folder=folder, points=QUICK)
    except MetaMAEError as error:
        log.warning("no report was written: %s", error)
    except Exception as error:
        # The weights are saved; whatever goes wrong here must not look like a failed training.
        log.warning("no report was written: %s: %s", type(error).__name__, error)
    return None


def _folder(run: str | Path | Pretrained, folder: str | Path | None) -> Path:
    if isinstance(run, Pretrained):
        if folder is None:
            raise ConfigError("Report.folder must be the folder of the run; got none.")
        return Path(folder)
    return Path(run)


def _open(
    pretrained: Pretrained, data: Any, skip_bad: int, settings: Mapping[str, Any]
) -> tuple[_Data | None, str]:
    """Read the samples to show; without any, say why."""
    config = pretrained.config
    if data is not None:
        records = read_sound(pretrained, data, skip_bad, settings)
        return _Data(records, _held_out(pretrained, records)), ""
    source = config.data["source"]
    reading = {**config.settings["reader"], **settings}
    try:
        if not Path(source).exists() and not any(sign in source for sign in "*?["):
            raise DataError("there is no such file")
        records = config.read(source, skip_bad=int(config.data["skip_bad"]), settings=reading)
        held_out = _held_out(pretrained, records)
    except (DataError, ConfigError, OSError, KeyError) as error:
        return None, (
            f"No samples are shown: the data of this run could not be read again from {source} "
            f"({error}). `metamae report RUN --data FILE` shows those of a file."
        )
    if held_out is None:
        return None, (
            f"No samples are shown: {source} does not hold the samples that this run learnt from "
            f"any more. `metamae report RUN --data FILE` shows those of a file."
        )
    return _Data(records, held_out), ""


def _held_out(pretrained: Pretrained, records: Records) -> Index | None:
    """Positions of the held-out samples, if the run learnt from these records."""
    data = pretrained.config.data
    known = without_samples(records, data["set_aside"])
    inputs = pretrained.records(known)
    if len(inputs) != data["samples"]:
        return None
    if fingerprint(inputs, pretrained.schema.modality) != data["fingerprint"]:
        return None
    _, held_out = split(inputs, int(data["held_out"]), pretrained.config.seed)
    assert held_out.index is not None
    return np.asarray(held_out.index[:], dtype=np.int64)


def _origin(records: Records) -> Index:
    """Position of each sample in the source."""
    whole = np.arange(len(records)) if records.index is None else records.index[:]
    return np.asarray(whole, dtype=np.int64)


def _reconstruct(
    pretrained: Pretrained, data: _Data, seed: int
) -> tuple[list[tuple[str, list[Seen]]], str]:
    """Predict hidden parts of a few samples that the encoder never saw, if there are any."""
    records = data.records
    note = "These samples were given to the report; the encoder did not learn from this data set."
    if data.held_out is not None and len(data.held_out):
        records = records.subset(np.flatnonzero(np.isin(_origin(records), data.held_out)))
        note = "These samples were held out: the encoder never learnt from them."
    elif data.held_out is not None:
        note = "The encoder learnt from these samples: so few were given that none was held out."
    some = records.sample(SEEN, np.random.default_rng([seed, 3]))
    ratio = "A part of each is hidden, and predicted from the rest."
    try:
        seen = see_partly(pretrained, pretrained.records(some), seed)
    except ConfigError as error:
        return [], f"There is nothing to show: {error}"
    names = [f"sample {name}" for name in sample_names(some)]
    return list(zip(names, seen, strict=True)), f"{note} {ratio}"


def _points(
    pretrained: Pretrained,
    data: _Data,
    label: str | None,
    most: int,
    way: str,
    seed: int,
    progress: Progress | None,
) -> Points | None:
    records = data.records
    if len(records) < 3:
        return None
    some = records.sample(most, np.random.default_rng([seed, 4]))
    inputs = pretrained.records(some)
    vectors = pretrained.embed(inputs, progress=progress)
    assert isinstance(vectors, np.ndarray)
    layout = lay_out(vectors, way=way, seed=seed)
    note = f"{len(some)} samples"
    note += f", drawn at random from {len(records)}." if len(some) < len(records) else "."
    return Points(
        layout=layout,
        names=[str(name) for name in sample_names(some)],
        colours=_colours(pretrained, some, data.held_out, label),
        views=_views(pretrained, inputs, layout, seed),
        note=note,
    )


def _views(pretrained: Pretrained, inputs: Records, layout: Layout, seed: int) -> dict[int, Markup]:
    """Draw samples until they would be too many for a page: the extremes first, then any."""
    typical = np.argsort(-layout.typicality, kind="stable")
    rest = np.random.default_rng([seed, 5]).permutation(len(inputs))
    first = np.concatenate([typical[:EXTREMES], typical[-EXTREMES:]])
    order = np.array(list(dict.fromkeys(np.concatenate([first, rest]).tolist())), dtype=np.int64)
    views, room, left = {}, VIEW_BYTES, NUMBERS_READ
    for position, sample, cost in see_whole(pretrained, inputs, order):
        view = thumb.draw(sample)
        room, left = room - len(json.dumps(view)), left - cost
        if room < 0 or left < 0:
            break
        views[position] = view
    return views


def _colours(
    pretrained: Pretrained, records: Records, held_out: Index | None, label: str | None
) -> list[Colour]:
    """Fields of single values, those that are no input first, and whether a sample was held out."""
    inputs = pretrained.schema.modality.columns
    names = [n for n in records if not records[n].shape[1:] and not decodes(records[n])]
    usual = {name: rank for rank, name in enumerate(LABELS)}
    names.sort(key=lambda n: (n != label, n in inputs, usual.get(n.lower(), len(usual))))
    colours: list[Colour] = []
    for name in names:
        colour = colour_by(name, np.asarray(records[name][np.arange(len(records))]))
        if colour is not None and len(colours) < COLOURS:
            colours.append(replace(colour, given=name in inputs))
    if label is not None and (not colours or colours[0].name != label):
        raise DataError(
            f"Report.label must hold one value per sample, and not the same in all; got {label!r}. "
            f"Another field would do."
        )
    if held_out is not None and len(held_out):
        is_held_out = np.isin(_origin(records), held_out)
        part = colour_by("part", np.where(is_held_out, "held out", "learnt from"))
        colours += [] if part is None else [part]
    return colours


def _state(pretrained: Pretrained, metrics: Sequence[Mapping[str, Any]]) -> str:
    config = pretrained.config
    done = next((line for line in reversed(metrics) if "step" in line), None)
    text = f"Learnt by {config.method}, size {config.size}"
    if done is not None:
        text += f", in {done['step']:,} steps and {done.get('seconds', 0):,.0f} s"
    if not pretrained.finished:
        text += "; the run was interrupted before its budget was used"
    return f"{text}."
