"""Samples with the strangeness of their places as colours, and the page of the strangest."""

import re
from dataclasses import replace

import numpy as np
import pytest

from metamae.modalities.form import KINDS, Form
from metamae.pages.form import Heated
from metamae.pages.heat import draw_heat
from metamae.pages.heat_charts import draw_heated_curve, draw_ramp, draw_scores
from metamae.pages.ramp import Ramp, ink_on, ramp_of
from metamae.pages.raster import MISSING
from metamae.pages.strange import Odd, Scored, Strange, verdict_of, write_strange
from pages.markup import Page, check_accessible, check_self_contained
from pages.test_drawing import EVIL, opened

RAMP = Ramp(low=0.0, rare=1.0, high=9.0)
SECTIONS = ["detectors", "scores", "strangest", "settings"]


# Kind -> shape of the values, and where the strangest place is.
PLACES = {
    "image": ((3, 8, 6), np.s_[:, 2:4, 4:6]),
    "spectrogram": ((1, 8, 6), np.s_[:, 5, 1:3]),
    "volume": ((1, 9, 4, 5), np.s_[:, 5, 2:4, 3]),
    "curve": ((2, 20), np.s_[1, 4:8]),
    "points": ((30, 3), np.s_[4]),
}


def heated(kind, name="a"):
    """A part whose strangest place has 7."""
    if kind in PLACES:
        shape, place = PLACES[kind]
        values, heat = np.random.default_rng(0).random((2, *shape))
        heat[place] = 7.0
        return Heated(Form(kind, dims=3), values, heat)
    heat = np.array([0.5, 7.0, np.nan, 2.0])
    if kind == "row":
        return Heated(Form(kind, names=(name, "b", "c", "d")), [name, 2.0, None, "x"], heat)
    return Heated(Form(kind), [name, "G", " ", "T"], heat)


def page_of(name="sample", **changes):
    rng = np.random.default_rng(1)
    scores = rng.normal(size=20)
    told = (0.9, 0.85, 0.95)
    odd = [
        Odd(f"{name} {n}", 7.5, n < 3, f"{name}: 1, not normal", name, [heated(kind, name)])
        for n, kind in enumerate(KINDS)
    ]
    normal = np.arange(20) < 12
    found = Strange(
        title=name,
        summary=f"20 samples of {name}.",
        facts={"scored": name},
        notes=[name],
        header=["detector", "threshold", "alarms"],
        rows=[["memory", "1.2", name], ["raw_knn", "none", "0"]],
        scored=[
            Scored("memory", scores, 1.2, 3, told, told),
            Scored("raw_knn", scores, np.inf, 0, (0.7, 0.6, 0.8), told, is_baseline=True),
        ],
        unusual=0.4,
        groups={"labelled normal": normal, "labelled not normal": ~normal},
        usual=(0.4, 1.5),
        odd=odd,
        versions={"metamae": "0"},
    )
    return replace(found, **changes)


def test_colours_darken_with_strangeness_and_say_what_they_stand_for():
    values = np.array([-5.0, 0, 0.5, 1, 3, 9, 99])
    colours = RAMP.colours(values).astype(int)
    assert colours[0].tolist() == colours[1].tolist() == [255, 255, 255]
    assert colours[5].tolist() == colours[6].tolist()
    assert (np.diff(colours[1:6].sum(axis=1)) < 0).all()
    assert RAMP.colours(np.array([np.nan])).tolist() == [list(MISSING)]
    np.testing.assert_allclose(RAMP.value(RAMP.share(values[1:6])), values[1:6])
    chart = draw_ramp(RAMP)
    assert "White: 0 or less" in chart.caption and "Dark violet: 9 or more" in chart.caption


@pytest.mark.parametrize("colour", RAMP.colours(np.linspace(0, 9, 200)).tolist())
def test_letters_can_be_read_on_every_colour(colour):
    def light(rgb):
        part = np.array(rgb) / 255
        linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    ink = 0.0 if ink_on(colour) == "#000000" else 1.0
    one, two = sorted([light(colour), ink])
    assert (two + 0.05) / (one + 0.05) >= 4.5


def test_the_colours_span_what_is_usual_and_what_is_shown():
    shown = [np.array([1.0, np.nan]), np.arange(100.0)]
    ramp = ramp_of((0.5, 2.0), shown)
    assert (ramp.low, ramp.rare) == (0.5, 2.0) and 90 < ramp.high < 99
    assert ramp_of((0.5, 2.0), [np.array([np.nan])]).high == 2.0
    alike = ramp_of((3.0, 3.0), [np.array([3.0])])
    assert alike.high > alike.low and np.isfinite(alike.share(np.array([3.0, 4.0]))).all()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("image", "rows 2 to 3, columns 4 to 5, 7."),
        ("spectrogram", "band 5, frames 1 to 2, 7."),
        ("volume", "slice 5, rows 2 to 3, column 3, 7."),
        ("curve", "channel 1, steps 4 to 7, 7."),
        ("points", "Strangest: around ("),
        ("letters", "Strangest: G at 1 (7), T at 3 (2), a at 0 (0.5)."),
        ("row", "<td>2</td>"),
    ],
)
def test_every_form_shows_and_says_its_strangest_place(kind, said):
    text = str(draw_heat(heated(kind), "one", RAMP))
    assert said in text
    page = Page(text)
    assert all(image["alt"].startswith("one") for image in page.all("img"))


def test_a_picture_is_hot_where_it_is_strange():
    heat = np.zeros((1, 4, 4))
    heat[:, :2, 2:] = 9.0
    white = Heated(Form("image"), np.ones((1, 4, 4)), heat)
    _, over = (opened(a["src"]) for a in Page(str(draw_heat(white, "one", RAMP))).all("img"))
    half = len(over) // 2
    assert (over[:half, half:] == RAMP.colours(np.array(9.0))).all()
    assert (over[half:] == 255).all() and (over[:, :half] == 255).all()
    # Sound has its low bands at the bottom, and so has its heat.
    sound = Heated(Form("spectrogram"), np.ones((1, 4, 4)), heat)
    _, over = (opened(a["src"]) for a in Page(str(draw_heat(sound, "one", RAMP))).all("img"))
    assert (over[half:, half:] == RAMP.colours(np.array(9.0))).all()


def test_the_strangest_slices_channels_letters_and_cells_are_shown():
    heat = np.zeros((1, 9, 4, 4))
    heat[0, 1], heat[0, 8] = 3.0, 4.0
    volume = draw_heat(Heated(Form("volume"), np.ones((1, 9, 4, 4)), heat), "one", RAMP)
    assert "Slices 1, 3, 8 of 9." in volume
    many = np.zeros((9, 8))
    many[[2, 7], 3] = 5.0
    curve = Heated(Form("curve"), np.ones((9, 8)), many)
    assert draw_heated_curve(curve, RAMP, "").caption.startswith("4 of 9 channels")
    long = np.zeros(1000)
    long[700] = 5.0
    text = draw_heat(Heated(Form("letters"), ["A"] * 700 + ["C"] * 300, long), "one", RAMP)
    assert "Symbols 580 to 819 of 1000 are shown." in text and "C at 700 (5)" in text
    names = tuple(f"n{n}" for n in range(40))
    row = draw_heat(Heated(Form("row", names=names), [1.0] * 40, np.arange(40.0)), "one", RAMP)
    assert re.findall(r'scope="row">(n\d+)', row)[:2] == ["n39", "n38"]
    assert "28 columns that are less strange are not shown." in row


def test_a_part_without_any_strangeness_says_so():
    empty = Heated(Form("row", part="cells", names=("a",)), [None], np.array([np.nan]))
    assert "<h4>cells</h4><p>Nothing is there" in draw_heat(empty, "one", RAMP)


def test_a_threshold_is_among_the_scores_however_far_the_tail():
    scores = np.append(np.linspace(0, 1, 50), 1000.0)
    chart = draw_scores("memory", {"samples": scores}, 0.9)
    assert "threshold 0.9, 6 of 51 above it; the last bar holds" in chart.caption
    assert "medians: samples 0.5" in chart.alt
    without = draw_scores("memory", {"a": np.zeros(3), "b": np.full(2, np.nan)}, np.inf)
    assert without.caption == "memory: no threshold"


@pytest.mark.parametrize(
    ("own", "raw", "tone", "said"),
    [
        ((0.9, 0.85, 0.95), (0.7, 0.6, 0.8), "good", "their intervals do not meet"),
        ((0.9, 0.7, 0.95), (0.7, 0.6, 0.8), "open", "their intervals overlap"),
        ((0.5, 0.4, 0.55), (0.7, 0.6, 0.8), "bad", "their intervals do not meet"),
    ],
)
def test_the_verdict_holds_the_first_detector_against_the_best_baseline(own, raw, tone, said):
    scored = [
        Scored("memory", np.zeros(3), 1.0, 2, own, own),
        Scored("raw_a", np.zeros(3), 1.0, 2, (0.1, 0.0, 0.2), own, is_baseline=True),
        Scored("raw_b", np.zeros(3), 1.0, 2, raw, own, is_baseline=True),
    ]
    sentence, found = verdict_of(scored)
    assert found == tone and said in sentence and "best baseline, raw_b" in sentence
    plain = [Scored("memory", np.zeros(3), 1.0, 2)]
    assert verdict_of(plain) == ("memory reports 2 of 3 samples.", "open")
    assert "no threshold" in verdict_of([replace(plain[0], threshold=np.inf)])[0]


def test_the_page_has_all_sections_and_needs_nothing_else():
    text = write_strange(page_of())
    page = Page(text)
    check_self_contained(page)
    check_accessible(page)
    assert [a["id"] for a in page.all("section")] == SECTIONS
    assert [a["href"] for a in page.all("a")][1:] == [f"#{name}" for name in SECTIONS]
    policy = next(a["content"] for a in page.all("meta") if "http-equiv" in a)
    assert page.all("script") == [] and policy.endswith("script-src 'none'")
    assert len(page.all("article")) == len(KINDS)
    assert page.visible.count("no alarm") == 4
    assert "strangeness 7.5" in page.visible and "sample: 1, not normal" in page.visible
    assert text == write_strange(page_of())


def test_without_labels_nothing_is_measured():
    plain = [Scored("memory", np.arange(20.0), 3.0, 16)]
    found = page_of(unusual=None, scored=plain, groups={"samples": np.ones(20, dtype=bool)})
    page = Page(write_strange(found))
    assert "memory reports 16 of 20 samples." in page.visible
    assert not any("AUROC" in image["alt"] for image in page.all("img"))


def test_what_users_wrote_is_text_everywhere():
    page = Page(write_strange(page_of(EVIL)))
    check_self_contained(page)
    assert page.all("script") == [] and page.visible.count(EVIL) >= 12
    assert not [image for image in page.all("img") if image["src"] == "x"]


def test_what_is_infinitely_strange_is_no_gap():
    ramp = Ramp(0.0, 1.0, 5.0)
    beyond, highest, gap = ramp.colours(np.array([np.inf, 5.0, np.nan]))
    assert (beyond == highest).all() and (gap != highest).any()
