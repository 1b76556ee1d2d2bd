"""Recipes: every one can be followed, and a slip in one is named."""

from pathlib import Path

import pytest

from metamae.benchmark.published import LAYOUTS
from metamae.benchmark.recipe import read_recipe
from metamae.errors import ConfigError
from metamae.run.config import Choices, choose

RECIPES = sorted((Path(__file__).parents[2] / "published").glob("*.toml"))
GOOD = """
name = "mine"
title = "Mine"
source = "https://example.org"
licence = "CC0"
files = ["a.csv"]
splits = "none"
[layout]
name = "pamap2"
split = "dabs"
[pretrain]
steps = 3
[published.metamae]
pamap2 = 90.5
"""


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_can_be_followed(path):
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    assert recipe.files and recipe.licence and recipe.source.startswith("https://")
    LAYOUTS.build(recipe.layout, **recipe.settings)
    choose(Choices(), recipe.pretrain)
    known = {path.stem for path in RECIPES}
    assert set(recipe.transfer) <= known - {recipe.name}


def test_every_layout_has_a_recipe():
    assert {read_recipe(path).layout for path in RECIPES} == set(LAYOUTS.entries)


def test_what_a_recipe_says(tmp_path):
    (tmp_path / "mine.toml").write_text(GOOD)
    recipe = read_recipe(tmp_path / "mine.toml")
    assert (recipe.name, recipe.layout, recipe.settings) == ("mine", "pamap2", {"split": "dabs"})
    assert recipe.files == ("a.csv",) and recipe.transfer == ()
    assert recipe.pretrain == {"steps": 3}
    assert recipe.published == {"metamae": {"pamap2": 90.5}}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("licence", "license", r"mine.toml has no key 'license'. Did you mean 'licence'"),
        ('title = "Mine"', "", r"mine.toml must have the key 'title'"),
        ('["a.csv"]', '"a.csv"', r"mine.toml: 'files' must be a list of texts; got 'a.csv'"),
        ('"CC0"', "0", r"mine.toml: 'licence' must be a text; got 0"),
        (
            '"pamap2"',
            '"pamap"',
            r"mine.toml: 'name' of \[layout\] .*'pamap'. Did you mean 'pamap2'",
        ),
        ("split =", "splt =", r"mine.toml: \[layout\] of 'pamap2' has no key 'splt'. Did you mean"),
        ("90.5", '"high"', r"mine.toml: \[published.metamae\] must give a number for each"),
        ("[layout]", "[layout", r"mine.toml must be a readable TOML file"),
    ],
)
def test_slips_are_named(tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        read_recipe(path)


def test_a_missing_recipe(tmp_path):
    with pytest.raises(ConfigError, match=r"none.toml must be a readable TOML file"):
        read_recipe(tmp_path / "none.toml")
