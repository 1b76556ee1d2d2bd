"""What docs/design.md promises to keep is what there is."""

import re
from pathlib import Path

import metamae
from metamae.cli.app import app
from metamae.methods import METHODS

DESIGN = Path(__file__).parents[1] / "docs" / "design.md"


def promised(what: str) -> set[str]:
    """Names in the entry of the list of what is public that begins with some words."""
    text = DESIGN.read_text(encoding="utf-8")
    entry = re.search(rf"(?s)- \*\*{what}\*\*(.*?)(?=\n- |\n\n)", text)
    assert entry is not None
    return set(re.findall(r"`([A-Za-z]\w*)`", entry[1]))


def test_names_in_python():
    assert promised("Names in Python") == set(metamae.__all__)


def test_commands():
    commands = {name for name in app if not name.startswith("-")}
    assert promised("Commands") == commands


def test_errors():
    raised = {name for name in dir(metamae.errors) if name.endswith("Error")}
    assert raised <= set(metamae.__all__)


def test_the_readme_names_every_method():
    readme = (DESIGN.parents[1] / "README.md").read_text(encoding="utf-8")
    row = re.search(r"(?m)^\| `--method` \|.*$", readme)
    assert row is not None
    assert set(re.findall(r"`(\w+)`", row[0])) == set(METHODS.own)
