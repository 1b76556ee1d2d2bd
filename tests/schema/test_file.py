"""What `inspect` writes can be edited, read back, and means the same."""

import tomllib

import numpy as np
import pytest

from cases import objects
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError
from metamae.run.config import Choices, choose
from metamae.schema.file import Declared, DeclaredField, read_schema_file
from metamae.schema.schema import infer_schema

RNG = np.random.default_rng(0)
NUM = 24


def records(**columns):
    return Records(columns, "data.npz")


def mixed():
    texts = objects([f"a text with {n} words" for n in range(NUM)])
    return records(
        image=RNG.normal(size=(NUM, 3, 8, 8)),
        text=texts,
        age=RNG.normal(size=NUM),
        y=np.arange(NUM),
    )


IMAGE = DeclaredField(name="image", role="input", kind="image", settings={"cell": [4, 4]})
TEXT = DeclaredField(name="text", role="input", kind="symbols")
LABEL = DeclaredField(name="y", role="label", facts={"type": "int64", "distinct": 24})
AGE = DeclaredField(name="age", role="left out")


def schema_of(declared, data):
    chosen = choose(Choices(), declared.settings())
    return infer_schema(
        data,
        modality=chosen.modality,
        settings=chosen.settings["modality"],
        ignore=declared.ignored(data),
    )


def test_one_input_is_one_modality():
    declared = Declared(fields=(IMAGE, AGE, LABEL))
    assert declared.settings() == {"modality": "image", "modality.cell": [4, 4]}
    assert declared.ignored(mixed()) == ["text", "age", "y"]
    spec = schema_of(declared, mixed()).modality
    assert (spec.kind, spec.columns, spec.cell) == ("grid", ("image",), (4, 4))


def test_several_inputs_are_a_mixture():
    declared = Declared(fields=(IMAGE, TEXT, AGE, LABEL))
    spec = schema_of(declared, mixed()).modality
    assert (spec.kind, spec.columns) == ("mixture", ("image", "text"))
    (_, image), (_, text) = spec.parts
    assert (image.kind, image.cell, text.kind) == ("grid", (4, 4), "symbols")


def test_columns_of_a_table_are_one_input():
    data = records(a=RNG.normal(size=NUM), b=RNG.normal(size=NUM), c=RNG.normal(size=NUM))
    fields = [DeclaredField(name=n, role="input", kind="table") for n in "ac"]
    declared = Declared(fields=tuple(fields), table={"max_categories": 7})
    assert declared.settings() == {"modality": "table", "modality.max_categories": 7}
    assert schema_of(declared, data).modality.columns == ("a", "c")


def test_a_file_means_what_was_written(tmp_path):
    path = tmp_path / "schema.toml"
    declared = Declared(
        fields=(IMAGE, TEXT, LABEL), mixture={"weights": {"image": 2.0}}, reader={"name": "npz"}
    )
    path.write_text(declared.to_toml("data.npz"))
    found = read_schema_file(path)
    assert found.settings() == declared.settings()
    assert found.settings()["reader"] == "npz"
    assert found.ignored(mixed()) == declared.ignored(mixed())
    written = tomllib.loads(path.read_text())
    assert written["field"][2] == {"name": "y", "role": "label", "type": "int64", "distinct": 24}
    assert "pretrain DATA --schema" in path.read_text().split("\n\n")[0]


def test_a_missing_input_is_named():
    with pytest.raises(DataError, match=r"has no field 'image'.* Known: imag"):
        Declared(fields=(IMAGE,)).ignored(records(imag=RNG.normal(size=(NUM, 3, 8, 8))))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "must declare at least one input; got 0 fields"),
        ("x = [", "must be a readable TOML file"),
        ("fields = 3", "has no entry 'fields'.* Did you mean 'field'"),
        ("field = 3", r"must list its fields as \[\[field\]\]"),
        ("table = 3\n[[field]]\nname='a'\nrole='left out'", r"\[table\] must be a table"),
        ("[[field]]\nrole = 'input'", "must have a name"),
        ("[[field]]\nname = 'a'\nrole = 'inpt'", "'a': role must .* Did you mean 'input'"),
        ("[[field]]\nname = 'a'\nrole = 'input'", "'a': kind of an input must"),
        ("[[field]]\nname = 'a'\nrole = 'input'\nkind = 'mixture'", "'a': kind of an input must"),
        ("[[field]]\nname = 'a'\nrole = 'label'\nroll = 3", "'a' has no entry 'roll'"),
        ("[[field]]\nname='a'\nrole='label'\nsettings=3", "'a': settings must be a table"),
        ("[[field]]\nname='a'\nrole='label'", "must declare at least one input; got 1 fields"),
    ],
)
def test_mistakes_are_named(tmp_path, text, rule):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rule) as caught:
        read_schema_file(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"must be a readable TOML file.*inspect DATA --write"):
        read_schema_file(tmp_path / "none.toml")
