"""The page of `detect`: every modality has one, and each place shows its own strangeness."""

import numpy as np
import pytest

from cases import CASES, DATA, case
from command import TINY
from conftest import walks
from metamae import pretrain
from metamae.data.records import Records
from metamae.encoder.pretrained import load
from metamae.errors import ArtifactError, ConfigError
from metamae.schema.schema import parts_of
from metamae.uses.detect.detect import detect
from metamae.uses.detect.page import see_heated
from pages.markup import Page, check_accessible, check_self_contained

QUICK = {**TINY, "steps": 1}


def page_of(path):
    page = Page(path.read_text(encoding="utf-8"))
    check_self_contained(page)
    check_accessible(page)
    return page


@pytest.mark.parametrize("name", CASES)
def test_every_modality_has_its_page(name, tmp_path):
    spec, records = case(name)
    settings = {f"modality.{k}": v for k, v in (DATA[name][2] if name in DATA else {}).items()}
    if spec.kind == "mixture":
        settings["modality.parts"] = parts_of(records)
    pretrained, _ = pretrain(
        records, tmp_path / "run", settings={**QUICK, "modality": spec.kind, **settings}
    )
    path = tmp_path / "strange.html"
    found = detect(pretrained, records, normal=records, by=("mahalanobis",), page=path)
    page = page_of(path)
    assert len(page.all("article")) == len(found.names) == 8
    assert pretrained.schema.modality.describe() in page.visible
    # The strangest token of a sample is the strangest of what is shown of it.
    for sample, tokens in enumerate(found.findings["mahalanobis"].tokens):
        parts, note = see_heated(pretrained, records, sample, tokens)
        shown = np.concatenate([np.ravel(part.heat) for part in parts])
        assert np.isclose(np.nanmax(shown), np.nanmax(tokens)) and note == ""
        for part in parts:
            values = np.asarray(part.values, dtype=object)
            assert part.heat.shape == values.shape


def test_places_of_series_have_the_score_of_their_token(runs, data, tmp_path):
    found = detect(runs / "series", data / "series.npz", by=("memory",))
    pretrained, inputs = found.run
    cell = pretrained.schema.modality.cell[0]
    tokens = found.findings["memory"].tokens[7]
    ((part,), _) = see_heated(pretrained, inputs, 7, tokens)
    np.testing.assert_allclose(part.heat, np.repeat(tokens[None], cell, axis=1).repeat(2, axis=0))
    np.testing.assert_allclose(part.values, walks(80, 2, 16)[7], rtol=1e-4, atol=1e-4)


def test_symbols_are_those_of_the_text(runs, data):
    found = detect(runs / "words", data / "words.csv", by=("memory",))
    pretrained, inputs = found.run
    texts = [line.split(",")[0] for line in (data / "words.csv").read_text().splitlines()[1:]]
    for sample in range(20):
        tokens = found.findings["memory"].tokens[sample]
        ((part,), _) = see_heated(pretrained, inputs, sample, tokens)
        assert "".join(part.values) == texts[sample]
        np.testing.assert_allclose(part.heat, tokens)


WINDOWS = {
    "series": ({"X": walks(12, 2, 60)}, {"axes": 1, "cell": 4, "window": 16, "stride": 12}, "grid"),
    "words": (
        {"text": np.array(["abcd" * 11 + "ac" * (1 + n % 3) for n in range(12)], dtype=object)},
        {"max_length": 16},
        "symbols",
    ),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_of_a_sample_in_windows_the_one_with_the_strangest_place_is_shown(name, tmp_path):
    columns, own, kind = WINDOWS[name]
    records = Records(columns, "long")
    settings = {f"modality.{key}": value for key, value in own.items()}
    pretrained, _ = pretrain(
        records, tmp_path / "run", settings={**QUICK, "modality": kind, **settings}
    )
    path = tmp_path / "strange.html"
    found = detect(pretrained, records, normal=records, by=("mahalanobis",), page=path, strangest=3)
    page = page_of(path)
    assert len(page.all("article")) == 3 and page.visible.count("the strangest place.") == 3
    with pytest.raises(ConfigError, match="cut into windows"):
        found.heat([0])
    for sample, tokens in enumerate(found.findings["mahalanobis"].tokens):
        ((part,), note) = see_heated(pretrained, records, sample, tokens)
        assert np.isclose(np.nanmax(part.heat), np.nanmax(tokens))
        number = int(note.split()[1])
        if name == "series":
            start = min(12 * number, 44)
            expected = columns["X"][sample][:, start : start + 16]
            np.testing.assert_allclose(part.values, expected, rtol=1e-4, atol=1e-4)
        else:
            text = columns["text"][sample]
            assert "".join(part.values) in (text[16 * number :][:16], text[-16:])


def test_the_page_says_what_was_scored_by_what(runs, data, tmp_path):
    path = tmp_path / "strange.html"
    found = detect(
        runs / "table",
        data / "table.csv",
        page=path,
        label="kind",
        normal_value="up",
        by=("memory", "mahalanobis"),
        false_alarms=0.1,
        strangest=5,
    )
    page = page_of(path)
    assert len(page.all("article")) == 5
    for said in ("table.csv", "memory", "raw_knn", "up, normal", "down, not normal", "10.00%"):
        assert said in page.visible
    for sample in found.strangest(5):
        assert f"Sample {found.names[sample]} " in page.visible
    assert page.visible.count("alarm ·") == 5
    assert all(note in page.visible for note in found.notes)


def test_samples_without_a_label_are_neither_normal_nor_not(runs, data, tmp_path):
    lines = (data / "table.csv").read_text().splitlines()
    # Rows 1 to 20 lose their label.
    cut = [",".join([*line.split(",")[:3], "", line.split(",")[4]]) for line in lines[1:21]]
    (tmp_path / "some.csv").write_text("\n".join([lines[0], *cut, *lines[21:]]) + "\n")
    path = tmp_path / "strange.html"
    found = detect(
        load(runs / "table"),
        tmp_path / "some.csv",
        normal=data / "table.csv",
        page=path,
        label="kind",
        normal_value="up",
        by=("mahalanobis",),
        strangest=90,
    )
    assert not found.unusual[:20].any() and not found.is_labelled[:20].any()
    assert found.unusual[20:].sum() == sum(",down," in line for line in lines[21:])
    page = page_of(path)
    assert page.visible.count("alarm · without a label") == 20
    assert page.visible.count("not normal") >= found.unusual.sum()


def test_refusals(runs, data, tmp_path):
    with pytest.raises(ConfigError, match=r"must end in a known kind of file; got .*page.txt"):
        detect(runs / "table", data / "table.csv", page=tmp_path / "page.txt")
    with pytest.raises(ConfigError, match=r"Detect.strangest must be .* at least 1; got 0"):
        detect(runs / "table", data / "table.csv", page=tmp_path / "page.html", strangest=0)
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(ArtifactError, match="must not exist yet"):
        detect(runs / "table", data / "table.csv", page=tmp_path / "there.html")
    assert (tmp_path / "there.html").read_text() == "mine"
