"""`metamae demo`: two real data sets, a table, a sentence and a picture for each."""

import subprocess
import sys

import pytest
from PIL import Image

from command import metamae, refused
from metamae import load
from metamae.errors import ArtifactError
from metamae.uses import demo as verb


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What the command said, and its folder."""
    out = tmp_path_factory.mktemp("demo") / "first try"
    with pytest.MonkeyPatch.context() as patch:
        # Scores of a few steps are worth nothing; two draws spare half a minute.
        whole = verb.evaluate
        patch.setattr(verb, "evaluate", lambda *a, **k: whole(*a, **{**k, "draws": 1}))
        said = metamae("demo", "--out", out, "--steps", 3)
    assert said.status == 0, said.err
    return said, out


def test_it_prints_a_table_and_one_sentence_for_each(shown):
    said, _ = shown
    for text in ("digits", "breast cancer", "metamae", "untrained", "pca", "raw", "95 % interval"):
        assert text in said.out
    assert "5 per class" in said.out and "linear_probe" in said.out
    sentences = [line for line in said.out.splitlines() if line.startswith("Pretraining ")]
    assert len(sentences) == 2 and all(line.endswith(".") for line in sentences)


def test_it_leaves_pictures_and_runs(shown):
    said, out = shown
    assert {path.name for path in out.iterdir()} == {
        "digits",
        "digits.png",
        "breast-cancer",
        "breast-cancer.png",
    }
    for name in ("digits", "breast-cancer"):
        with Image.open(out / f"{name}.png") as image:
            image.load()
            assert image.width > 600 and image.height > 400
            assert len(image.convert("RGB").getcolors(1 << 24)) > 50
        assert f"{name}.png" in said.out
    digits, cancer = load(out / "digits"), load(out / "breast-cancer")
    assert (digits.schema.modality.kind, cancer.schema.modality.kind) == ("grid", "table")
    assert digits.finished and digits.config.train.steps == 3


def test_the_encoder_saw_neither_labels_nor_test_samples(shown):
    _, out = shown
    for name, total in (("digits", 1797), ("breast cancer", 569)):
        config = load(out / name.replace(" ", "-")).config
        assert config.data["samples"] == total - round(0.3 * total)
        assert "y" not in load(out / name.replace(" ", "-")).schema.modality.columns


def test_an_earlier_demo_is_kept_unless_told_otherwise(shown):
    _, out = shown
    before = (out / "digits" / "model.safetensors").read_bytes()
    message = refused(metamae("demo", "--out", out, "--steps", 1))
    assert "--overwrite removes it" in message
    assert (out / "digits" / "model.safetensors").read_bytes() == before


def test_mistakes_are_named(tmp_path):
    (tmp_path / "file").write_text("text")
    assert "must be a folder" in refused(metamae("demo", "--out", tmp_path / "file"))
    out = ("--out", tmp_path / "demo")
    assert "Train.minutes must be" in refused(metamae("demo", *out, "--minutes", "-1"))
    assert "one budget" in refused(metamae("demo", *out, "--minutes", "1", "--steps", "1"))
    assert "Train.steps must be" in refused(metamae("demo", *out, "--steps", "0"))
    assert "Demo.seed must be" in refused(metamae("demo", *out, "--seed", "-1"))
    with pytest.raises(ArtifactError):
        verb.demo("/proc/demo")


def test_progress_rises_to_the_end(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(verb, "_show", lambda *a: a[-1](type("P", (), {"step": 1}), 0.5, {}))
    verb.demo(tmp_path / "demo", steps=1, observe=lambda note, done: seen.append((done, note)))
    assert [note for _, note in seen] == [
        "digits: step 1",
        "digits: done",
        "breast cancer: step 1",
        "breast cancer: done",
    ]
    share = verb.STEPS["digits"] / sum(verb.STEPS.values())
    expected = [share / 2, share, (1 + share) / 2, 1.0]
    assert [done for done, _ in seen] == pytest.approx(expected)


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_it_and_not_only_its_first_training(tmp_path, name, status):
    code = (
        "import os, signal, sys\n"
        "from metamae.cli import main\n"
        "from metamae.training.loop import Run\n"
        "step = Run.step\n"
        "def interrupted(run, batch):\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "    return step(run, batch)\n"
        "Run.step = interrupted\n"
        "main(['demo', '--out', sys.argv[1], '--steps', '50'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == status and done.stdout == "" and "Traceback" not in done.stderr
    assert not (tmp_path / "demo" / "breast-cancer").exists()
