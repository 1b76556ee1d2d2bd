import sys

import pytest

from metamae.core.registry import Registry, did_you_mean
from metamae.errors import ConfigError
from metamae.masking import MASKINGS
from metamae.methods import METHODS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("metamea", " Did you mean 'metamae'? Known: mae, metamae."),
        ("zzz", " Known: mae, metamae."),
        ("", " Known: mae, metamae."),
        (3, " Known: mae, metamae."),
        (None, " Known: mae, metamae."),
    ],
)
def test_did_you_mean(name, message):
    assert did_you_mean(name, ["metamae", "mae"]) == message


def test_nothing_is_known():
    assert did_you_mean("a", []) == " Known: none."


@pytest.mark.parametrize("name", ["metamea", "MetaMAE", "", "base", 3, None, ["mae"]])
def test_unknown_names_are_refused(name):
    with pytest.raises(
        ConfigError, match=r"Unknown method .*\. .*Known: capri, .*metamae.*\."
    ) as caught:
        METHODS.get(name)
    assert repr(name) in str(caught.value)


def test_settings_are_keyword_only_arguments_and_parts_the_others():
    assert MASKINGS.settings("random") == {"ratio": 0.75}
    assert MASKINGS.parts("random") == []
    assert METHODS.settings("mae") == {"query_share": 1.0}
    assert METHODS.parts("mae") == ["backbone", "decoder", "masking"]
    assert METHODS.parts("metamae") == ["backbone", "decoder", "masking"]


def test_build():
    assert MASKINGS.build("span", ratio=0.25, length=3).length == 3
    with pytest.raises(ConfigError, match=r"Masking 'random' has no setting 'rato'\. Did you mean"):
        MASKINGS.build("random", rato=0.5)
    with pytest.raises(
        ConfigError, match=r"Masking 'random' has no setting 'blocks'\. Known: ratio"
    ):
        MASKINGS.build("random", blocks=2)


def test_a_module_is_loaded_when_it_is_asked_for():
    # No module of that name is there, and nothing minds until it is asked for.
    registry = Registry("metamae.nowhere", "thing", {"a": "A"})
    assert list(registry.entries) == ["a"]
    with pytest.raises(ModuleNotFoundError):
        registry.get("a")
    assert "metamae.nowhere" not in sys.modules
