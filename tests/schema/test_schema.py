"""From arrays and columns to a modality: the conventions, the overrides, the refusals."""

import json

import numpy as np
import pytest

from cases import CASES, case, objects
from metamae.data.readers import read
from metamae.data.records import Records
from metamae.errors import ArtifactError, ConfigError, DataError
from metamae.schema.guess import LABELS
from metamae.schema.kinds import kinds, modality_settings
from metamae.schema.schema import FORMAT, Schema, infer_schema

S = 12


def numbers(*shape, dtype="f8"):
    return (np.random.default_rng(0).normal(size=(S, *shape)) * 50 + 100).astype(dtype)


def texts():
    return objects(["ACGT", "GGT"] * (S // 2))


def infer(data, **settings):
    return infer_schema(read(data), **settings)


@pytest.mark.parametrize(
    ("data", "description"),
    [
        (numbers(5), "rows of 5 columns, 0 of them categorical"),
        (numbers(5, dtype="i8"), "rows of 5 columns, 0 of them categorical"),
        (numbers(6, 40), "series, 6 channel(s) x 40"),
        (numbers(40, 6), "series, 6 channel(s) x 40"),
        (numbers(20, 20), "image, 1 channel(s) x 20 x 20"),
        (numbers(20, 24, dtype="u1"), "image, 1 channel(s) x 20 x 24"),
        (numbers(3, 16, 16, dtype="u1"), "image, 3 channel(s) x 16 x 16"),
        (numbers(16, 16, 3, dtype="u1"), "image, 3 channel(s) x 16 x 16"),
        (numbers(1, 6, 6, 6), "volume, 1 channel(s) x 6 x 6 x 6"),
        (list(texts()), "sequences of up to 4 symbols"),
        (np.array(["ACGT", "GGTA"] * 6), "sequences of 4 symbols"),
        ([np.arange(3 + n % 4) for n in range(S)], "sequences of up to 6 symbols"),
        ({"a": numbers(), "b": numbers(dtype="i4")}, "rows of 2 columns, 0 of them"),
        ({"a": numbers(), "b": texts()}, "rows of 2 columns, 1 of them"),
    ],
)
def test_what_data_are_taken_for(data, description):
    schema = infer(data)
    assert schema.modality.describe().startswith(description)
    assert any("(override: --modality)" in note for note in schema.notes)


@pytest.mark.parametrize(
    ("data", "columns", "left_out"),
    [
        ({"X": numbers(6, 40), "y": numbers()}, ("X",), ("y",)),
        ({"X": numbers(5), "y": numbers(2)}, ("X",), ("y",)),
        ({"X": numbers(5), "Y": numbers(2)}, ("X",), ("Y",)),
        ({"X": numbers(5), "other": numbers(3)}, ("X",), ("other",)),
        ({"signal": numbers(6, 40), "age": numbers()}, ("signal",), ("age",)),
        ({"signal": numbers(6, 40), "Label": numbers(3)}, ("signal",), ("Label",)),
        ({"X": texts(), "label": numbers()}, ("X",), ("label",)),
        ({"a": numbers(), "b": numbers(), "Target": numbers()}, ("a", "b"), ("Target",)),
        ({"a": numbers(), "b": numbers()}, ("a", "b"), ()),
        ({"y": numbers(), "group": numbers()}, ("y", "group"), ()),
        ({"y": numbers(5)}, ("y",), ()),
    ],
)
def test_which_fields_are_input(data, columns, left_out):
    schema = infer(data)
    assert schema.modality.columns == columns
    assert schema.left_out == left_out
    told = " ".join(schema.notes)
    assert all(name in told for name in left_out), "nothing is left out in silence"


@pytest.mark.parametrize("label", LABELS)
def test_labels_by_convention(label):
    columns = {"a": numbers(), "b": numbers(), label: numbers()}
    schema = infer(columns)
    assert schema.left_out == (label,)
    assert f"left out as labels: {label} (override: --field)" in schema.notes


def test_ignored_fields():
    data = {name: numbers() for name in "abcd"}
    assert infer(data, ignore=["a"]).left_out == ("a",)
    # An iterator, too, is read once only.
    assert infer(data, ignore=(name for name in "ab")).left_out == ("a", "b")
    with pytest.raises(DataError, match=r"dict has no field 'e'\. Known: a, b, c, d\."):
        infer(data, ignore=["e"])
    with pytest.raises(DataError, match=r"dict must hold at least one field; got none\."):
        infer(data, ignore=list("abcd"))


def test_several_arrays_are_a_mixture():
    data = {"left": numbers(6, 40), "right": numbers(6, 40), "age": numbers()}
    schema = infer(data)
    assert schema.modality.kind == "mixture"
    assert schema.modality.columns == ("left", "right") and schema.left_out == ("age",)
    assert any(
        "input is fields 'left', 'right'; left out: age (override: --field, --schema)" in note
        for note in schema.notes
    )
    assert infer(data, ignore=["right"]).modality.columns == ("left",)


def sentences():
    return objects([f"sample {n} in words" for n in range(S)])


def ragged(*axes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(*axes, 5 + n)) for n in range(S)]


@pytest.mark.parametrize(
    ("data", "kind", "columns"),
    [
        (
            {"picture": numbers(3, 16, 16), "caption": sentences()},
            "mixture",
            ("picture", "caption"),
        ),
        ({"text": sentences(), "stars": numbers()}, "symbols", ("text",)),
        # A table with a column of remarks stays a table.
        ({"a": numbers(), "b": numbers(), "remark": sentences()}, "table", ("a", "b")),
        (
            {"signal": numbers(6, 40), "id": objects([f"p{n}" for n in range(S)])},
            "grid",
            ("signal",),
        ),
        ({"signal": ragged(2)}, "grid", ("signal",)),
        ({"a": ragged(2), "b": numbers(4)}, "mixture", ("a", "b")),
    ],
)
def test_what_several_fields_are_taken_for(data, kind, columns):
    schema = infer(data)
    assert (schema.modality.kind, schema.modality.columns) == (kind, columns)


def test_a_mixture_that_is_asked_for_takes_every_field():
    data = {"a": numbers(), "b": numbers(), "remark": sentences(), "y": numbers()}
    schema = infer(data, modality="mixture")
    assert [(name, part.kind) for name, part in schema.modality.parts] == [
        ("remark", "symbols"),
        ("table", "table"),
    ]
    assert schema.left_out == ("y",)
    alone = infer({"a": numbers(), "remark": sentences()}, modality="mixture")
    assert alone.modality.columns == ("remark", "a")


@pytest.mark.parametrize(
    ("data", "modality", "description"),
    [
        (numbers(40), "series", "series, 1 channel(s) x 40"),
        (numbers(20, 20), "series", "series, 20 channel(s) x 20"),
        (numbers(6, 40), "image", "image, 1 channel(s) x 6 x 40"),
        (numbers(6, 7, 8), "volume", "volume, 1 channel(s) x 6 x 7 x 8"),
        (numbers(6, 40), "grid", "series, 6 channel(s) x 40"),
        (numbers(9, dtype="i2"), "symbols", "sequences of 9 symbols"),
        (list(texts()), "text", "sequences of up to 4 symbols"),
        ({"a": numbers(), "b": numbers()}, "table", "rows of 2 columns"),
    ],
)
def test_a_modality_can_be_named(data, modality, description):
    schema = infer(data, modality=modality)
    assert schema.modality.describe().startswith(description)
    assert not any("override: --modality" in note for note in schema.notes)
    assert schema.modality.kind == kinds()[modality][0]


def waves():
    """Smooth curves, each with a phase of its own."""
    phases = np.random.default_rng(0).uniform(0, 6, (S, 1))
    return np.sin(np.linspace(0, 6, 64) + phases)


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (waves(), "if they are points of a curve, --modality series"),
        (np.arange(S * 20).reshape(S, 20) % 7, "if they are codes, --modality symbols"),
        (numbers(64), ""),
        (waves()[:, :8], ""),
        (numbers(64, dtype="i8"), ""),
    ],
)
def test_arrays_of_numbers_that_look_like_something_else(data, advice):
    schema = infer(data)
    assert schema.modality.kind == "table"
    (note,) = [note for note in schema.notes if "taken as table" in note]
    assert note.endswith(advice or "(override: --modality)")


def test_settings_reach_the_modality():
    spec = infer(numbers(6, 40), modality="series", settings={"cell": 10}).modality
    assert spec.cell == (10,)
    spec = infer(numbers(6, 40), modality="grid", settings={"layout": "last"}).modality
    assert (spec.channels, spec.size) == (40, (6,))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (
            {"modality": "sries"},
            r"Unknown modality 'sries'\. Did you mean 'series'\? Known: audio, grid,",
        ),
        ({"modality": None}, r"Unknown modality None\. "),
        ({"settings": {"cel": 4}}, r"Modality 'grid' has no setting 'cel'\. Did you mean 'cell'\?"),
        (
            {"settings": {"max_symbols": 4}},
            r"Modality 'grid' has no setting 'max_symbols'\. Known: axes, cell, layout,",
        ),
        (
            {"modality": "volume"},
            r"Grid\.axes must be the number of axes .*; got 3 for .*\(6, 40\)",
        ),
        ({"modality": "series", "settings": {"layout": "none"}}, r"must leave 1 axes besides"),
    ],
)
def test_mistakes_in_settings(settings, rule):
    with pytest.raises(ConfigError, match=rule):
        infer(numbers(6, 40), **settings)


@pytest.mark.parametrize("shape", [(4,), (6, 40)])
def test_one_sample_is_not_enough(shape):
    with pytest.raises(DataError, match=r"at least 2 samples to learn from; got n_samples = 1\."):
        infer(numbers(*shape)[:1])


def test_data_that_are_not_of_the_named_modality():
    with pytest.raises(DataError, match=r"must hold numbers in arrays; got strings"):
        infer(list(texts()), modality="series")
    with pytest.raises(DataError, match=r"must hold text or integer codes; got array\("):
        infer(numbers(6), modality="symbols")
    with pytest.raises(DataError, match=r"a table must have at least 2 columns that vary; got 0"):
        infer(numbers(6, 40), modality="table", ignore=())


def test_the_seed_decides_the_subsample(monkeypatch):
    monkeypatch.setattr("metamae.modalities.grid.scaled.STATISTICS_FROM", 16)
    x = np.random.default_rng(0).normal(size=(100, 2, 30))
    first, again, other = (infer(x, seed=seed).modality for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("name", CASES)
def test_schemas_survive_json(name):
    spec, _ = case(name)
    schema = Schema(spec, ("y", "ä"), ("a note",))
    assert Schema.from_json(schema.to_json(), "schema.json") == schema


def test_every_kind_is_reachable_and_its_settings_known():
    for kind, implied in kinds().values():
        assert implied.keys() <= modality_settings(kind).keys()
    assert modality_settings("table")["max_categories"] == 256
    with pytest.raises(ConfigError, match=r"Unknown modality 'tabel'\. Did you mean 'table'\?"):
        modality_settings("tabel")


def schema_text(**changes):
    spec, _ = case("series")
    return json.dumps({**json.loads(Schema(spec).to_json()), **changes})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        "{}",
        '{"format": 1}',
        schema_text(format="1"),
        schema_text(modality=None),
        schema_text(modality={}),
        schema_text(modality={"kind": "nothing"}),
        schema_text(modality={"kind": ["grid"]}),
        schema_text(modality={"kind": "grid", "column": "X"}),
        schema_text(modality={"kind": "table", "measured": [3]}),
        schema_text(left_out=None),
    ],
)
def test_damaged_schemas_are_refused(text):
    rule = r"run/schema\.json must hold the schema of a run; got .*\. The file is damaged: restore"
    with pytest.raises(ArtifactError, match=rule):
        Schema.from_json(text, "run/schema.json")


def test_newer_schemas_are_refused():
    rule = rf"must have format {FORMAT} or older; got {FORMAT + 1}\. A newer metamae wrote it: upgr"
    with pytest.raises(ArtifactError, match=rule):
        Schema.from_json(schema_text(format=FORMAT + 1), "schema.json")


def test_unknown_entries_of_the_same_format_are_passed_over():
    spec, _ = case("series")
    values = json.loads(Schema(spec).to_json())
    values["modality"]["added_later"] = 1
    assert Schema.from_json(json.dumps(values), "schema.json").modality == spec


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.cumsum(np.random.default_rng(0).normal(size=(50, 40)), axis=1), "--modality series"),
        (np.random.default_rng(0).normal(size=(50, 40)), None),
        (np.random.default_rng(0).integers(0, 4, (50, 40)), "--modality symbols"),
        (np.random.default_rng(0).integers(0, 900, (50, 40)), None),
        (np.random.default_rng(0).integers(0, 4, (50, 8)), None),
    ],
    ids=["curve", "noise", "codes", "counts", "few columns"],
)
def test_a_table_that_may_be_something_else_is_said(array: np.ndarray, said: str | None) -> None:
    schema = infer_schema(Records({"X": array}, "X.npy"))
    (note,) = [note for note in schema.notes if note.startswith("taken as table")]
    assert (said in note) if said else note == "taken as table (override: --modality)"


def test_a_doubt_survives_missing_values() -> None:
    array = np.random.default_rng(0).normal(size=(50, 40))
    array[:, 3] = np.nan
    array[0, 0] = np.nan
    notes = infer_schema(Records({"X": array}, "X.npy")).notes
    assert "taken as table (override: --modality)" in notes


def test_many_columns_are_grouped() -> None:
    records = Records({"X": np.random.default_rng(0).normal(size=(4, 1025))}, "X.npy")
    assert infer_schema(records).modality.num_tokens == 61
    with pytest.raises(ConfigError, match=r"max_tokens = 1024 tokens; got 1025"):
        infer_schema(records, settings={"group": 1})
