"""Data sets on disk that many tests read and none writes."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command import TINY
from metamae import pretrain


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    # Small products gain nothing from more, and sums over other numbers of threads differ in the
    # last digit: processes that tests start must use as many as the tests.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(before)


def walks(num: int, channels: int, length: int, seed: int = 0) -> np.ndarray:
    """Random walks (num, channels, length): series whose hidden part can be guessed."""
    steps = np.random.default_rng(seed).normal(size=(num, channels, length))
    return steps.cumsum(axis=-1).astype(np.float32)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A folder of small data sets.

    series.npz: "X" (80, 2, 16) and "y", whether the first channel is positive on average.
    table.csv: numbers "a" and "b" (gappy), category "c", label "kind" and number "size".
    words.csv: strings "text" of unequal lengths, and "label".
    images: folders "dark" and "light" of RGB images.
    """
    folder = tmp_path_factory.mktemp("data")
    x = walks(80, 2, 16)
    np.savez(folder / "series.npz", X=x, y=(x[:, 0].mean(axis=1) > 0).astype(np.int64))

    rng = np.random.default_rng(1)
    rows = ["a,b,c,kind,size"]
    for number in range(90):
        a = rng.normal()
        b = "" if number % 7 == 0 else f"{2 * a + rng.normal() / 10:.4f}"
        sign = "up" if a > 0 else "down"
        rows.append(f"{a:.4f},{b},{'red' if a > 0.5 else 'blue'},{sign},{a * 3 + rng.normal():.3f}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")

    lines = ["text,label"]
    for number in range(60):
        letters = "ACGT" if number % 2 else "AACG"
        text = "".join(rng.choice(list(letters), rng.integers(3, 25)))
        lines.append(f"{text},{'mixed' if number % 2 else 'poor'}")
    (folder / "words.csv").write_text("\n".join(lines) + "\n")

    for name, level in (("dark", 60), ("light", 190)):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(30):
            pixels = rng.normal(level, 25, (8, 8, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{number:02d}.png")
    return folder


# Name -> file, and fields that are no input.
SOURCES: dict[str, tuple[str, list[str]]] = {
    "series": ("series.npz", ["y"]),
    "table": ("table.csv", ["kind", "size"]),
    "words": ("words.csv", ["label"]),
    "images": ("images", ["label"]),
}


@pytest.fixture(scope="session")
def runs(data, tmp_path_factory) -> Path:
    """A folder of short runs, one for each of the data sets; to be read and not written."""
    folder = tmp_path_factory.mktemp("runs")
    for name, (file, ignore) in SOURCES.items():
        pretrain(data / file, folder / name, settings={**TINY, "steps": 3}, ignore=ignore)
    return folder


def pytest_configure():
    """Let Ctrl-C mean what it does in a terminal, wherever the tests are started from."""
    # A shell that starts a job in the background has it ignore the signal.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
