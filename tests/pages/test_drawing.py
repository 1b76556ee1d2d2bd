"""Samples as pictures, curves, letters, rows and points: whole, and with a part hidden."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from metamae.errors import DataError
from metamae.modalities.form import Form
from metamae.pages import raster, shown, thumb
from metamae.pages.form import Guess, Sample, Seen
from pages.markup import Page

EVIL = "</script><img src=x onerror=alert(1)>"


def opened(uri):
    head, content = uri.split(",", 1)
    with Image.open(BytesIO(base64.b64decode(content))) as image:
        assert head == f"data:image/{image.format.lower()};base64"
        return np.asarray(image.convert("RGB"))


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 255], (0, 255)),
        ([3, 200], (0, 255)),
        ([0.0, 0.9], (0, 1)),
        ([-2.0, 3.0], (-2, 3)),
        ([0, 16], (0, 16)),
        ([300, 900], (300, 900)),
        ([4.0, 4.0], (3.5, 4.5)),
        ([np.nan, 2.0, 5.0], (2, 5)),
        ([np.nan, np.nan], (0, 1)),
    ],
)
def test_brightness_is_kept_where_values_have_a_known_range(values, expected):
    assert raster.limits(np.array(values)) == expected


def test_a_picture_shows_values_hidden_and_missing_parts():
    image = np.array([[[0.0, 1.0], [0.5, np.nan]]])
    hidden = np.array([[[True, False], [False, False]]])
    pixels = raster.paint(image, (0, 1), hidden)
    assert pixels.tolist() == [
        [list(raster.HIDDEN), [255, 255, 255]],
        [[128, 128, 128], list(raster.MISSING)],
    ]


def test_three_channels_are_colours_and_two_are_not():
    image = np.stack([np.full((2, 2), v) for v in (1.0, 0.5, 0.0)])
    assert raster.paint(image, (0, 1))[0, 0].tolist() == [255, 128, 0]
    assert raster.paint(image[:2], (0, 1))[0, 0].tolist() == [255, 255, 255]


def test_low_bands_of_a_spectrogram_are_at_the_bottom():
    sound = np.zeros((1, 4, 3))
    sound[0, 0] = 1
    pixels = raster.paint_heat(sound, (0, 1)).sum(axis=2)
    assert (pixels[-1] > pixels[0] + 300).all()


@pytest.mark.parametrize(("size", "most"), [((8, 8), 48), ((64, 40), 48), ((3, 200), None)])
def test_pictures_come_back_as_they_were_or_smaller(size, most):
    pixels = raster.paint(rng().random((3, *size)), (0, 1))
    found = opened(raster.to_uri(pixels, most))
    if most is None or max(size) <= most:
        assert np.array_equal(found, pixels)
    else:
        assert max(found.shape[:2]) == most
        assert np.abs(found.astype(float).mean() - pixels.mean()) < 3


def values(kind):
    """A sample of a kind, what is hidden of it, and a guess."""
    shape = {
        "image": (3, 6, 6),
        "spectrogram": (1, 6, 9),
        "volume": (1, 5, 4, 4),
        "curve": (5, 30),
        "points": (40, 3),
    }.get(kind)
    if shape is not None:
        original = rng().normal(size=shape)
        hidden = np.zeros(shape, dtype=bool)
        hidden[..., 2:4] = True
        if kind == "points":
            hidden = np.repeat(np.arange(40)[:, None] < 20, 3, axis=1)
        return original, hidden, Guess(original + 0.5)
    if kind == "letters":
        return list("hello"), np.arange(5) > 2, Guess(list("helxo"), (0.9, 0.9, 0.9, 0.25, 0.5))
    row = [1.5, "red", None]
    return row, np.array([True, True, False]), Guess([2.25, "blue", 0.0], (None, 0.75, None))


def form(kind):
    dims = 3 if kind == "points" else 2
    return Form(kind, names=("size", "colour", "age"), dims=dims)


KINDS = ("image", "spectrogram", "volume", "curve", "letters", "row", "points")
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_a_thumb_of_every_kind_is_small_and_sound(kind):
    original, _, _ = values(kind)
    value = "".join(original) if kind == "letters" else original
    view = thumb.draw(Sample("", ((form(kind), value),)))
    page = Page(str(view))
    assert len(view) < 3000
    assert page.all("svg") or page.all("img") or page.text("div")


@every_kind
@pytest.mark.parametrize("inner_step", [True, False])
def test_every_kind_shows_original_and_guesses(kind, inner_step):
    original, hidden, guess = values(kind)
    seen = Seen(form(kind), original, hidden, guess, guess if inner_step else None)
    text = str(shown.draw(seen, "sample 7"))
    page = Page(text)
    assert "sample 7" in text
    assert all(image["alt"] for image in page.all("img"))
    if kind == "curve":
        assert len(page.all("img")) == 1
        return
    assert ("before the inner step" in text) == inner_step
    assert ("completed" in text) != inner_step
    if kind not in ("letters", "row"):
        assert len(page.all("img")) == 3 + inner_step


def test_completed_pictures_keep_the_visible_part():
    original, hidden, guess = values("image")
    text = str(shown.draw(Seen(form("image"), original, hidden, guess), "s"))
    panels = [opened(a["src"]).astype(int) for a in Page(text).all("img")]
    step = panels[0].shape[0] // 6
    whole, visible, completed = (p[::step, ::step] for p in panels)
    assert np.array_equal(whole[:, :2], completed[:, :2])
    assert np.array_equal(whole[:, :2], visible[:, :2])
    assert (visible[:, 2:4] == raster.HIDDEN).all()
    assert np.abs(whole[:, 2:4] - completed[:, 2:4]).mean() > 5


def test_errors_are_those_of_the_hidden_part_in_the_units_of_the_user():
    original, hidden, _ = values("image")
    wrong = np.where(hidden, original + 2.5, original - 9)
    text = str(shown.draw(Seen(form("image"), original, hidden, Guess(wrong), Guess(original)), ""))
    assert "2.5 before the inner step, 0 after the inner step" in text


def test_letters_say_what_was_guessed_and_how_sure():
    original, hidden, guess = values("letters")
    text = str(shown.draw(Seen(form("letters"), original, hidden, guess), "s"))
    assert "Hidden symbols guessed: 1 of 2 completed" in text
    assert '<span class="miss">x<small>25</small></span>' in text
    assert '<span class="hit">o<small>50</small></span>' in text
    assert text.count('class="hid"') == 2


def test_long_sequences_are_cut_and_blanks_are_visible():
    original = list("a b\n" * 100)
    hidden = np.zeros(400, dtype=bool)
    text = str(shown.draw(Seen(form("letters"), original, hidden, Guess(original)), "s"))
    assert "The last 160 symbols are not shown." in text
    assert "␣" in text and "↵" in text


def test_hidden_cells_come_first_and_missing_ones_are_named():
    original, hidden, guess = values("row")
    page = Page(str(shown.draw(Seen(form("row"), original, hidden, guess), "s")))
    assert page.text("tbody") == "size 1.5 2.25 colour red blue (75 %) age – missing"
    assert "2 of 3 cells were hidden" in page.text("p")


def test_wide_rows_are_cut():
    names = tuple(f"c{n}" for n in range(100))
    wide = Form("row", names=names)
    seen = Seen(wide, [0.0] * 100, np.zeros(100, dtype=bool), Guess([0.0] * 100))
    assert "76 more columns are not shown" in str(shown.draw(seen, "s"))
    assert "… 94 more" in str(thumb.draw(Sample("", ((wide, [0.0] * 100),))))


@pytest.mark.parametrize("kind", ["letters", "row"])
def test_what_users_wrote_is_text_and_no_markup(kind):
    names = Form(kind, part=EVIL, names=(EVIL, EVIL, EVIL))
    value = EVIL if kind == "letters" else [EVIL, EVIL, EVIL]
    whole = Page(str(thumb.draw(Sample(EVIL, ((names, value),)))))
    guess = Guess([EVIL] * 3, (0.5, 0.5, 0.5))
    part = Page(
        str(shown.draw(Seen(names, [EVIL] * 3, np.array([True, False, True]), guess), EVIL))
    )
    for page in (whole, part):
        assert not page.all("img") and not page.all("script")
        assert "</script" in page.text("div") + page.text("p")


@pytest.mark.parametrize("kind", ["image", "spectrogram", "volume", "curve", "points"])
@pytest.mark.parametrize("fill", [np.nan, 4.0])
def test_samples_of_which_nothing_is_known_or_all_is_equal(kind, fill):
    original, hidden, _ = values(kind)
    empty = np.full_like(original, fill)
    thumb.draw(Sample("", ((form(kind), empty),)))
    shown.draw(Seen(form(kind), empty, hidden, Guess(empty), Guess(empty)), "s")


def test_curves_of_one_step_and_gaps():
    one = np.ones((1, 1))
    thumb.draw(Sample("", ((form("curve"), one),)))
    shown.draw(Seen(form("curve"), one, one > 0, Guess(one)), "s")
    gappy = np.array([[0.0, np.nan, 2.0, 3.0]])
    assert str(thumb.draw(Sample("", ((form("curve"), gappy),)))).count("M") == 2


def test_curves_of_many_channels_say_how_many_are_shown():
    original, hidden, guess = values("curve")
    assert "4 of 5 channels" in str(shown.draw(Seen(form("curve"), original, hidden, guess), "s"))


def test_points_may_have_features_and_two_coordinates():
    flat = np.column_stack([rng().normal(size=(9, 2)), np.full(9, 1e9)])
    view = str(thumb.draw(Sample("", ((Form("points", dims=2), flat),))))
    assert view.count("h0") == 9
    hidden = np.ones_like(flat, dtype=bool)
    shown.draw(Seen(Form("points", dims=2), flat, hidden, Guess(flat)), "s")


def test_a_form_of_no_known_kind_is_refused():
    with pytest.raises(DataError, match=r"Form.kind must be one of image, .*; got 'smell'"):
        Form("smell")
