"""The page of a run and that of several: sections, numbers, escaping, nothing fetched."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from metamae.modalities.form import Form
from metamae.pages import thumb
from metamae.pages.charts import draw_intervals, draw_lines
from metamae.pages.compare import Run, differing, flatten, hold_contests, write_comparison
from metamae.pages.form import Guess, Sample, Seen
from metamae.pages.layout import colour_by, lay_out
from metamae.pages.numbers import assessed, draw_training, health_of, series
from metamae.pages.page import Material, Points, asset, to_json, write_page
from pages.markup import Page, check_accessible, check_self_contained
from pages.saved import METRICS, entry

EVIL = "</script><img src=x onerror=alert(1)>"
SECTIONS = (
    "data evaluation training health reconstructions map typical settings"  # in this order
).split()


def points(num=40, name="sample"):
    rng = np.random.default_rng(0)
    letters = Form("letters")
    return Points(
        layout=lay_out(rng.normal(size=(num, 4)).astype(np.float32)),
        names=[f"{name} {n}" for n in range(num)],
        colours=[colour_by(name, np.array([name, "b"] * (num // 2), dtype=object))],
        views={n: thumb.draw(Sample("", ((letters, f"{name}{n}"),))) for n in range(num)},
        note="All of them.",
    )


def material(name="sample", **changes):
    hidden = np.array([True, False])
    seen = Seen(Form("row", names=(name, "b")), [name, 1.0], hidden, Guess([name, 0.0]))
    return replace(
        Material(
            title=name,
            summary=f"Rows of {name}.",
            state="Done.",
            facts={"source": name},
            fields=[{"field": name, "kind": "number"}],
            notes=[name],
            results=[entry(label=name, data=name)],
            metrics=METRICS,
            settings=f'title = "{name}"',
            versions={"metamae": "0"},
            width=64,
            seen=[(name, [seen])],
            seen_note=name,
            points=points(name=name),
        ),
        **changes,
    )


def payload(text):
    found = re.search(r'<script type="application/json" id="payload">(.*?)</script>', text, re.S)
    return json.loads(found[1])


def test_a_page_has_all_sections_and_needs_nothing_else():
    page = Page(write_page(material()))
    check_self_contained(page)
    check_accessible(page)
    assert [a["id"] for a in page.all("section")] == SECTIONS
    assert [a["href"] for a in page.all("a")][1:] == [f"#{name}" for name in SECTIONS]


def test_an_almost_empty_run_has_a_page_too():
    empty = material(results=[], metrics=[], seen=[], seen_note="", points=None, missing="No data!")
    page = Page(write_page(replace(empty, fields=[], notes=[])))
    check_self_contained(page)
    check_accessible(page)
    assert [a["id"] for a in page.all("section")] == SECTIONS
    assert page.visible.count("No data!") == 3
    assert "No label has been judged yet" in page.visible


def test_the_verdict_comes_first_and_the_newest_counts():
    both = [entry(label="old", outcome="hurt"), entry(label="new")]
    text = write_page(material(results=both))
    assert '<p class="verdict good" id="verdict">Pretraining helped with new.</p>' in text
    assert Page(text).visible.index("helped with new") < Page(text).visible.index("hurt with old")


def test_without_a_verdict_the_numbers_without_labels_are_said():
    text = write_page(material(results=[]))
    assert (
        "without labels: R² of the hidden part 0.400, effective rank of the embeddings 8.2 of 64."
    ) in text


def test_what_users_wrote_is_text_everywhere():
    text = write_page(material(EVIL))
    page = Page(text)
    check_self_contained(page)
    assert len(page.all("script")) == 3 and page.visible.count(EVIL) >= 8
    assert not [image for image in page.all("img") if image["src"] == "x"]
    data = payload(text)
    assert data["names"][0] == f"{EVIL} 0" and data["colours"][0]["name"] == EVIL
    # What the script of the map puts into the page as HTML.
    assert not Page(data["views"][0]).all("img")


@pytest.mark.parametrize("value", [EVIL, "<!--<script>", "<SCRIPT", "a < b & c", "\u2028", '"\\'])
def test_json_in_a_page_neither_ends_its_element_nor_changes(value):
    text = str(to_json([value]))
    assert not re.search(r"<(/|!|script)", text, re.I)
    assert json.loads(text) == [value]


def test_the_policy_lets_only_the_scripts_of_the_page_run():
    page = Page(write_page(material()))
    policy = next(a["content"] for a in page.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for name in ("d3.min.js", "page.js"):
        digest = base64.b64encode(hashlib.sha256(asset(name).encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy.split("script-src")[1]


def test_foreign_code_is_unchanged_and_its_licence_is_on_the_page():
    digest = hashlib.sha256(asset("d3.min.js").encode()).hexdigest()
    assert digest == "f2094bbf6141b359722c4fe454eb6c4b0f0e42cc10cc7af921fc158fceb86539"
    assert "Copyright 2010-2023 Mike Bostock" in Page(write_page(material())).text("details")


def test_the_map_gets_places_neighbours_and_views():
    shown = points()
    data = payload(write_page(material(points=replace(shown, views={3: shown.views[3]}))))
    places = np.frombuffer(base64.b64decode(data["places"]), "<u2").reshape(-1, 2).astype(float)
    near = np.frombuffer(base64.b64decode(data["near"]), "<u4").reshape(-1, data["k"])
    assert np.array_equal(near, shown.layout.near)
    # One scale for both axes; a page's y axis points down.
    x, y = shown.layout.places.T
    size = max(np.ptp(x), np.ptp(y))
    assert np.allclose((places[:, 0] - places[0, 0]) / 65535, (x - x[0]) / size, atol=1e-4)
    assert np.allclose((places[:, 1] - places[0, 1]) / 65535, -(y - y[0]) / size, atol=1e-4)
    assert [v is not None for v in data["views"]] == [n == 3 for n in range(40)]


def test_the_most_and_the_least_typical_samples_are_shown():
    shown = points()
    order = np.argsort(-shown.layout.typicality, kind="stable")
    cards = [
        a["data-sample"] for a in Page(write_page(material())).all("button") if "data-sample" in a
    ]
    assert cards == [str(n) for n in [*order[:8], *order[::-1][:8]]]


def test_curves_are_those_that_were_logged():
    titles = [chart.caption for chart in draw_training(METRICS)]
    assert titles == ["Loss", "R² of the hidden part", "Effective rank"]
    assert series(METRICS, "r2") == [(10, 0.1), (20, 0.3)]
    assert draw_training(METRICS[:1]) == []


def test_health_is_the_newest_of_each_number():
    found = {fact.key: fact.value for fact in health_of(METRICS, 64)}
    assert found == {"held_out_r2": "0.400", "effective_rank": "8.2 of 64"}


def test_evaluations_stand_beside_their_baselines():
    found = assessed(entry())
    assert [t.title for t in found.tables] == [
        "linear_probe, accuracy, all labels",
        "linear_probe, accuracy, 5 labels per class",
    ]
    first = found.tables[0]
    assert first.rows[0] == ("metamae", "0.800", "0.750 to 0.850")
    assert {row[0] for row in first.rows[1:]} == {"raw features", "PCA", "untrained encoder"}
    assert "metamae 0.800 (0.750 to 0.850)" in first.chart.alt and first.chance == "0.250"


@pytest.mark.parametrize("name", ["$x^2$", "_hidden", "日本語", EVIL, "a\nb"])
def test_charts_take_any_name_and_are_the_same_every_time(name):
    first, again = (draw_lines(name, {name: [(1, 2), (2, 3)], "b": [(1, 1)]}) for _ in range(2))
    assert first == again
    rows = [(name, 0.5, 0.4, 0.6)]
    assert draw_intervals(name, rows, None, [name]) == draw_intervals(name, rows, None, [name])


def run(name, results=(), **settings):
    return Run(name, {"lr": 1, "data.fingerprint": "f", **settings}, METRICS, results, "lr = 1")


def test_runs_are_compared_by_what_differs():
    runs = [run("one", lr=1, steps=5), run("two", lr=2, steps=5, **{"data.fingerprint": "g"})]
    assert differing(runs) == {"lr": ["1", "2"]}
    assert flatten({"a": 1, "b": {"c": 2, "d": {"e": [3]}}}) == {"a": 1, "b.c": 2, "b.d.e": [3]}
    page = Page(write_comparison(runs))
    check_self_contained(page)
    check_accessible(page)
    assert "on different samples" in page.visible
    assert "R² of the hidden part: one 0.400, two 0.400" in page.visible


def test_scores_on_the_same_test_samples_stand_beside_each_other():
    runs = [run("one", [entry(0.7)]), run("two", [entry(0.9)])]
    found = hold_contests(runs)
    assert [row[:2] for row in found[0].rows] == [
        ("one", "0.700"),
        ("two", "0.900"),
        ("raw features", "0.550"),
        ("PCA", "0.600"),
        ("untrained encoder", "0.500"),
    ]
    assert found[0].best == "two"
    assert "two is best with 0.900 (0.850 to 0.950)" in found[0].sentence
    assert found[0].sentence.endswith("their intervals do not meet.")
    page = Page(write_comparison(runs))
    check_self_contained(page)
    check_accessible(page)
    assert "on the same samples" in page.visible


def test_lower_may_be_better_and_intervals_may_overlap():
    lower = {"higher_is_better": False}
    runs = [run("one", [entry(0.70, **lower)]), run("two", [entry(0.72, **lower)])]
    found = hold_contests(runs)[0]
    assert found.best == "one" and "their intervals overlap" in found.sentence


@pytest.mark.parametrize("change", [{"data": "b.npz"}, {"label": "z"}, {"num_test": 31}])
def test_scores_on_other_samples_are_not_compared(change):
    found = hold_contests([run("one", [entry()]), run("two", [entry(**change)])])
    assert len(found) == 4 and not any(c.best or c.sentence for c in found)


def test_names_of_runs_are_text_too():
    runs = [run(EVIL, [entry()], lr=EVIL), run("two", [entry()])]
    page = Page(write_comparison(runs))
    check_self_contained(page)
    assert EVIL in page.visible and len(page.all("script")) == 2
