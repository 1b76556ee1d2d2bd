"""A sixth modality from outside, the one of docs/write-your-own.md, through the public faces."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import metamae
from command import TINY
from command import metamae as command
from metamae.core.registry import added
from metamae.errors import ConfigError
from metamae.masking import MASKINGS
from metamae.masking.base import Masking
from metamae.modalities import MODALITIES
from metamae.schema.schema import infer_schema

PAGE = Path(__file__).parents[2] / "docs" / "write-your-own.md"
NUM = 60
SETTINGS = {**TINY, "steps": 4, "checkpoint_every": 2, "log_every": 1}


def code() -> str:
    """The modality on the page."""
    found = re.search(r"(?s)```python\n(.*?)```", PAGE.read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def intervals(tmp_path_factory):
    """The page's module, registered while these tests run."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "intervals_of_the_page.py").write_text(code(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        module = importlib.import_module("intervals_of_the_page")
        metamae.register("modality", "intervals", module.Intervals)
        yield module
    del added("metamae.modalities")["intervals"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Samples whose label is the colour of most intervals; some values are missing in another."""
    folder = tmp_path_factory.mktemp("intervals")
    rng = np.random.default_rng(0)
    y = np.arange(NUM) % 2
    begin = rng.normal(size=(NUM, 6)).cumsum(axis=1)
    length = np.abs(begin) / 2 + rng.normal(size=(NUM, 6)) / 10
    colour = (rng.random((NUM, 6)) < 0.2 + 0.6 * y[:, None]).astype(float)
    x = np.stack([begin, length, colour], axis=2)
    gappy = x.copy()
    gappy[::3, 2, 1], gappy[1, 4] = np.nan, np.nan
    np.savez(folder / "whole.npz", intervals=x, y=y)
    np.savez(folder / "gappy.npz", intervals=gappy)
    return folder


@pytest.fixture(scope="module")
def run(intervals, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    metamae.pretrain(data / "whole.npz", out, settings=SETTINGS, ignore=["y"])
    return out


def test_it_is_recognised_and_described(intervals, data):
    said = command("inspect", data / "whole.npz", "--ignore", "y", "--json")
    assert said.status == 0 and '"modality": "intervals"' in said.out
    assert "intervals of" in said.out
    said = command("list", "modalities")
    assert "share=0.5" in said.out and "sets of coloured intervals" in said.out


def test_it_goes_on_after_a_stop_as_if_there_had_been_none(run, data, tmp_path):
    half = tmp_path / "half"
    shown = []

    def stop(progress, done, line):
        shown.append(progress.step)
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        metamae.pretrain(data / "whole.npz", half, settings=SETTINGS, ignore=["y"], observe=stop)
    metamae.pretrain(data / "whole.npz", half, settings=SETTINGS, ignore=["y"], resume=True)
    names = ["model.safetensors", "schema.json"]
    assert all((half / name).read_bytes() == (run / name).read_bytes() for name in names)


def test_it_embeds_and_reconstructs(run, data):
    encoder = metamae.load(run)
    vectors = encoder.embed(data / "whole.npz")
    assert vectors.shape == (NUM, 16) and np.isfinite(vectors).all()
    alone = encoder.embed(np.load(data / "whole.npz")["intervals"][:1])
    assert np.array_equal(alone[0], vectors[0])
    some = np.load(data / "whole.npz")["intervals"][:5]
    found = encoder.reconstruct(some)
    assert np.allclose(found.original, some, atol=1e-5) and found.after.shape == (5, 6, 3)


def test_it_is_drawn(run, data, tmp_path):
    page = tmp_path / "page.html"
    said = command("report", run, "--data", data / "whole.npz", "--label", "y", "--out", page)
    assert said.status == 0, said
    text = page.read_text(encoding="utf-8")
    assert "Sets of 6 coloured intervals" in text and "after the inner step" in text
    assert text.count("<svg") > 3


def test_it_is_filled_and_the_filling_checked(run, data, tmp_path):
    out = tmp_path / "filled.npz"
    said = command("impute", run, data / "gappy.npz", "--out", out, "--check")
    assert said.status == 0, said
    before, after = np.load(data / "gappy.npz")["intervals"], np.load(out)["intervals"]
    gaps = np.isnan(before)
    assert gaps.any() and np.isfinite(after).all()
    assert np.array_equal(before[~gaps], after[~gaps])
    assert "length" in said.out and "mean" in said.out


def test_what_is_unusual_is_detected(run, data, tmp_path):
    page = tmp_path / "page.html"
    options = ["--by", "mahalanobis", "--by", "reconstruction", "--false-alarms", "0.1"]
    said = command("detect", run, data / "whole.npz", *options, "--page", page)
    assert said.status == 0, said
    assert page.read_text(encoding="utf-8").count("<article") > 0


def test_an_answer_is_attributed(run, data):
    found = metamae.attribute_tokens(run, data / "whole.npz", "y", samples=5)
    assert found.to_dict()


def test_it_is_exported(run, data, tmp_path):
    metamae.export(run, tmp_path / "program", data=str(data / "whole.npz"))
    metamae.export(run, tmp_path / "portable", format="huggingface")
    x = np.load(data / "whole.npz")["intervals"]
    found = metamae.from_pretrained(tmp_path / "portable").embed(x)
    assert np.array_equal(found, metamae.load(run).embed(x))


def test_it_is_a_part_of_mixtures(intervals, data):
    with np.load(data / "whole.npz") as file:
        x = file["intervals"]
    rng = np.random.default_rng(0)
    records = metamae.Records({"intervals": x, "series": rng.normal(size=(NUM, 2, 16))}, "made")
    spec = infer_schema(records).modality
    assert [own.kind for _, own in spec.leaves] == ["intervals", "grid"]


def test_an_installed_package_is_found(tmp_path):
    (tmp_path / "coloured.py").write_text(code(), encoding="utf-8")
    facts = tmp_path / "coloured-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: coloured\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[metamae.modalities]\nintervals = coloured:Intervals\nbroken = nowhere:Nothing\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    said = subprocess.run(
        [sys.executable, "-m", "metamae", "list", "modalities"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0 and "intervals" in said.stdout
    assert "plug-in 'broken' of coloured is left out: ModuleNotFoundError" in said.stderr


class Last(Masking):
    """Hides the last tokens."""

    description = "the last tokens of each sample"

    def scores(self, tokens, rng):
        B, N = tokens.values.shape[:2]
        import torch

        return -torch.arange(N, dtype=torch.float32).expand(B, N)


def test_a_masking_is_registered_too():
    try:
        metamae.register("masking", "last", Last)
        metamae.register("masking", "last", Last)  # once more changes nothing
        assert MASKINGS.get("last") is Last and "last" in MASKINGS.entries
        x = np.random.default_rng(0).normal(size=(20, 2, 16))
        encoder, _ = metamae.pretrain(x, settings={**TINY, "steps": 1, "masking": "last"})
        assert encoder.config.masking == "last"
    finally:
        added("metamae.maskings").pop("last", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("modalty", "a", Last), r"Register\.kind .*got 'modalty'"),
        (("masking", "random", Last), "Masking 'random' is taken"),
        (("masking", "my own", Last), "'my_own' would do"),
        (
            ("masking", "a", Last(ratio=0.5)),
            r"must be a subclass of metamae\.masking\.base\.Masking",
        ),
        (("method", "a", Last), r"must be a subclass of metamae\.methods\.base\.Method"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        metamae.register(*arguments)
    assert "a" not in MASKINGS.entries and "a" not in MODALITIES.entries
