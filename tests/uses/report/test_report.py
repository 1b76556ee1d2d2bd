"""Pages about runs: what is shown of which data, and what happens where something is missing."""

import json
import logging
import shutil
from functools import cache

import numpy as np
import pytest

from cases import CASES, case
from command import TINY
from metamae import load, pretrain
from metamae.data.records import Records
from metamae.errors import ArtifactError, ConfigError, DataError
from metamae.pretraining.pretrain import split
from metamae.run.folder import METRICS, RESULTS
from metamae.schema.schema import parts_of
from metamae.uses.report import report as module
from metamae.uses.report.comparison import compare
from metamae.uses.report.reconstructions import see_partly, see_whole
from metamae.uses.report.report import report, report_quietly
from pages.markup import Page, check_accessible, check_self_contained
from pages.saved import entry
from pages.test_page import SECTIONS, payload

QUICK = {**TINY, "steps": 2}


@pytest.fixture
def run(runs, tmp_path):
    """A copy of the run on series, which a test may write to."""
    return shutil.copytree(runs / "series", tmp_path / "run")


def page_of(path):
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    check_self_contained(page)
    check_accessible(page)
    assert [a["id"] for a in page.all("section")] == SECTIONS
    return page


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """Makes the page of a run on a case of the contract tests."""

    @cache
    def make(name):
        spec, records = case(name)
        folder = tmp_path_factory.mktemp("case") / "run"
        settings = {}
        if spec.kind == "mixture":
            settings["modality.parts"] = parts_of(records)
        pretrained, _ = pretrain(
            records,
            folder,
            settings={**QUICK, "modality": spec.kind, **settings, **_settings(name)},
        )
        return page_of(report(pretrained, records, folder=folder)), pretrained

    return make


def _settings(name):
    from cases import DATA

    own = DATA[name][2] if name in DATA else {}
    return {f"modality.{key}": value for key, value in own.items()}


@pytest.mark.parametrize("name", CASES)
def test_every_modality_has_its_page(name, pages):
    page, pretrained = pages(name)
    spec = pretrained.schema.modality
    assert spec.describe() in page.visible
    # So few samples are not divided, and the page must not say otherwise.
    assert "The encoder learnt from these samples" in page.visible
    assert len([a for a in page.all("button") if "data-sample" in a]) == 8
    assert page.visible.count("after the inner step") >= (1 if spec.kind != "grid" else 0)


@pytest.mark.parametrize("name", CASES)
def test_what_is_shown_is_what_was_read(name, pages):
    _, records = case(name)
    _, pretrained = pages(name)
    index = np.array([5, 0, 3])
    found = list(see_whole(pretrained, records, index))
    assert [position for position, _, _ in found] == index.tolist()
    alone = next(see_whole(pretrained, records, index[2:]))[1]
    together = found[2][1]
    for (form, value), (_, other) in zip(alone.parts, together.parts, strict=True):
        if form.kind in ("letters", "row"):
            assert np.array_equal(np.asarray(value, object), np.asarray(other, object))
        else:
            assert np.allclose(value, other, equal_nan=True)


def test_rows_and_letters_come_back_as_the_user_wrote_them(pages):
    _, records = case("example of symbols")
    _, pretrained = pages("example of symbols")
    found = [s.parts[0][1] for _, s, _ in see_whole(pretrained, records, np.arange(8))]
    assert found == records["X"].tolist()


def test_guesses_of_symbols_have_probabilities(runs, data):
    pretrained = load(runs / "words")
    inputs = pretrained.records(data / "words.csv").subset(np.arange(5))
    for (seen,) in see_partly(pretrained, inputs, seed=0):
        assert seen.form.kind == "letters" and seen.hidden[: len(seen.original)].any()
        assert all(0 < chance <= 1 for chance in seen.after.chances)
        # The likeliest of four letters.
        assert min(seen.after.chances) >= 1 / len(pretrained.schema.modality.alphabet)
    whole = pretrained.reconstruct(inputs, seed=0)
    first = see_partly(pretrained, inputs, seed=0)[0][0]
    assert "".join(first.original) == whole.original[0]
    assert "".join(first.after.values[: len(first.original)]) == whole.after[0]


def test_guesses_of_categories_have_probabilities_and_numbers_have_none(runs, data):
    pretrained = load(runs / "table")
    inputs = pretrained.records(data / "table.csv").subset(np.arange(4))
    seen = see_partly(pretrained, inputs, seed=0)[0][0]
    assert seen.form.names == ("a", "b", "c")
    assert seen.after.chances[:2] == (None, None) and 0.5 <= seen.after.chances[2] <= 1


def test_a_run_finds_its_own_data_and_shows_what_was_held_out(runs, data, run):
    path = report(run)
    assert path == run / "report.html"
    page = page_of(path)
    config = load(run).config
    records = pretrain_inputs(data)
    _, held_out = split(records, config.data["held_out"], config.seed)
    titles = {c.strip(";, ") for c in page.texts["figcaption"] if c.startswith("sample ")}
    assert titles and titles <= {f"sample {n}" for n in held_out.index.tolist()}
    assert "These samples were held out: the encoder never learnt from them." in page.visible
    found = payload(path.read_text(encoding="utf-8"))
    assert [c["name"] for c in found["colours"]] == ["y", "part"]


def pretrain_inputs(data):
    with np.load(data / "series.npz") as arrays:
        return Records({"X": arrays["X"]}, "series")


def test_a_label_colours_the_map(runs, data, tmp_path):
    path = report(runs / "table", out=tmp_path / "t.html", label="size")
    found = payload(path.read_text(encoding="utf-8"))["colours"]
    assert found[0]["name"] == "size" and "numbers" in found[0]
    # Inputs can colour it too, but the picture of a sample says them anyway.
    assert {c["name"]: c["given"] for c in found} == {
        **{"size": False, "kind": False, "part": False},
        **{"a": True, "b": True, "c": True},
    }


def test_other_data_are_shown_as_such(runs, data, tmp_path):
    values = np.random.default_rng(5).normal(size=(30, 2, 16))
    path = report(runs / "series", values, tmp_path / "o.html", points=12)
    page = page_of(path)
    assert "the encoder did not learn from this data set" in page.visible
    assert "12 samples, drawn at random from 30." in page.visible


def test_data_that_are_gone_or_changed_are_missed(data, tmp_path):
    file = shutil.copy(data / "series.npz", tmp_path / "here.npz")
    pretrain(file, tmp_path / "run", settings=QUICK, ignore=["y"])
    with np.load(file) as arrays:
        x = arrays["X"]
    np.savez(file, X=x[::-1], y=np.arange(len(x)))
    page = page_of(report(tmp_path / "run"))
    assert page.visible.count("does not hold the samples that this run learnt from any more") == 3
    (tmp_path / "here.npz").unlink()
    page = page_of(report(tmp_path / "run"))
    assert "could not be read again from" in page.visible and "--data FILE" in page.visible
    with pytest.raises(DataError, match=r"Report.label must be a field of the samples. No samples"):
        report(tmp_path / "run", label="y")


def test_bad_samples_that_were_set_aside_are_not_shown(data, tmp_path):
    folder = shutil.copytree(data / "images", tmp_path / "images")
    (folder / "dark" / "07.png").write_bytes(b"no picture")
    pretrain(folder, tmp_path / "run", settings=QUICK, ignore=["label"], skip_bad=1)
    path = report(tmp_path / "run")
    page = page_of(path)
    assert "These samples were held out" in page.visible
    assert len(payload(path.read_text(encoding="utf-8"))["names"]) == 59


def test_a_method_without_a_decoder_has_a_page(data, tmp_path):
    pretrain(data / "series.npz", tmp_path / "run", settings={**QUICK, "method": "capri"})
    page = page_of(report(tmp_path / "run"))
    assert "There is nothing to show: Method Capri must have a decoder" in page.visible


def test_damaged_logs_are_left_out(run, caplog):
    (run / METRICS).write_text('{"step": 1, "loss": 2}\n[3]\n{"step": 2, "lo')
    (run / RESULTS).write_text("{not json")
    with caplog.at_level(logging.WARNING, "metamae"):
        page = page_of(report(run))
    assert "in 1 steps" in page.visible
    assert "results.json is damaged" in caplog.text


def test_results_of_an_evaluation_are_on_the_page(run):
    (run / RESULTS).write_text(json.dumps([entry()]))
    page = page_of(report(run))
    assert "Pretraining helped with y." in page.visible


def test_files_are_replaced_only_where_asked(runs, run, tmp_path):
    report(run)
    report(run)
    other = tmp_path / "mine.html"
    other.write_text("mine")
    with pytest.raises(ArtifactError, match=r"mine.html must not exist yet; it does"):
        report(run, out=other)
    report(run, out=other, overwrite=True)
    assert other.read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(ArtifactError, match="must lie in a folder"):
        report(run, out=tmp_path / "no" / "r.html")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"label": "z"}, DataError, "has no field 'z'"),
        ({"label": "X"}, DataError, "Report.label must hold one value per sample"),
        ({"points": 2}, ConfigError, "Report.points must be .* at least 3; got 2"),
        ({"way": "umap"}, ConfigError, "Report.map must be one of"),
        ({"seed": -1}, ConfigError, "Report.seed must be .* at least 0"),
    ],
)
def test_what_is_refused(run, arguments, error, message):
    with pytest.raises(error, match=message):
        report(run, **arguments)
    assert not (run / "report.html").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="must be the folder of a run"):
        report(tmp_path)
    with pytest.raises(ConfigError, match=r"Report.folder must be the folder of the run"):
        report(object.__new__(module.Pretrained))


def test_the_same_run_gives_the_same_page(run, tmp_path):
    first, again = (report(run, out=tmp_path / f"{n}.html").read_bytes() for n in range(2))
    assert first == again


def test_nothing_that_goes_wrong_fails_a_training(run, data, monkeypatch, caplog):
    pretrained = load(run)
    path = report_quietly(pretrained, data / "series.npz", run)
    assert path == run / "report.html"
    with caplog.at_level(logging.WARNING, "metamae"):
        assert report_quietly(pretrained, data / "none.npz", run) is None
        monkeypatch.setattr(module, "write_page", lambda material: 1 / 0)
        assert report_quietly(pretrained, data / "series.npz", run) is None
    assert "no report was written" in caplog.text and "ZeroDivisionError" in caplog.text


def test_pages_stay_small_whatever_the_number_of_samples(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "VIEW_BYTES", 20_000)
    values = np.random.default_rng(5).normal(size=(400, 2, 16))
    path = report(runs / "series", values, tmp_path / "o.html")
    found = payload(path.read_text(encoding="utf-8"))
    views = [view for view in found["views"] if view]
    assert 16 < len(views) < 100 and sum(map(len, views)) < 20_000
    # The odd ones are shown however few there is room for.
    page = page_of(path)
    assert len([a for a in page.all("button") if "data-sample" in a]) == 16


def test_runs_are_compared(runs, tmp_path):
    path = compare([runs / "series", runs / "table"], tmp_path / "c.html")
    page = Page(path.read_text(encoding="utf-8"))
    check_self_contained(page)
    check_accessible(page)
    assert "series" in page.text("h1") and "table" in page.text("h1")
    assert "modality.name" in page.visible
    with pytest.raises(ArtifactError, match="must not exist yet"):
        compare([runs / "series", runs / "table"], path)
    with pytest.raises(ConfigError, match=r"2 to 12 to compare; got 1"):
        compare([runs / "series"], path)


def test_runs_of_one_name_are_told_apart(runs, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(runs / "series", tmp_path / name / "run")
    page = Page(
        compare([tmp_path / "a" / "run", tmp_path / "b" / "run"], tmp_path / "c.html").read_text()
    )
    assert page.text("h1") == "a/run · b/run"
    both = [tmp_path / "a" / "run"] * 2
    page = Page(compare(both, tmp_path / "d.html").read_text())
    assert page.text("h1") == ". (1) · . (2)"
