"""ImageNet32: ten .npz files of flat images, packed or not, and one to be judged."""

import numpy as np
import pytest

from metamae.benchmark.published import LAYOUTS
from metamae.errors import DataError


def write(root, save=np.savez, num=6):
    """Files as published: channel by channel in rows, labels from 1, a mean in training files."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    mean = rng.uniform(100, 130, 3072)
    for number in range(1, 12):
        data = np.repeat(rng.integers(0, 256, (num, 3, 1), dtype=np.uint8), 1024, axis=2)
        labels = 1 + (data[:, 0, 0].astype(np.int64) * 3) % 1000
        more = {"mean": mean} if number < 11 else {}
        name = f"train_data_batch_{number}.npz" if number < 11 else "val_data.npz"
        save(root / name, data=data.reshape(num, 3072), labels=labels, **more)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_and_labels(tmp_path, save):
    write(tmp_path, save)
    published = LAYOUTS.build("imagenet32").read(tmp_path)
    assert list(published.pretrain) == ["image"]
    assert published.pretrain["image"].shape == (60, 3, 32, 32)
    (challenge,) = published.challenges
    assert len(challenge.test) == 6
    for records in (challenge.records, challenge.test):
        images, labels = records["image"][:], records["label"][:]
        assert images.dtype == np.uint8
        # One colour each, whose red gives the label.
        np.testing.assert_array_equal(images, np.broadcast_to(images[..., :1, :1], images.shape))
        np.testing.assert_array_equal(1 + (images[:, 0, 0, 0].astype(int) * 3) % 1000, labels)
    colours = challenge.records["image"][np.array([7, 59])][..., 0, 0]
    with np.load(tmp_path / "train_data_batch_2.npz") as file:
        np.testing.assert_array_equal(colours[0], file["data"][1].reshape(3, 1024)[:, 0])
    with np.load(tmp_path / "train_data_batch_10.npz") as file:
        np.testing.assert_array_equal(colours[1], file["data"][5].reshape(3, 1024)[:, 0])


def test_plain_files_are_mapped(tmp_path):
    write(tmp_path)
    column = LAYOUTS.build("imagenet32").read(tmp_path).pretrain["image"]
    assert all(isinstance(part, np.memmap) for part in column.columns)


def test_folders_of_the_archives(tmp_path):
    write(tmp_path / "Imagenet32_train_npz")
    (tmp_path / "Imagenet32_val_npz").mkdir()
    path = tmp_path / "Imagenet32_train_npz" / "val_data.npz"
    path.rename(tmp_path / "Imagenet32_val_npz" / "val_data.npz")
    assert len(LAYOUTS.build("imagenet32").read(tmp_path).pretrain) == 60


def test_an_encoder_learns(tmp_path, learns):
    write(tmp_path)
    learns(LAYOUTS.build("imagenet32").read(tmp_path))


def test_pickles_are_refused(tmp_path):
    (tmp_path / "Imagenet32_train").mkdir()
    (tmp_path / "Imagenet32_train" / "train_data_batch_1").write_bytes(b"\x80\x04.")
    with pytest.raises(
        DataError, match=r"got Imagenet32_train/train_data_batch_1, which is a Pyth"
    ):
        LAYOUTS.build("imagenet32").read(tmp_path)


def test_missing_and_damaged_files(tmp_path):
    layout = LAYOUTS.build("imagenet32")
    with pytest.raises(DataError, match=r"must hold train_data_batch_1.npz as the data set is"):
        layout.read(tmp_path)
    write(tmp_path)
    path = tmp_path / "train_data_batch_7.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(DataError, match=r"train_data_batch_7.npz"):
        layout.read(tmp_path)
    np.savez(path, data=np.zeros((6, 12288), np.uint8), labels=np.ones(6, np.int64))
    with pytest.raises(
        DataError, match=r"batch_7.npz must hold bytes of shape \(6, 3072\) in 'dat"
    ):
        layout.read(tmp_path)
    np.savez(path, images=np.zeros((6, 3072), np.uint8), labels=np.ones(6, np.int64))
    with pytest.raises(DataError, match=r"batch_7.npz must be a complete .npz file with an array"):
        layout.read(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"must hold train_data_batch_7.npz"):
        layout.read(tmp_path)
