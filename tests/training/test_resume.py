"""A run that was stopped and resumed ends as one that was not, bit for bit."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from command import TINY, metamae, pretrain, refused, settings, start
from metamae import load
from metamae.training import checkpoint
from metamae.training.log import read_metrics

from .runs import same

# Windows of the log straddle checkpoints, dropout needs the generator, and the inner step begins
# (at step 15, within a window) in the part that is done again.
RUN = {
    "size": "tiny",
    "inner_lr": 0.5,
    "inner_from": 0.6,
    "batch_size": 16,
    "steps": 24,
    "checkpoint_every": 5,
    "log_every": 3,
    "check_every": 9,
    "dropout": 0.1,
    "lr": 0.001,
}
STOPPED_AT = 13
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# Runs the command in a fork for each signal, which it sends itself as step 13 begins: 12 steps
# are then done and 10 are saved. Forks share the seconds that it takes to import torch.
DIE = f"""
import json, os, sys
import metamae.pretraining.pretrain
from metamae.cli import main
from metamae.training.loop import Run

folder, signals, arguments = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
whole = Run.step

def die(name):
    def step(run, batch):
        if run.progress.step + 1 == {STOPPED_AT}:
            os.kill(os.getpid(), int(name))
        return whole(run, batch)

    Run.step = step
    os.dup2(os.open(f"{{folder}}/{{name}}.err", os.O_CREAT | os.O_WRONLY), 2)
    main([*arguments, "--out", f"{{folder}}/{{name}}"])

children = {{}}
for name in signals:
    children[name] = os.fork()
    if not children[name]:
        die(name)
statuses = {{n: os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for n, p in children.items()}}
print(json.dumps(statuses))
"""


def state_of(run):
    """All that a run's last checkpoint holds but the clock."""
    state, progress = checkpoint.load(checkpoint.latest(run / "checkpoints"))
    counters = state.pop("window/counters")
    return state, (progress.step, progress.drawn, progress.rollbacks, float(counters[0]))


def metrics_of(run):
    timed = ("seconds", "samples_per_second")
    lines = read_metrics(run / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k not in timed} for line in lines]


def assert_equal_runs(a, b):
    (state_a, progress_a), (state_b, progress_b) = state_of(a), state_of(b)
    assert progress_a == progress_b
    assert any(key.startswith("optimizer/") for key in state_a) and same(state_a, state_b)
    assert metrics_of(a) == metrics_of(b)
    assert same(load_file(a / "model.safetensors"), load_file(b / "model.safetensors"))


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "run"
    assert pretrain(data / "series.npz", out, "--seed", 3, **RUN).status == 0
    return out


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory):
    """Signal -> folder, exit status and standard error of a run that it stopped."""
    folder = tmp_path_factory.mktemp("stopped")
    numbers = [str(int(number)) for number in SIGNALS]
    options = ("--seed", 3, *settings(**TINY, **RUN))
    process = start(DIE, folder, ",".join(numbers), "pretrain", data / "series.npz", *options)
    said, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    statuses = json.loads(said)  # and nothing else stood on standard output
    return {
        number: (folder / name, statuses[name], (folder / f"{name}.err").read_text())
        for number, name in zip(SIGNALS, numbers, strict=True)
    }


def test_the_unbroken_run_wrote_what_was_asked_for(unbroken):
    steps = [line["step"] for line in metrics_of(unbroken)]
    assert steps == [3, 6, 9, 12, 15, 18, 21, 24]
    checked = [line["step"] for line in metrics_of(unbroken) if "effective_rank" in line]
    assert checked == [9, 18, 24]


def test_a_kill_leaves_the_last_checkpoint_and_no_weights(stopped):
    out, status, err = stopped[signal.SIGKILL]
    assert status == -signal.SIGKILL and "Traceback" not in err
    assert checkpoint.latest(out / "checkpoints").name == "step-00000010.safetensors"
    assert not (out / "model.safetensors").exists()
    # Step 12 was logged, and is to be learnt again.
    assert metrics_of(out)[-1]["step"] == 12
    message = refused(metamae("embed", out, "any.npz", "--out", "any.npy"))
    assert "got no model.safetensors" in message and "--resume" in message


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_request_to_stop_is_answered_by_a_checkpoint(stopped, number, code):
    out, status, err = stopped[number]
    assert status == code
    assert "Traceback" not in err and "error" not in err
    assert f"stopped by {number.name} at step {STOPPED_AT}; --resume goes on from there" in err
    names = [path.name for path in (out / "checkpoints").iterdir()]
    assert sorted(names) == ["step-00000010.safetensors", f"step-{STOPPED_AT:08d}.safetensors"]
    pretrained = load(out)
    assert not pretrained.finished
    assert pretrained.embed(np.zeros((3, 2, 16), dtype=np.float32)).shape == (3, 16)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_resumed_it_ends_as_the_unbroken_run(data, stopped, unbroken, tmp_path, number):
    out = shutil.copytree(stopped[number][0], tmp_path / "run")
    said = metamae("pretrain", data / "series.npz", "--out", out, "--resume")
    assert said.status == 0 and "24 steps" in said.err
    assert_equal_runs(out, unbroken)
    assert load(out).finished


def test_the_command_stops_when_it_is_asked_to_from_outside(data, tmp_path):
    # The installed command, and a signal that finds it wherever it happens to be.
    out = tmp_path / "run"
    command = [Path(sys.executable).with_name("metamae"), "pretrain", data / "series.npz"]
    options = settings(**TINY, checkpoint_every=2, keep=1)
    process = subprocess.Popen(
        [*command, "--out", out, "--steps", "1000000", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (out / "checkpoints").is_dir():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, err = process.communicate(timeout=60)
    assert process.returncode == 130 and said == ""
    assert "Traceback" not in err and "stopped by SIGINT at step" in err
    step = checkpoint.load(checkpoint.latest(out / "checkpoints"))[1].step
    assert f"at step {step};" in err
    assert load(out).embed(np.zeros((2, 2, 16))).shape == (2, 16)


def test_a_run_that_began_and_has_no_checkpoint_starts_again(data, unbroken, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    for name in ("config.toml", "schema.json"):
        shutil.copy(unbroken / name, out / name)
    (out / "metrics.jsonl").write_text('{"step": 3, "loss": 1.0}\n{"step": 6, "lo')
    said = metamae("pretrain", data / "series.npz", "--out", out, "--resume")
    assert said.status == 0
    assert_equal_runs(out, unbroken)


@pytest.mark.parametrize("there", [True, False])
def test_where_there_is_nothing_to_resume_it_starts(data, tmp_path, there):
    out = tmp_path / "deep" / "run"
    if there:
        out.mkdir(parents=True)
    said = pretrain(data / "series.npz", out, "--resume", steps=2)
    assert said.status == 0 and (out / "model.safetensors").is_file()


def test_a_finished_run_stays_as_it_is(data, unbroken, tmp_path):
    out = shutil.copytree(unbroken, tmp_path / "run")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    said = metamae("pretrain", data / "series.npz", "--out", out, "--resume", "--skip-report")
    assert said.status == 0 and "nothing left to do" in said.err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "again",
    [
        ["--seed", 3, *settings(**TINY, **RUN)],
        ["--steps", 24, "--size", "tiny", "--method", "metamae", "--modality", "series"],
        settings(lr=0.001, dropout="1e-1", clip=1, second_order="true", masking="random"),
        settings(lr="1e-3", batch_size="auto", size="auto", **{"train.keep": 2}),
    ],
)
def test_the_same_options_may_be_given_again(data, unbroken, tmp_path, again):
    out = shutil.copytree(unbroken, tmp_path / "run")
    said = metamae("pretrain", data / "series.npz", "--out", out, "--resume", *again)
    assert said.status == 0, said.err


def test_its_own_configuration_may_be_given_again(data, unbroken, tmp_path):
    out = shutil.copytree(unbroken, tmp_path / "run")
    config = ("--config", out / "config.toml")
    assert metamae("pretrain", data / "series.npz", "--out", out, "--resume", *config).status == 0


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (["--steps", 48], "steps = 48 instead of 24"),
        (["--minutes", 1], "minutes = 1.0 instead of None"),
        (["--seed", 4], "seed = 4 instead of 3"),
        (["--method", "mae"], "method = 'mae' instead of 'metamae'"),
        (["--size", "base"], "size = 'base' instead of 'tiny'"),
        (["--modality", "table"], "modality = 'table' instead of 'grid'"),
        (["--ignore", "X"], "ignore = 'X', which was input"),
        (settings(lr=0.01), "lr = 0.01 instead of 0.001"),
        (settings(inner_lr=0.1, ratio=0.5), "inner_lr = 0.1 instead of 0.5"),
        (settings(width=32), "width = 32 instead of 16"),
        (settings(masking="block"), "masking = 'block' instead of 'random'"),
        (settings(cell=4), "cell = 4 instead of None"),
    ],
)
def test_other_settings_are_refused_by_name(data, unbroken, tmp_path, other, named):
    out = shutil.copytree(unbroken, tmp_path / "run")
    before = (out / "model.safetensors").read_bytes()
    message = refused(metamae("pretrain", data / "series.npz", "--out", out, "--resume", *other))
    assert "must go on with the settings that the run began with" in message and named in message
    assert (out / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda x: {"X": x[:-1]}, "got 79 samples instead of 80"),
        (lambda x: {"X": x + 1}, "as many samples"),
        (lambda x: {"X": x[:, :, :-1]}, r"got shape (2, 15)"),
        (lambda x: {"Z": x}, "has no field 'X'"),
    ],
)
def test_other_data_are_refused_by_name(data, unbroken, tmp_path, change, named):
    with np.load(data / "series.npz") as file:
        np.savez(tmp_path / "other.npz", **change(file["X"]))
    out = ("--out", unbroken, "--resume")
    assert named in refused(metamae("pretrain", tmp_path / "other.npz", *out))


def test_the_same_data_elsewhere_will_do(data, unbroken, tmp_path):
    moved = shutil.copy(data / "series.npz", tmp_path / "moved.npz")
    assert metamae("pretrain", moved, "--out", unbroken, "--resume").status == 0


def test_resume_and_overwrite_exclude_each_other(data, tmp_path):
    said = pretrain(data / "series.npz", tmp_path / "run", "--resume", "--overwrite")
    assert "must have one of resume and overwrite" in refused(said)


def test_a_minutes_budget_counts_what_was_trained_before(data, tmp_path):
    out = tmp_path / "run"
    said = pretrain(data / "series.npz", out, "--minutes", 0.02, checkpoint_every=5, keep=1000)
    assert said.status == 0
    lines = read_metrics(out / "metrics.jsonl")
    assert 1.2 <= lines[-1]["seconds"] < 5
    # As if it had been killed after its first checkpoint.
    first, *later = sorted((out / "checkpoints").iterdir())
    for path in later:
        path.unlink()
    spent = checkpoint.load(first)[1].seconds
    began = time.monotonic()
    assert metamae("pretrain", data / "series.npz", "--out", out, "--resume").status == 0
    total = read_metrics(out / "metrics.jsonl")[-1]["seconds"]
    assert 1.2 <= total and total - spent < time.monotonic() - began
    assert json.loads((out / "schema.json").read_text())["modality"]["kind"] == "grid"
