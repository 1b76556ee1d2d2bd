"""The state of a run on disk: whole or not there, and refused where it is damaged."""

import errno
import json
import os
import resource

import pytest
import torch
from safetensors import safe_open

from command import metamae, pretrain, refused, settings
from metamae.core import atomic
from metamae.core.atomic import write_atomically, write_text_atomically
from metamae.errors import ArtifactError
from metamae.run.folder import load_model
from metamae.training import checkpoint
from metamae.training.checkpoint import (
    Progress,
    capture,
    digest,
    latest,
    load,
    read_tensors,
    restore,
    save,
    write_tensors,
)

from .runs import make_run, same, weights


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def full_disk(monkeypatch, module, after):
    """Let `save_file` of a module write half a file and fail, after some calls that succeed."""
    whole, calls = module.save_file, []

    def save_file(state, path, metadata=None):
        calls.append(path)
        whole(state, path, metadata=metadata)
        if len(calls) > after:
            os.truncate(path, path.stat().st_size // 2)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "save_file", save_file)


def test_a_checkpoint_brings_everything_back(tmp_path):
    run = make_run(steps=3)
    run.train()
    run.progress.rollbacks = 2
    state = capture(run.method, run.optimizer, run.rng)
    path = save(tmp_path, state, run.progress, keep=2)
    read, progress = load(path)
    assert same(read, state) and progress == run.progress

    other = make_run(steps=3)
    assert not same(weights(other), weights(run))
    restore(read, other.method, other.optimizer, other.rng)
    assert same(capture(other.method, other.optimizer, other.rng), state)
    other.progress = progress
    batch = run.batches.read(0)
    assert torch.equal(run.step(batch).logs["loss"], other.step(batch).logs["loss"])
    assert same(weights(run), weights(other))


def test_a_capture_is_a_copy():
    run = make_run(steps=3)
    state = capture(run.method, run.optimizer, run.rng)
    before = {k: v.clone() for k, v in state.items()}
    run.train()
    assert same(state, before)


def test_nothing_in_a_checkpoint_is_code(tmp_path):
    path = save(tmp_path, {"x": torch.ones(2)}, Progress(step=7, seconds=1.5), keep=1)
    assert path.name == "step-00000007.safetensors"
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["metamae"])
    progress = {"step": 7, "drawn": 0, "seconds": 1.5, "rollbacks": 0}
    assert header == {"digest": digest({"x": torch.ones(2)}), "progress": progress}


def test_equal_tensors_make_equal_files(tmp_path):
    state = {name: torch.ones(2) for name in "abcdef"}
    for name in ("one", "two"):
        write_tensors(tmp_path / name, state, {"step": 1, "finished": True, "more": "text"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    read, facts = read_tensors(tmp_path / "one")
    assert same(read, state) and facts == {"step": 1, "finished": True, "more": "text"}


def test_only_the_newest_are_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("not a checkpoint")
    for step in (9, 10, 11, 100):
        save(tmp_path, {"x": torch.ones(2)}, Progress(step=step), keep=2)
    kept = ["step-00000011.safetensors", "step-00000100.safetensors"]
    assert names(tmp_path) == ["notes.txt", *kept]
    assert latest(tmp_path).name == kept[-1]
    assert latest(tmp_path / "none") is None


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    (tmp_path / ".step-00000001.safetensors.abcdef").write_bytes(b"half")
    save(tmp_path, {"x": torch.ones(2)}, Progress(step=2), keep=2)
    assert names(tmp_path) == ["step-00000002.safetensors"]


@pytest.mark.parametrize("keep", [1, 2])
def test_a_full_disk_leaves_the_last_good_one(tmp_path, monkeypatch, keep):
    save(tmp_path, {"x": torch.ones(2)}, Progress(step=1), keep=keep)
    full_disk(monkeypatch, checkpoint, after=0)
    message = r"step-00000002.* must be writable.*No space.*last good checkpoint is step-00000001"
    with pytest.raises(ArtifactError, match=message):
        save(tmp_path, {"x": torch.ones(2)}, Progress(step=2), keep=keep)
    assert names(tmp_path) == ["step-00000001.safetensors"]
    assert load(latest(tmp_path))[1].step == 1


def test_a_disk_that_is_really_full(tmp_path):
    # A limit on the size of files fails the write itself, halfway, as a full disk does.
    save(tmp_path, {"x": torch.ones(2)}, Progress(step=1), keep=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ArtifactError, match=r"must be writable.*last good checkpoint is step"):
            save(tmp_path, {"x": torch.ones(1_000_000)}, Progress(step=2), keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == ["step-00000001.safetensors"]
    assert load(latest(tmp_path))[1].step == 1


def test_the_command_line_survives_a_full_disk(data, tmp_path, monkeypatch):
    options = {"steps": 8, "checkpoint_every": 2, "log_every": 1, "dropout": 0.1}
    unbroken, full = tmp_path / "unbroken", tmp_path / "full"
    assert pretrain(data / "series.npz", unbroken, **options).status == 0
    with monkeypatch.context() as patch:
        full_disk(patch, checkpoint, after=2)
        message = refused(pretrain(data / "series.npz", full, **options))
    assert "No space left" in message and "The last good checkpoint is step-00000004" in message
    assert "Free some space" in message
    assert names(full) == ["checkpoints", "config.toml", "metrics.jsonl", "schema.json"]
    assert names(full / "checkpoints") == [f"step-{n:08d}.safetensors" for n in (2, 4)]

    assert pretrain(data / "series.npz", full, "--resume", **options).status == 0
    a, b = (load(latest(folder / "checkpoints"))[0] for folder in (unbroken, full))
    assert same(*({k: v for k, v in s.items() if k != "window/counters"} for s in (a, b)))


def test_a_checkpoint_folder_in_the_way(tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(ArtifactError, match="must be a folder that can be written"):
        save(tmp_path / "checkpoints", {"x": torch.ones(2)}, Progress(step=1), keep=2)


def cut(raw):
    return raw[: len(raw) // 2]


def flip(raw):
    """Change one bit among the tensors, which the format itself would not notice."""
    return raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:]


def headless(raw):
    return b"\0" * 8 + raw[8:]


@pytest.mark.parametrize("damage", [cut, flip, headless, lambda raw: b""])
def test_a_damaged_checkpoint_is_refused(data, tmp_path, damage):
    out = tmp_path / "run"
    assert pretrain(data / "series.npz", out, steps=4, checkpoint_every=2).status == 0
    newest = latest(out / "checkpoints")
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.raises(ArtifactError, match="must be a whole checkpoint"):
        load(newest)
    message = refused(metamae("pretrain", data / "series.npz", "--out", out, "--resume"))
    assert newest.name in message and "Remove it to go on from the one before" in message
    newest.unlink()
    said = metamae("pretrain", data / "series.npz", "--out", out, "--resume")
    assert said.status == 0 and "4 steps" in said.err


def test_a_checkpoint_of_another_run_is_refused(data, tmp_path):
    for name, width in (("a", 16), ("b", 8)):
        said = metamae(
            *("pretrain", data / "series.npz", "--out", tmp_path / name, "--steps", 2),
            *settings(width=width, heads=2, depth=1, decoder_width=8, decoder_heads=2),
        )
        assert said.status == 0
    source = latest(tmp_path / "a" / "checkpoints")
    (tmp_path / "b" / "checkpoints" / "step-00000009.safetensors").write_bytes(source.read_bytes())
    message = refused(metamae("pretrain", data / "series.npz", "--out", tmp_path / "b", "--resume"))
    assert "must be a checkpoint of this run" in message and "step-00000009" in message


def test_the_digest_sees_names_types_shapes_and_bits():
    x = torch.arange(6, dtype=torch.float32)
    states = [{"x": x}, {"y": x}, {"x": x.reshape(2, 3)}, {"x": x.view(torch.int32)}, {"x": -x}]
    assert len({digest(state) for state in states}) == len(states)
    assert digest({"x": x, "y": -x}) == digest({"y": -x, "x": x.clone()})


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_are_as_open_as_the_users_others(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        path = save(tmp_path, {"x": torch.ones(2)}, Progress(step=1), keep=1)
        write_text_atomically(tmp_path / "text", "text")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode
    assert (tmp_path / "text").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("of the writer's own")])
def test_what_is_no_matter_of_the_disk_passes_through_and_leaves_nothing(tmp_path, error):
    def write(path):
        path.write_text("half")
        raise error

    (tmp_path / "file").write_text("old")
    with pytest.raises((KeyboardInterrupt, RuntimeError)):
        write_atomically(tmp_path / "file", write)
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


def test_a_file_in_no_folder_is_an_artifact_error(tmp_path):
    with pytest.raises(ArtifactError, match="must be writable"):
        write_text_atomically(tmp_path / "none" / "file", "text")
    with pytest.raises(ArtifactError, match="must be a folder that can be written"):
        atomic.make_folder(tmp_path / "nul\0byte")


def test_the_weights_need_their_file(data, tmp_path):
    run = make_run()
    with pytest.raises(ArtifactError, match=r"got no model.safetensors.*--resume"):
        load_model(tmp_path, run.method)


def test_a_checkpoint_of_another_kind_of_device_is_no_damage(tmp_path):
    run = make_run(tmp_path, steps=2)
    run.train()
    path = latest(tmp_path / "checkpoints")
    state, progress = load(path)
    state["rng"] = torch.zeros(16, dtype=torch.uint8)  # as long as that of a GPU
    save(tmp_path / "checkpoints", state, progress, keep=2)
    with pytest.raises(ArtifactError, match=r"the kind on which .* got cpu\. --device cuda would"):
        make_run(tmp_path, steps=4, resume=True)
