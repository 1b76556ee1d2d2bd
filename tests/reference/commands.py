"""Every command on one small data set, and all that it says and writes, as JSON without times."""

import csv
import html
import json
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command import metamae, settings

from .made import COMMANDS, DATA, RUNS, SETTINGS, checksum

TABLE, SERIES, WORDS = "RUNS/table-metamae", "RUNS/grid-metamae", "RUNS/symbols-mae"
ROWS, CURVES, LETTERS = DATA / "table.csv", DATA / "series.npz", DATA / "words.csv"
TIMES = {"seconds", "samples_per_second", "created", "version", "versions", "metamae", "torch"}

# Name -> arguments of the command line. "OUT" is a fresh folder; what is written there counts.
# "RUNS" are copies, since `evaluate` adds its findings to a run.
CALLS: dict[str, list[Any]] = {
    "inspect": ["inspect", ROWS, "--label", "kind", "--write", "OUT/fields.toml", "--json"],
    "pretrain": [
        *("pretrain", ROWS, "--out", "OUT/run", "--ignore", "kind", "--ignore", "size"),
        *settings(**SETTINGS),
    ],
    "embed": ["embed", TABLE, ROWS, "--out", "OUT/vectors.csv"],
    "embed-tokens": ["embed", SERIES, CURVES, "--out", "OUT/tokens.npz", "--tokens"],
    "evaluate": ["evaluate", TABLE, ROWS, "--label", "kind", "--draws", "2", "--json"],
    "evaluate-regression": ["evaluate", TABLE, ROWS, "--label", "size", "--draws", "2", "--json"],
    "fewshot": [
        *("fewshot", SERIES, CURVES, "--label", "y", "--ways", "2", "--episodes", "9", "--json"),
    ],
    "attribute": [
        *("attribute", TABLE, ROWS, "--label", "kind", "--samples", "9"),
        *("--out", "OUT/attributed.parquet", "--json"),
    ],
    "detect": [
        *("detect", TABLE, ROWS, "--false-alarms", "0.1", "--label", "kind"),
        *("--normal-value", "up", "--out", "OUT/scores.csv", "--page", "OUT/page.html", "--json"),
    ],
    "impute": ["impute", TABLE, ROWS, "--out", "OUT/filled.csv", "--check", "--json"],
    "impute-letters": [
        *("impute", WORDS, LETTERS, "--blank", "G", "--out", "OUT/filled.csv", "--json"),
    ],
    "search": [
        *("search", TABLE, ROWS, "--query", "2", "--query", "9", "--k", "3"),
        *("--store", "OUT/store", "--json"),
    ],
    "report": ["report", TABLE, "--data", ROWS, "--label", "kind", "--out", "OUT/report.html"],
    "compare": ["report", TABLE, SERIES, "--out", "OUT/comparison.html"],
    "finetune": [
        *("finetune", TABLE, ROWS, "--label", "kind", "--steps", "10"),
        *("--out", "OUT/model", "--json"),
    ],
    "predict": ["predict", "RUNS/table-finetuned", ROWS, "--out", "OUT/predicted.csv"],
    "export": ["export", TABLE, "--out", "OUT/program", "--data", ROWS],
    "export-huggingface": ["export", TABLE, "--out", "OUT/hf", "--format", "huggingface"],
    "demo": ["demo", "--steps", "2", "--out", "OUT/demo"],
    "bench": [
        *("bench", "pocket", "--only", "penguins", "--method", "mae", "--seeds", "1"),
        *("--steps", "2", "--out", "OUT/bench", *settings(**{**SETTINGS, "steps": 2})),
    ],
    "list": ["list"],
}


def serve() -> dict[str, Any]:
    """Ask a served encoder for what it offers."""
    from fastapi import testclient

    from metamae import load
    from metamae.uses.serve.serve import Limits, Service, build_app

    with testclient.TestClient(build_app(Service(load(RUNS / "table-metamae"), Limits()))) as web:
        samples = {"a": [0.5, 1], "b": [None, 2], "c": ["red", "blue"], "d": ["2024-01-02", None]}
        answers = {
            "/health": web.get("/health"),
            "/schema": web.get("/schema"),
            "/embed": web.post("/embed", json={"samples": samples}),
            "/embed, refused": web.post("/embed", json={"samples": {"a": [1]}}),
        }
    assert answers["/embed"].status_code == 200, answers["/embed"].text
    return {
        path: [answer.status_code, _untimed(answer.json(), DATA)]
        for path, answer in answers.items()
    }


def run(name: str, folder: Path) -> dict[str, Any]:
    """Run a command and describe what came of it.

    Args:
        name: Of the call.
        folder: An empty one.
    """
    out, runs = folder / "out", folder / "runs"
    out.mkdir()
    words = [str(word) for word in CALLS[name]]
    for word in words:
        if word.startswith("RUNS/"):
            shutil.copytree(RUNS / word.removeprefix("RUNS/"), folder / word.lower())
    given = [w.replace("OUT/", f"{out}/").replace("RUNS/", f"{runs}/") for w in words]
    with pytest.MonkeyPatch.context() as patch:
        # Runs know their data by paths that are seen from there.
        patch.chdir(DATA)
        patch.setenv("COLUMNS", "120")
        if name == "demo":
            _with_few_draws(patch)
        said = metamae(*given)
    assert said.status == 0, said
    files = sorted(path for path in out.rglob("*") if path.is_file())
    kept = {path.relative_to(out).as_posix(): path for path in files}
    found = {
        "output": _text(said.out, folder),
        "files": {_line(shown, out): _contents(path, folder) for shown, path in kept.items()},
    }
    described: dict[str, Any] = json.loads(json.dumps(found))
    return described


def _with_few_draws(patch: pytest.MonkeyPatch) -> None:
    from metamae.uses import demo

    whole = demo.evaluate
    patch.setattr(demo, "evaluate", lambda *a, **k: whole(*a, **{**k, "draws": 1}))


def make_commands() -> None:
    """Write what every command says and writes now."""
    COMMANDS.mkdir(exist_ok=True)
    for name in CALLS:
        folder = Path(tempfile.mkdtemp())
        try:
            _write(name, run(name, folder))
        finally:
            shutil.rmtree(folder)
    _write("serve", serve())


def _write(name: str, found: Any) -> None:
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (COMMANDS / f"{name}.json").write_text(text, encoding="utf-8")


def _text(text: str, folder: Path) -> Any:
    try:
        return _untimed(json.loads(text), folder)
    except ValueError:
        return [_line(line, folder) for line in text.splitlines()]


def _line(line: str, folder: Path) -> str:
    line = line.replace(f"{folder}/", "").replace(f"{DATA}/", "DATA/")
    # What follows from the time of a file's last change, versions, times and what they measure.
    line = re.sub(r"store/[0-9a-f]+", "store/DIGEST", line)
    line = re.sub(r"\b\d+\.\d+\.\d+[\w.+-]*", "VERSION", line)
    return re.sub(r"\b[\d,.]+ s\b", "SECONDS", line)


def _untimed(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {k: _untimed(v, folder) for k, v in value.items() if k not in TIMES}
    if isinstance(value, list):
        return [_untimed(one, folder) for one in value]
    return _line(value, folder) if isinstance(value, str) else value


def _contents(path: Path, folder: Path) -> Any:
    read = READ.get(path.suffix)
    return "a file" if read is None else _untimed(read(path), folder)


def _csv(path: Path) -> Any:
    with path.open(encoding="utf-8", newline="") as file:
        return [[_number(cell) for cell in row] for row in csv.reader(file)]


def _number(cell: str) -> Any:
    try:
        return float(cell)
    except ValueError:
        return cell


def _parquet(path: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()[:20]


def _npz(path: Path) -> Any:
    with np.load(path) as file:
        return {name: [list(file[name].shape), _summary(file[name])] for name in file.files}


def _npy(path: Path) -> Any:
    values = np.load(path)
    return [list(values.shape), _summary(values)]


def _summary(values: Any) -> Any:
    if values.dtype.kind not in "fiu":
        return values.tolist()[:20]
    return float((values * np.cos(np.arange(values.size)).reshape(values.shape)).sum())


def _safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    state = load_file(path)
    shapes = {name: list(value.shape) for name, value in sorted(state.items())}
    if path.parent.name == "checkpoints":
        return shapes  # it holds times too
    return {"shapes": shapes, "sum": checksum(state)}


def _html(path: Path) -> Any:
    """The words that a reader of a page sees; drawings and scripts count as their number."""
    text = path.read_text(encoding="utf-8")
    counts = {tag: text.count(f"<{tag}") for tag in ("svg", "img", "table", "script", "section")}
    text = re.sub(r"(?s)<(style|script|svg)\b.*?</\1>", " ", text)
    words = [html.unescape(t).split() for t in re.sub(r"<[^>]*>", "\n", text).splitlines()]
    return {"counts": counts, "words": [" ".join(line) for line in words if line]}


READ: dict[str, Callable[[Path], Any]] = {
    ".csv": _csv,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".jsonl": lambda p: [json.loads(line) for line in p.read_text("utf-8").splitlines()],
    ".toml": lambda path: tomllib.loads(path.read_text(encoding="utf-8")),
    ".md": lambda path: path.read_text(encoding="utf-8").splitlines(),
    ".parquet": _parquet,
    ".npz": _npz,
    ".npy": _npy,
    ".safetensors": _safetensors,
    ".html": _html,
}
