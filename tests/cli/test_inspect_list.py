"""`metamae inspect`, `metamae list`, and the command line itself."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from command import metamae, refused
from metamae.cli.list import KINDS
from metamae.evaluation.probes import EVALUATIONS
from metamae.methods import METHODS
from metamae.schema.kinds import kinds
from metamae.uses.detect.detectors import DETECTORS


def test_help_names_every_command_without_waiting_for_torch():
    code = (
        "import sys\n"
        "from metamae.cli import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n"
        "    slow = {'torch', 'sklearn', 'pandas', 'pyarrow', 'matplotlib', 'numpy', 'PIL'}\n"
        "    sys.stderr.write(' '.join(sorted(slow & sys.modules.keys())))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""
    for command in ("inspect", "pretrain", "embed", "evaluate", "demo", "list"):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("pretrain", ["--out", "--steps", "--minutes", "--seed", "--size", "--method", "--set"]),
        ("pretrain", ["--config", "--resume", "--overwrite", "--ignore", "--field", "--device"]),
        ("embed", ["--out", "--tokens", "--overwrite"]),
        ("evaluate", ["--label", "--test", "--group", "--json", "--per-class"]),
        ("inspect", ["--json", "--modality"]),
        ("demo", ["--out", "--minutes", "--steps"]),
    ],
)
def test_each_command_explains_its_options(command, options):
    said = metamae(command, "--help")
    assert said.status == 0 and said.err == ""
    for option in options:
        assert option in said.out
    assert "--no-" not in said.out


def test_version():
    from metamae.core.version import VERSION

    assert metamae("--version").out.strip() == VERSION


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrian"], "Did you mean"),
        (["pretrain"], "--data"),
        (["pretrain", "x.npz"], "--out"),
        (["pretrain", "x.npz", "--out", "r", "--stesp", "3"], "--stesp"),
        (["pretrain", "x.npz", "--out", "r", "--steps", "many"], "many"),
        (["pretrain", "x.npz", "y.npz", "--out", "r"], "y.npz"),
        (["evaluate", "r", "x.npz"], "--label"),
        (["list", "method"], "Did you mean 'methods'"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_what_the_command_line_does_not_know(arguments, message):
    assert message in refused(metamae(*arguments))


@pytest.mark.parametrize("kind", KINDS)
def test_list_shows_every_plugin_with_its_settings(kind):
    said = metamae("list", kind)
    assert said.status == 0 and said.err == ""
    known = {
        "methods": ["metamae", "mae", "inner_lr="],
        "modalities": ["grid", "symbols", "table", "cell=auto"],
        "maskings": ["random", "block", "span", "ratio="],
        "evaluations": ["linear_probe", "knn"],
        "detectors": ["flow", "memory", "mahalanobis", "reconstruction"],
        "readers": ["csv", "npy", "npz", "parquet", "images"],
    }[kind]
    for name in known:
        assert name in said.out


@pytest.mark.parametrize(
    ("command", "table"),
    [("pretrain", METHODS), ("evaluate", EVALUATIONS), ("detect", DETECTORS)],
)
def test_help_names_every_plugin_there_is(command, table):
    said = metamae(command, "--help")
    words = set(re.findall(r"\w+", said.out))
    assert set(table.own) <= words and not re.search(r"\{\w+\}", said.out)


def test_list_names_the_words_for_modalities():
    said = metamae("list", "modalities")
    assert "modalitie " not in said.out
    assert set(kinds()) <= set(re.findall(r"\w+", said.out))


def test_list_without_a_kind_shows_all():
    said = metamae("list")
    assert said.status == 0 and all(kind in said.out for kind in KINDS)


def test_inspect_says_what_the_data_are_taken_for(data):
    said = metamae("inspect", data / "series.npz")
    assert said.status == 0 and "Traceback" not in said.err
    assert "80 samples" in said.out and "series, 2 channel(s) x 16" in said.out
    assert "label?" in said.out and "input" in said.out


@pytest.mark.parametrize(
    ("file", "modality", "samples", "roles"),
    [
        ("series.npz", "grid", 80, {"X": "input", "y": "label?"}),
        ("table.csv", "table", 90, {"a": "input", "b": "input", "c": "input", "size": "input"}),
        ("words.csv", "symbols", 60, {"text": "input", "label": "label?"}),
        ("images", "grid", 60, {"image": "input", "label": "label?"}),
    ],
)
def test_inspect_gives_the_same_as_json(data, file, modality, samples, roles):
    said = metamae("inspect", data / file, "--json")
    assert said.status == 0
    found = json.loads(said.out)
    assert (found["modality"], found["num_samples"]) == (modality, samples)
    fields = {field["name"]: field for field in found["fields"]}
    assert {name: fields[name]["role"] for name in roles} == roles
    assert found["num_tokens"] >= 2 and found["notes"]


def test_inspect_counts_what_is_missing(data):
    found = json.loads(metamae("inspect", data / "table.csv", "--json").out)
    (b,) = [field for field in found["fields"] if field["name"] == "b"]
    assert b["missing"] == pytest.approx(13 / 90)


def test_inspect_takes_the_options_of_pretrain(data):
    options = ("--modality", "series", "--set", "cell=4", "--json")
    found = json.loads(metamae("inspect", data / "series.npz", *options).out)
    assert found["num_tokens"] == 4 and "cell 4" in found["description"]
    options = ("--ignore", "kind", "--ignore", "size", "--json")
    found = json.loads(metamae("inspect", data / "table.csv", *options).out)
    roles = {field["name"]: field["role"] for field in found["fields"]}
    assert roles == {"a": "input", "b": "input", "c": "input", "kind": "label?", "size": "left out"}


def test_names_are_shown_as_they_are(tmp_path):
    # Not as the mark-up or the emoji that the library behind the tables knows.
    names = ["[bold]x[/bold]", ":warning:", "größe in µm", "a, b"]
    rows = np.random.default_rng(0).normal(size=(30, 4)).round(3)
    path = tmp_path / "ein Ordner" / "dätä [1].csv"
    path.parent.mkdir()
    header = ",".join(f'"{name}"' for name in names)
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]), "utf-8")
    said = metamae("inspect", path)
    assert said.status == 0
    assert all(name in said.out for name in names) and "dätä [1].csv" in said.out
    message = refused(metamae("inspect", path, "--ignore", ":smile: [red]"))
    assert "':smile: [red]'" in message and ":warning:" in message


def test_a_reader_that_leaves_is_no_error(data):
    code = "import sys; from metamae.cli import main; main(['list'])"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0 and err == ""
