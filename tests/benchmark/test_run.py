"""A benchmark as a whole: what is computed, kept, refused and resumed."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from command import metamae as command
from command import refused
from metamae.benchmark import work as work_module
from metamae.benchmark.cell import BASELINES, Cell, Options, compute, fitting
from metamae.benchmark.dataset import Challenge
from metamae.benchmark.problem import Problem, pocket_problems
from metamae.benchmark.published.base import Published
from metamae.benchmark.run import CONTROL, bench
from metamae.benchmark.suites import open_suite
from metamae.errors import ArtifactError, ConfigError, DataError
from metamae.evaluation.probes.base import judge
from metamae.evaluation.split import divide

from .made import published, records

TINY = {
    **{"width": 16, "depth": 1, "heads": 2},
    **{"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2, "steps": 2},
}
OPTIONS = Options(settings=TINY, draws=2)
METHODS = [*BASELINES, CONTROL, "mae"]


def problem(name="made", **more):
    return Problem(name, "series", lambda: published(name, **more))


def cell_of(cell, problem_):
    return compute(cell, problem_.modality, problem_.load(), OPTIONS)


def run(folder, **more):
    return bench("test", [problem()], folder, methods=["mae"], seeds=1, options=OPTIONS, **more)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A benchmark that nothing stopped, and its folder."""
    folder = tmp_path_factory.mktemp("bench") / "out"
    return run(folder), folder


@pytest.fixture
def copied(unbroken, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(unbroken[1], tmp_path / "copied")


def test_a_benchmark_has_all_rows_and_a_table(unbroken):
    found, folder = unbroken
    assert not found.failed and len(found.summaries) == 4
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    assert {row["method"] for row in rows} == set(METHODS)
    assert {(row["evaluation"], row["labels"]) for row in rows} == {
        (name, labels) for name in ("linear_probe", "knn") for labels in ("all", "5 per class")
    }
    assert all(row["steps"] == (2 if row["method"] in ("mae", CONTROL) else 0) for row in rows)
    assert all(0 <= row["low"] <= row["score"] <= row["high"] <= 1 for row in rows)
    text = (folder / "table.md").read_text()
    assert text == found.table and "mean rank" in text and "seeds 0" in text


def test_a_stopped_benchmark_goes_on_with_what_is_missing(unbroken, tmp_path, monkeypatch):
    computed = []

    def watched(cell, *rest):
        computed.append(cell.method)
        if len(computed) == 3:
            raise KeyboardInterrupt
        return compute(cell, *rest)

    monkeypatch.setattr(work_module, "compute", watched)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out")
    assert computed == METHODS[:3]
    run(tmp_path / "out")
    assert computed == METHODS[:3] + METHODS[2:]
    rows = [json.loads(p.read_text()) for p in sorted((tmp_path / "out").glob("cells/*/*"))]
    for found, path in zip(rows, sorted(unbroken[1].glob("cells/*/*")), strict=True):
        expected = json.loads(path.read_text())
        for a, b in zip(found, expected, strict=True):
            assert {**a, "seconds": 0} == {**b, "seconds": 0}


def test_a_data_set_is_read_once_for_all_its_cells(tmp_path):
    times = []
    whole = problem()

    def load():
        times.append(1)
        return whole.load()

    watched = Problem("made", "series", load)
    bench("test", [watched], tmp_path, methods=[], seeds=1, options=OPTIONS)
    assert len(times) == 1


def test_one_cell_can_be_computed_anew(copied):
    path = copied / "cells" / "made" / "raw-0.json"
    path.write_text(json.dumps([{**row, "score": 0.123} for row in json.loads(path.read_text())]))
    other = copied / "cells" / "made" / "pca-0.json"
    before = other.stat().st_mtime_ns
    run(copied, again=["made/raw/0"])
    assert all(row["score"] != 0.123 for row in json.loads(path.read_text()))
    assert other.stat().st_mtime_ns == before


def test_other_settings_need_another_folder(copied, tmp_path):
    with pytest.raises(ArtifactError, match=r"of the same benchmark.*settings"):
        bench("test", [problem()], copied, methods=["mae"], seeds=1)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "letter.txt").write_text("dear")
    with pytest.raises(ArtifactError, match="must be an empty folder"):
        run(tmp_path / "else")


def test_a_data_set_that_fails_costs_only_its_own_cells(tmp_path):
    def broken():
        raise DataError("the file is gone")

    problems = [Problem("gone", "table", broken), problem()]
    found = bench("test", problems, tmp_path, methods=[], seeds=1, options=OPTIONS)
    assert set(found.failed) == {f"gone/{m}/0" for m in (*BASELINES, CONTROL)}
    assert "the file is gone" in found.table and "made" in found.table
    with pytest.raises(ConfigError, match="no cell could be computed: the file is gone"):
        bench("test", problems[:1], tmp_path / "x", methods=[], seeds=1, options=OPTIONS)


def test_the_raw_cell_is_the_judgement_of_raw_features():
    division = divide(records(), "y", group="person", seed=3)
    flat = [np.asarray(part["X"][np.arange(len(part))]) for part in (division.train, division.test)]
    mean, scale = flat[0].mean(axis=(0, 2)), flat[0].std(axis=(0, 2))
    cell = cell_of(Cell("made", "raw", 3), problem())
    groups = {"groups_train": division.groups_train, "groups_test": division.groups_test}
    features = tuple(((x - mean[:, None]) / scale[:, None]).reshape(len(x), -1) for x in flat)
    from metamae.evaluation.probes import EVALUATIONS

    judged = judge(
        EVALUATIONS.build("linear_probe"),
        {"raw": features},
        division.y_train,
        division.y_test,
        division.task,
        draws=2,
        seed=3,
        **groups,
    )
    assert [r["score"] for r in cell[:2]] == pytest.approx([r.score for r in judged.results])


def test_groups_are_on_one_side_and_test_samples_are_never_learnt_from(monkeypatch):
    seen = []
    import metamae.benchmark.cell as module

    pretrain = module.pretrain

    def watched(data, **more):
        seen.append(data)
        return pretrain(data, **more)

    monkeypatch.setattr(module, "pretrain", watched)
    cell_of(Cell("made", "mae", 0), problem())
    division = divide(records(), "y", group="person", seed=0)
    (learnt,) = seen
    assert learnt.index.tolist() == division.train.index.tolist()
    persons = [
        set(part["person"][np.arange(len(part))]) for part in (division.train, division.test)
    ]
    assert not persons[0] & persons[1]


def test_a_published_test_part_and_samples_to_learn_from_are_used():
    challenge = Challenge(
        name="two", records=records(40, 1), label="y", test=records(24, 2), group="person"
    )
    own = Problem(
        "set",
        "series",
        lambda: Published(challenges=[challenge], pretrain=records(60, 3).only(["X"])),
    )
    rows = cell_of(Cell("set", "mae", 0), own)
    assert {row["num_test"] for row in rows} == {24}
    assert {row["challenge"] for row in rows} == {"two"}
    assert rows[0]["num_train"] == 40


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("made/raw", "must be data/method/seed"),
        ("made/rwa/0", "Did you mean 'raw'"),
        ("other/raw/0", "must be of one of made"),
    ],
)
def test_cells_that_are_none_are_refused(tmp_path, key, message):
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, again=[key])


def test_the_command(tmp_path):
    out = tmp_path / "out"
    options = [
        "--only",
        "penguins",
        "--method",
        "mae",
        "--seeds",
        1,
        "--size",
        "tiny",
        "--steps",
        2,
    ]
    said = command("bench", "pocket", "--out", out, *options)
    assert said.status == 0, said.err
    assert "penguins (accuracy)" in said.out
    assert said.out.strip() == (out / "table.md").read_text().strip()
    message = refused(command("bench", "pockets", "--out", tmp_path / "x"))
    assert "must be 'pocket' or the path of a recipe" in message
    assert "Unknown pocket data set" in refused(command("bench", "--only", "digit"))
    assert "must come with a recipe" in refused(command("bench", "--data", tmp_path))


def test_settings_of_other_methods_do_not_disturb():
    settings = {"inner_lr": 5.0, "method.contrast_weight": 1.0, "lr": 1e-3, "typo": 1, "steps": 2}
    assert fitting(settings, "metamae") == settings
    assert fitting(settings, "mae") == {"lr": 1e-3, "typo": 1, "steps": 2}
    assert fitting({"temperature": 0.1, "faithful": True}, "emix").keys() == {
        "temperature",
        "faithful",
    }


def write_higgs(folder, num=120):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(num, 29))
    rows[:, 0] = np.arange(num) % 2
    folder.mkdir()
    text = "".join(",".join(f"{v:.18e}" for v in row) + "\n" for row in rows)
    (folder / "HIGGS.csv.gz").write_bytes(gzip.compress(text.encode()))


def test_a_recipe_by_the_command(tmp_path):
    write_higgs(tmp_path / "higgs")
    recipe = Path(__file__).parents[2] / "published" / "higgs.toml"
    options = ["--seeds", 1, "--method", "mae", "--minutes", 0.002, "--size", "tiny"]
    options += ["--protocol", "dabs", "--set", "batch_size=16"]
    out = tmp_path / "out"
    said = command("bench", recipe, "--data", tmp_path / "higgs", "--out", out, *options)
    assert said.status == 0, said.err
    assert "## dabs_probe, all labels" in said.out and "higgs (accuracy)" in said.out
    assert "must be the folder with the files" in refused(command("bench", recipe, "--out", out))


def test_a_recipe_where_it_used_to_be(tmp_path, monkeypatch, caplog):
    source = Path(__file__).parents[2] / "published" / "higgs.toml"
    (tmp_path / "published").mkdir()
    shutil.copy(source, tmp_path / "published")
    monkeypatch.chdir(tmp_path)
    for old in ("recipes/higgs.toml", str(tmp_path / "recipes" / "higgs.toml")):
        caplog.clear()
        assert open_suite(old, data=tmp_path).name == "higgs"
        assert f"{old} is now {old.replace('recipes', 'published')}" in caplog.text
    with pytest.raises(ConfigError, match=r"Recipe recipes/nothing\.toml must be a readable"):
        open_suite("recipes/nothing.toml", data=tmp_path)
    # A folder of one's own may be called so, and is then what is meant.
    (tmp_path / "recipes").mkdir()
    shutil.copy(source, tmp_path / "recipes")
    caplog.clear()
    assert open_suite("recipes/higgs.toml", data=tmp_path).name == "higgs" and not caplog.text


def test_transfer_sets_are_looked_for_beside_the_data(tmp_path, caplog):
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    text = (Path(__file__).parents[2] / "published" / "higgs.toml").read_text()
    for name, transfer in (("first", '["second", "third"]'), ("second", "[]")):
        made = text.replace('name = "higgs"\n', f'name = "{name}"\n', 1)
        (recipes / f"{name}.toml").write_text(f"transfer = {transfer}\n{made}")
        write_higgs(tmp_path / name)
    suite = open_suite(str(recipes / "first.toml"), data=tmp_path / "first")
    assert len(suite.problems[0].load().challenges) == 2
    assert "transfer to third is left out" in caplog.text


def test_a_quick_benchmark_goes_without_what_takes_long_unless_named():
    every = {problem.name for problem in pocket_problems()}
    quick = {problem.name for problem in pocket_problems(quick=True)}
    assert every - quick == {"mnist", "reviews"}
    assert [problem.name for problem in pocket_problems(["mnist"], quick=True)] == ["mnist"]
    assert len({problem.modality for problem in pocket_problems(quick=True)}) >= 8
