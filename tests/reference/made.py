"""What version 0.1.0 made of five small data sets: runs, vectors, losses, and what commands said.

`python tests/reference/made.py` made the folders `data` and `runs` and `steps.json` at commit
edf08b8, and refuses to touch them; `python tests/reference/made.py commands` makes `commands` anew,
which is right where a command was meant to say something else.
"""

import contextlib
import hashlib
import json
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

FOLDER = Path(__file__).parent
DATA, RUNS, COMMANDS = FOLDER / "data", FOLDER / "runs", FOLDER / "commands"
STEPS, VECTORS, DIGESTS = FOLDER / "steps.json", FOLDER / "vectors.npz", FOLDER / "digests.json"

# Modality -> file, and what is no input.
SOURCES: dict[str, tuple[str, list[str]]] = {
    "grid": ("series.npz", ["y"]),
    "symbols": ("words.csv", ["label"]),
    "table": ("table.csv", ["kind", "size"]),
    "points": ("points.npz", ["y"]),
    "mixture": ("notes.csv", ["label"]),
}
METHODS = (
    "capri",
    "data2vec",
    "emix",
    "mae",
    "masked_embedding",
    "metamae",
    "psco",
    "random_teacher",
    "shed",
)
PAIRS = [(modality, method) for modality in SOURCES for method in METHODS]
# Half a megabyte each, nearly all of it projections that no use of a run reads: kept once.
LARGE = ("psco", "random_teacher")
KEPT = [(a, b) for a, b in PAIRS if a == "grid" or b not in LARGE]
NETWORK: dict[str, Any] = {
    "width": 8,
    "depth": 1,
    "heads": 2,
    "decoder_width": 8,
    "decoder_depth": 1,
    "decoder_heads": 2,
}
SETTINGS: dict[str, Any] = {**NETWORK, "dropout": 0.1, "steps": 20, "log_every": 1}
# Of a method, so that its run stays small.
SMALL = {"psco": {"queue": 64}}
SAMPLES = 10  # that have vectors
INTERRUPTED = RUNS / "grid-metamae-interrupted"
FINETUNED, PORTABLE = RUNS / "table-finetuned", RUNS / "table-portable"


def settings(method: str) -> dict[str, Any]:
    """Return the settings of the run of a method."""
    return {**SETTINGS, "method": method, **SMALL.get(method, {})}


def source(modality: str) -> Path:
    """Return the file of a modality's samples."""
    return DATA / SOURCES[modality][0]


def pretrain(modality: str, method: str, out: Path, *, resume: bool = False, **more: Any) -> None:
    """Learn from the samples of a modality as the runs here were learnt."""
    import metamae

    file, ignore = SOURCES[modality]
    chosen = {**settings(method), "modality": modality, **more}
    # A run remembers where its samples were: a path that says nothing of this machine.
    with contextlib.chdir(DATA):
        metamae.pretrain(file, out, settings=chosen, ignore=ignore, resume=resume)


def kernels() -> dict[str, str]:
    """Say what decides how float32 sums are rounded on this machine."""
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        facts = ""
    found = {
        key: next(iter(re.findall(rf"^{key}\s*: (.*)$", facts, re.MULTILINE)), "")
        for key in ("model name", "flags")
    }
    return {
        "processor": found["model name"] or platform.processor(),
        "instructions": hashlib.sha256(found["flags"].encode()).hexdigest()[:16],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def losses(run: Path) -> list[float]:
    """Read the losses that a run logged."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


def digest(path: Path) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checksum(state: Mapping[str, torch.Tensor]) -> float:
    """Return one number that follows from all weights, and from which weight is which."""
    total = 0.0
    for number, (_, value) in enumerate(sorted(state.items())):
        flat = value.detach().double().flatten()
        place = torch.arange(1, len(flat) + 1, dtype=torch.float64) + number
        total += float((flat * place.cos()).sum())
    return total


def float64_steps(modality: str, method: str) -> tuple[list[float], float]:
    """Take 20 steps in float64: losses, and the checksum of the weights after them.

    Rounding then differs in the 16th digit between machines, so that 20 steps of it stay far from
    the 6th; the run folders hold the float32 of the machine that they were made on.
    """
    import metamae
    from metamae.methods import METHODS as REGISTRY
    from metamae.run.build import Network, build_method

    pretrained = metamae.load(RUNS / f"{modality}-mae")
    spec, path = pretrained.schema.modality, source(modality)
    records = pretrained.records(pretrained.config.read(path))
    masked = "masking" in REGISTRY.parts(method)
    built = build_method(
        spec,
        Network(**{**NETWORK, "dropout": 0.1}),
        method=method,
        method_settings=SMALL.get(method, {}),
        masking="random" if masked else None,
        masking_settings={"ratio": 0.5} if masked else {},
        seed=0,
    ).double()
    optimizer = torch.optim.AdamW(built.parameters(), lr=1e-3)
    rng = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    found = []
    for number in range(20):
        index = (np.arange(16) + 16 * number) % len(records)
        batch = {
            key: value.double() if value.is_floating_point() else value
            for key, value in spec.batch(records, index).items()
        }
        built.before_update((number + 0.5) / 20)
        loss = built(batch, rng).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        built.after_update((number + 1) / 20, torch.tensor(True))
        found.append(loss.item())
    return found, checksum(built.state_dict())


def _lines(rows: list[str]) -> str:
    return "\n".join(rows) + "\n"


def make_data() -> None:
    """Write the five data sets."""
    rng = np.random.default_rng(0)
    DATA.mkdir()
    x = rng.normal(size=(80, 2, 16)).cumsum(axis=-1).astype(np.float32)
    np.savez_compressed(DATA / "series.npz", X=x, y=(x[:, 0].mean(axis=1) > 0).astype(np.int64))

    y = np.arange(64) % 2
    points = rng.normal(size=(64, 24, 3)) * np.where(y, 2.0, 1.0)[:, None, None]
    np.savez_compressed(DATA / "points.npz", X=points.astype(np.float32), y=y)

    rows = ["a,b,c,d,kind,size"]
    for number in range(80):
        a = rng.normal()
        b = "" if number % 7 == 0 else f"{2 * a + rng.normal() / 10:.4f}"
        day = f"2024-{1 + number % 12:02d}-{1 + number % 28:02d}"
        color = "red" if a > 0.5 else "blue"
        kind = "up" if a > 0 else "down"
        rows.append(f"{a:.4f},{b},{color},{day},{kind},{a * 3 + rng.normal():.3f}")
    (DATA / "table.csv").write_text(_lines(rows), encoding="utf-8")

    rows = ["text,label"]
    for number in range(80):
        letters = list("ACGT" if number % 2 else "AACG")
        text = "".join(rng.choice(letters, rng.integers(6, 25)))
        rows.append(f"{text},{'mixed' if number % 2 else 'poor'}")
    (DATA / "words.csv").write_text(_lines(rows), encoding="utf-8")

    rows = ["weight,height,note,label"]
    for number in range(80):
        weight, tall = rng.normal(), number % 2
        words = ["far", "wide", "open"] if tall else ["near", "low", "open"]
        note = " ".join(rng.choice(words, 3 + number % 4)) + f" {number}"
        height = "" if number % 9 == 0 else f"{weight + tall:.4f}"
        rows.append(f"{weight:.4f},{height},{note},{'tall' if tall else 'short'}")
    (DATA / "notes.csv").write_text(_lines(rows), encoding="utf-8")


def make_runs() -> None:
    """Write a run of every method on every modality, and folders that uses make of runs."""
    import metamae

    for modality, method in KEPT:
        out = RUNS / f"{modality}-{method}"
        pretrain(modality, method, out)
        shutil.rmtree(out / "checkpoints")
    # As a kill after step 10 leaves it.
    pretrain("grid", "metamae", INTERRUPTED, checkpoint_every=10)
    (INTERRUPTED / "checkpoints" / "step-00000020.safetensors").unlink()
    (INTERRUPTED / "model.safetensors").unlink()
    lines = (INTERRUPTED / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = "".join(line for line in lines if json.loads(line)["step"] <= 10)
    (INTERRUPTED / "metrics.jsonl").write_text(kept, encoding="utf-8")

    run = RUNS / "table-metamae"
    with contextlib.chdir(DATA):
        metamae.finetune(run, "table.csv", "kind", FINETUNED, training={"steps": 10})
    metamae.export(run, PORTABLE, format="huggingface")


def vectors(modality: str, method: str) -> np.ndarray:
    """Embed the first samples of a modality by a run that stands here."""
    import metamae

    pretrained = metamae.load(RUNS / f"{modality}-{method}")
    records = pretrained.config.read(source(modality))
    found = pretrained.embed(records.subset(np.arange(SAMPLES)))
    assert isinstance(found, np.ndarray)
    return found


def main() -> None:
    """Write what is asked for."""
    sys.path.insert(0, str(FOLDER.parent))
    torch.set_num_threads(1)
    if sys.argv[1:] == ["commands"]:
        from reference.commands import make_commands

        make_commands()
        return
    if DATA.exists() or RUNS.exists():
        sys.exit("data and runs are those of 0.1.0 and stay as they are")
    make_data()
    make_runs()
    np.savez_compressed(VECTORS, **{f"{a}-{b}": vectors(a, b) for a, b in KEPT})  # type: ignore[arg-type]
    steps = {}
    for modality, method in PAIRS:
        found, weights = float64_steps(modality, method)
        steps[f"{modality}-{method}"] = {"losses": found, "weights": weights}
    STEPS.write_text(json.dumps({"kernels": kernels(), "steps": steps}, indent=1) + "\n")
    files = sorted(p for top in (DATA, RUNS) for p in top.rglob("*") if p.is_file())
    digests = {p.relative_to(FOLDER).as_posix(): digest(p) for p in [*files, VECTORS, STEPS]}
    DIGESTS.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
