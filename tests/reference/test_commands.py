"""Every command says and writes what it did; where it should not, `made.py commands` renews it."""

import json

import pytest

from .commands import CALLS, run, serve
from .made import COMMANDS
from .same import assert_same, is_this_machine

# Elsewhere a rank or a nearest sample may change at a tie; scores are shares of some 30 samples.
LOOSE = {} if is_this_machine() else {"rtol": 0.2, "atol": 0.2}


def recorded(name):
    return json.loads((COMMANDS / f"{name}.json").read_text(encoding="utf-8"))


def test_there_is_one_for_each_command():
    from metamae.cli.app import app

    words = {call[0] for call in CALLS.values()} | {"serve"}
    assert words == {name for name in app if not name.startswith("-")}
    assert {path.stem for path in COMMANDS.iterdir()} == {*CALLS, "serve"}


@pytest.mark.parametrize("name", CALLS)
def test_a_command(name, tmp_path):
    assert_same(run(name, tmp_path), recorded(name), **LOOSE)


def test_serving():
    assert_same(serve(), recorded("serve"), **LOOSE)
