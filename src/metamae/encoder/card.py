"""The model card: what an encoder learnt from, how, what came of it, and where it ends."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metamae.core.version import VERSION
from metamae.encoder.portable import bare_name
from metamae.run.config import Config
from metamae.schema.schema import Schema

LEARNT = (
    ("held_out_r2", "R² of the reconstruction on held-out samples"),
    ("held_out_r2_before", "the same before the inner step"),
    ("effective_rank", "effective rank of the held-out embeddings"),
)
"""Entries of `metrics.jsonl` that a reader can judge, and what they are."""


def write_card(
    config: Config,
    schema: Schema,
    *,
    finished: bool,
    width: int,
    num_weights: int,
    findings: Sequence[Mapping[str, Any]] = (),
    last: Mapping[str, Any] | None = None,
) -> str:
    """Return the text of a model card: YAML front matter, then Markdown.

    Args:
        config: Settings of the run.
        schema: How samples are read.
        finished: Whether the run used its whole budget.
        width: Numbers of an embedding.
        num_weights: Of the encoder.
        findings: What `metamae evaluate` wrote into `results.json`.
        last: The last record of `metrics.jsonl`; None if there is none.
    """
    spec = schema.modality
    parts = [
        _front(spec.kind_word),
        f"# Encoder for {_plain(spec.kind_word)} samples, pretrained without labels",
        f"One sample is: {_plain(spec.describe())}. Its embedding has {width} numbers; the encoder "
        f"has {num_weights:,} weights.",
        _use(),
        "## Data",
        _bullets(_data(config, schema)),
        "## Training",
        _bullets(_training(config, finished, last or {})),
        "## Results",
        *_results(findings),
        "## Limits",
        _bullets(_limits(finished, bool(findings))),
    ]
    return "\n\n".join(parts) + "\n"


def read_findings(folder: Path | None) -> list[dict[str, Any]]:
    """Return what a run's `results.json` holds; nothing if it is not there or damaged."""
    try:
        found = json.loads((folder / "results.json").read_text("utf-8")) if folder else []
    except (OSError, ValueError):
        return []
    if not isinstance(found, list):
        return []
    return [one for one in found if isinstance(one, dict) and "results" in one]


def read_last(folder: Path | None) -> dict[str, Any]:
    """Return the last whole record of a run's `metrics.jsonl`; nothing if there is none."""
    try:
        lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines() if folder else []
    except (OSError, UnicodeDecodeError):
        return {}
    for line in reversed(lines):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "step" in record:
            return record
    return {}


def _front(word: str) -> str:
    """The YAML that model hubs read; JSON values are YAML."""
    tags = ["metamae", "self-supervised-learning", "masked-autoencoder", word]
    values = {"library_name": "metamae", "pipeline_tag": "feature-extraction", "tags": tags}
    lines = [f"{key}: {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(["---", *lines, "---"])


def _use() -> str:
    return (
        "```python\n"
        "import metamae\n\n"
        'encoder = metamae.from_pretrained("this folder")\n'
        "vectors = encoder.embed(samples)  # (samples, numbers) float32\n"
        "```"
    )


def _data(config: Config, schema: Schema) -> Iterable[str]:
    data = config.data
    yield f"learnt from: {_plain(bare_name(str(data.get('source', 'unknown'))))}"
    yield f"samples: {data.get('samples', 'unknown')}, of which {data.get('held_out', 0)} held out"
    aside = data.get("set_aside", 0)
    aside = aside if isinstance(aside, int) else len(aside)
    if aside:
        yield f"bad samples left out: {aside}"
    yield f"fields that are input: {_names(schema.modality.columns)}"
    if schema.left_out:
        yield f"fields that are none: {_names(schema.left_out)}"
    yield from (_plain(note) for note in schema.notes)


def _training(config: Config, finished: bool, last: Mapping[str, Any]) -> Iterable[str]:
    network, train = config.network, config.train
    yield f"method: {config.method}, settings {_pairs(config.settings['method'])}"
    if config.masking is not None:
        yield f"masking: {config.masking}, settings {_pairs(config.settings['masking'])}"
    yield f"encoder: width {network.width}, {network.depth} blocks, {network.heads} heads"
    yield (
        f"optimiser: {train.optimizer}, learning rate {train.lr:g}, batches of {train.batch_size}"
    )
    if "step" in last:
        time = f" in {last['seconds']:.0f} seconds" if "seconds" in last else ""
        yield f"length: {last['step']} steps{time}{'' if finished else ', interrupted'}"
    yield f"seed: {config.seed}; metamae {config.version}, card by {VERSION}"
    for key, meaning in LEARNT:
        if isinstance(last.get(key), int | float):
            yield f"{meaning}: {last[key]:.3f}"


def _results(findings: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    if not findings:
        yield "None: `metamae evaluate` was not run. Nothing says that this encoder helps."
        return
    yield (
        "Scores of the embedding beside raw features, PCA and the same encoder untrained, on the "
        "same split and the same labels, with 95 % intervals."
    )
    for found in findings:
        data, label = bare_name(str(found.get("data", ""))), str(found.get("label", ""))
        after = ", embedded after the inner step" if found.get("adapted") else ""
        yield f"### {_plain(label)} of {_plain(data)}{after}"
        yield _plain(str(found.get("verdict", "")))
        yield _table(found["results"])
        notes = [_plain(str(note)) for note in found.get("notes", [])]
        if notes:
            yield _bullets(notes)


def _table(results: Sequence[Mapping[str, Any]]) -> str:
    header = ("evaluation", "labels", "features", "metric", "score", "interval", "chance")
    rows = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for one in results:
        names = [one.get(k) for k in ("evaluation", "labels", "representation", "metric")]
        low, high = one.get("interval", (float("nan"),) * 2)
        numbers = [f"{one.get('score', float('nan')):.3f}", f"{low:.3f} to {high:.3f}"]
        chance = f"{one.get('chance', float('nan')):.3f}"
        cells = [*(_plain(str(name)) for name in names), *numbers, chance]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _limits(finished: bool, judged: bool) -> Iterable[str]:
    if not finished:
        yield "the run was interrupted before its budget was used"
    yield (
        "it is meant for samples like those above: the same fields, units and way of measuring; on "
        "others its vectors may mean nothing"
    )
    if judged:
        yield "the scores hold for these labels and these data, and for one run"
    yield "it was not examined for bias, nor for what it keeps of single training samples"
    yield (
        "`schema.json` holds statistics of the training data: means, spreads, names of categories, "
        "symbols. Look at it before you publish this folder"
    )
    yield "the decoder is not here: no reconstruction, imputation or adapted embedding"
    yield "no licence is stated; whoever publishes this folder has to choose one"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(_plain(str(name)) for name in names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


def _pairs(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={_plain(str(v))}" for k, v in settings.items()) or "none"


def _plain(text: str) -> str:
    """Text of one line in which nothing is Markdown or HTML."""
    return re.sub(r"([\\`*<>\[\]|])", r"\\\1", " ".join(text.split()))
