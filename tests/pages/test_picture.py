"""Pictures of reconstructions: images, series and rows of a table."""

import numpy as np
import pytest
from PIL import Image

from metamae import load
from metamae.errors import ArtifactError, DataError
from metamae.pages.picture import MOST_SAMPLES, draw_reconstruction


def reconstruction(shape, seed=0):
    rng = np.random.default_rng(seed)
    original = rng.normal(5, 2, shape)
    return {
        "original": original,
        "hidden": rng.random(shape) < 0.5,
        "before": original + rng.normal(size=shape),
        "after": original + rng.normal(size=shape) / 9,
    }


def opened(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        image.load()
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(
    "shape",
    [(3, 1, 8, 8), (3, 3, 8, 6), (3, 2, 7, 7), (3, 4, 40), (3, 1, 5), (3, 9), (20, 1, 4, 4)],
)
def test_a_picture_shows_what_there_is(tmp_path, shape):
    draw_reconstruction(tmp_path / "p.png", **reconstruction(shape), title="title")
    pixels = opened(tmp_path / "p.png")
    assert pixels.std() > 5
    rows = min(shape[0], MOST_SAMPLES)
    assert pixels.shape[0] == pytest.approx(
        120 * ((1.3 if len(shape) == 4 else 0.8) * rows + 0.9), 2
    )


def test_without_an_inner_step_there_is_one_panel_less(tmp_path):
    found = reconstruction((2, 1, 8, 8))
    draw_reconstruction(tmp_path / "with.png", **found, title="")
    draw_reconstruction(tmp_path / "without.png", **{**found, "after": None}, title="")
    widths = [opened(tmp_path / name).shape[1] for name in ("with.png", "without.png")]
    assert widths[0] * 3 == pytest.approx(widths[1] * 4, rel=0.02)


@pytest.mark.parametrize("shape", [(3, 1, 8, 8), (3, 2, 40), (3, 9)])
def test_missing_and_constant_values_are_drawn_in_silence(tmp_path, shape):
    found = reconstruction(shape)
    found["original"][0].flat[0] = np.nan
    found["original"][:, -1] = 4.0
    found["original"][2] = 4.0
    draw_reconstruction(tmp_path / "p.png", **found, title="title")
    assert opened(tmp_path / "p.png").size


def test_a_sample_of_which_nothing_is_known(tmp_path):
    found = reconstruction((2, 1, 6))
    found["original"][1] = np.nan
    draw_reconstruction(tmp_path / "p.png", **found, title="title")
    found = reconstruction((3, 4))
    found["original"][:, 2] = np.nan
    draw_reconstruction(tmp_path / "q.png", **found, title="title")
    found = reconstruction((2, 5, 6))
    found["original"][1, :3] = np.nan
    draw_reconstruction(tmp_path / "r.png", **found, title="title")


@pytest.mark.parametrize("shape", [(3, 1, 8, 8), (3, 2, 40), (3, 9)])
@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_unit_of_the_values_does_not_matter(tmp_path, shape, unit):
    found = reconstruction(shape)
    draw_reconstruction(tmp_path / "a.png", **found, title="title")
    scaled = {k: v if k == "hidden" else v * unit for k, v in found.items()}
    draw_reconstruction(tmp_path / "b.png", **scaled, title="title")
    a, b = (opened(tmp_path / name).astype(float) for name in ("a.png", "b.png"))
    assert np.abs(a - b).mean() < 1


@pytest.mark.parametrize("name", ["series", "images"])
def test_what_an_encoder_gives_can_be_drawn(runs, data, tmp_path, name):
    file = {"series": "series.npz", "images": "images"}[name]
    found = load(runs / name).reconstruct(data / file)
    draw_reconstruction(tmp_path / "p.png", **vars(found), title=name)
    assert opened(tmp_path / "p.png").std() > 5


@pytest.mark.parametrize(
    "original",
    [
        np.array(["text", "more"], dtype=object),
        np.zeros((2, 1, 3, 3, 3)),
        np.array([[1.0, "red"], [2.0, "blue"]], dtype=object),
    ],
)
def test_what_cannot_be_drawn_is_named(tmp_path, original):
    blank = np.zeros(original.shape, dtype=bool)
    with pytest.raises(DataError, match=r"must be images, series or rows of numbers; got shape"):
        draw_reconstruction(
            tmp_path / "p.png",
            original=original,
            hidden=blank,
            before=original,
            after=None,
            title="",
        )
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path):
    with pytest.raises(ArtifactError, match="must be writable"):
        draw_reconstruction(tmp_path / "no" / "p.png", **reconstruction((2, 6)), title="")
