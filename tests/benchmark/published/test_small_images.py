"""Data sets that encoders of images are judged on: CIFAR-10, DTD and others."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from metamae.benchmark.published import LAYOUTS
from metamae.errors import ConfigError, DataError

CIFAR = "airplane automobile bird cat deer dog frog horse ship truck".split()


def photo(path, colour, size=(48, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, quality=95)


def write_cifar10(root):
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"):
        labels = rng.permutation(10).astype(np.uint8)
        pixels = np.repeat(np.arange(3, dtype=np.uint8) * 10, 1024)[None] + 20 * labels[:, None]
        rows = np.concatenate([labels[:, None], pixels.astype(np.uint8)], axis=1)
        (root / name).write_bytes(rows.tobytes())
    (root / "batches.meta.txt").write_text("\n".join(CIFAR) + "\n\n")
    (root / "readme.html").write_text("<html>")


def write_dtd(root):
    names = [f"{kind}/{kind}_{n:04d}.jpg" for kind in ("banded", "zigzagged") for n in range(2, 14)]
    for place, name in enumerate(names):
        photo(root / "images" / name, (10 * place, 0, 0))
    (root / "labels").mkdir()
    for fold in (1, 2):
        for turn, part in enumerate(("train", "val", "test")):
            own = names[(turn + fold) % 3 :: 3]
            (root / "labels" / f"{part}{fold}.txt").write_text("\n".join(own) + "\n")
    return names


def test_cifar10(tmp_path, learns):
    write_cifar10(tmp_path / "cifar-10-batches-bin")
    published = LAYOUTS.build("cifar10").read(tmp_path)
    (challenge,) = published.challenges
    assert published.pretrain["image"].shape == (50, 3, 32, 32)
    assert len(challenge.test) == 10
    for image, label in zip(challenge.test["image"][:], challenge.test["label"][:], strict=True):
        own = 20 * CIFAR.index(label)
        for row, column in ((0, 0), (5, 7), (31, 31)):
            assert image[:, row, column].tolist() == [own, own + 10, own + 20]
    learns(published)


def test_damaged_cifar10(tmp_path):
    layout = LAYOUTS.build("cifar10")
    with pytest.raises(DataError, match=r"must hold cifar-10-batches-bin/data_batch_1.bin"):
        layout.read(tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"got the one for Python, which is pickled"):
        layout.read(tmp_path)
    root = tmp_path / "cifar-10-batches-bin"
    write_cifar10(root)
    path = root / "data_batch_3.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"data_batch_3.bin must hold 3073 bytes for each image"):
        layout.read(tmp_path)
    path.write_bytes(b"\x0b" + whole[1:])
    with pytest.raises(DataError, match=r"must hold labels below 10.*; got 11"):
        layout.read(tmp_path)


def test_dtd(tmp_path, learns):
    names = write_dtd(tmp_path / "dtd")
    published = LAYOUTS.build("dtd").read(tmp_path)
    (challenge,) = published.challenges
    assert published.pretrain["image"].shape == (16, 3, 32, 32)
    own = names[1::3] + names[2::3]
    assert challenge.records["label"][:].tolist() == [name.split("/")[0] for name in own]
    red = challenge.records["image"][:][:, 0].mean(axis=(1, 2))
    np.testing.assert_allclose(red, [10 * names.index(name) for name in own], atol=3)
    assert len(challenge.test) == 8
    learns(published)
    (other,) = LAYOUTS.build("dtd", fold=2).read(tmp_path / "dtd").challenges
    assert other.test["label"][:].tolist() == [name.split("/")[0] for name in names[1::3]]


def test_damaged_dtd(tmp_path):
    with pytest.raises(ConfigError, match=r"Dtd.fold must be at most 10; got 11"):
        LAYOUTS.build("dtd", fold=11)
    layout = LAYOUTS.build("dtd")
    with pytest.raises(DataError, match=r"must hold dtd/labels"):
        layout.read(tmp_path)
    names = write_dtd(tmp_path / "dtd")
    (tmp_path / "dtd" / "images" / names[4]).unlink()
    with pytest.raises(DataError, match=rf"train1.txt names; {names[4]} is not there"):
        layout.read(tmp_path)
    with pytest.raises(DataError, match=r"must hold labels/train3.txt"):
        LAYOUTS.build("dtd", fold=3).read(tmp_path)


def write_cub(root):
    rows = {"images": [], "image_class_labels": [], "train_test_split": []}
    for number in range(1, 17):
        name = "001.Black_footed_Albatross" if number < 9 else "002.Laysan_Albatross"
        path = f"{name}/{name[4:]}_{number:04d}_79.jpg"
        photo(root / "images" / path, (0, 10 * number, 0))
        rows["images"].append(f"{number} {path}")
        rows["image_class_labels"].append(f"{number} {1 if number < 9 else 2}")
        rows["train_test_split"].append(f"{number} {int(number % 4 > 0)}")
    for name, own in rows.items():
        (root / f"{name}.txt").write_text("\n".join(own) + "\n")


def write_flowers(root):
    labels = np.array([77, 77, 5, 77, 5, 5, 102, 102, 77, 5, 102, 77, 5, 102, 77, 5, 77, 102])
    for number in range(1, len(labels) + 1):
        photo(root / "jpg" / f"image_{number:05d}.jpg", (0, 0, 10 * number))
    savemat(root / "imagelabels.mat", {"labels": labels[None].astype(np.uint8)})
    numbers = np.arange(1, 19, dtype=np.uint16)
    parts = {"trnid": numbers[:3], "valid": numbers[3:6], "tstid": numbers[6:]}
    savemat(root / "setid.mat", {name: own[None] for name, own in parts.items()})
    return labels


def write_signs(root):
    for sign in range(43):
        folder = root / f"{sign:05d}"
        folder.mkdir(parents=True)
        for track in range(2 if sign else 5):
            for frame in range(5):
                pixels = np.full((30 + frame, 29 + frame, 3), 5 * sign, dtype=np.uint8)
                pixels[..., 1] = 10 * track
                Image.fromarray(pixels).save(folder / f"{track:05d}_{frame:05d}.ppm")
        head = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
        (folder / f"GT-{sign:05d}.csv").write_text(head)


def write_aircraft(root):
    boxes, parts = [], {"trainval": [], "test": []}
    for number in range(12):
        name = f"{1000000 + number:07d}"
        pixels = np.zeros((60, 80, 3), dtype=np.uint8)
        pixels[10:40, 20:70] = 15 * number + 20
        (root / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "images" / f"{name}.jpg", quality=95)
        boxes.append(f"{name} 22 12 68 38")
        variant = "707-320" if number % 2 else "Cessna 172"
        parts["test" if number > 7 else "trainval"].append(f"{name} {variant}")
    (root / "images_box.txt").write_text("\n".join(boxes) + "\n")
    for part, rows in parts.items():
        (root / f"images_variant_{part}.txt").write_text("\n".join(rows) + "\n")


def test_cub(tmp_path, learns):
    write_cub(tmp_path / "CUB_200_2011")
    published = LAYOUTS.build("cub").read(tmp_path)
    (challenge,) = published.challenges
    assert (len(challenge.records), len(challenge.test)) == (12, 4)
    species = ["Black_footed_Albatross"] * 2 + ["Laysan_Albatross"] * 2
    assert challenge.test["species"][:].tolist() == species
    green = challenge.test["image"][:][:, 1].mean(axis=(1, 2))
    np.testing.assert_allclose(green, [40, 80, 120, 160], atol=3)
    learns(published)


def test_damaged_cub(tmp_path):
    layout = LAYOUTS.build("cub")
    with pytest.raises(DataError, match=r"must hold CUB_200_2011/images.txt"):
        layout.read(tmp_path)
    write_cub(tmp_path)
    path = tmp_path / "train_test_split.txt"
    path.write_text(path.read_text().replace("7 1", "7 x", 1))
    with pytest.raises(DataError, match=r"must say 0 or 1 of every image; got x of image 7"):
        layout.read(tmp_path)
    (tmp_path / "images.txt").write_text("1\n")
    with pytest.raises(DataError, match=r"images.txt, line 1 must be a name, a space and a value"):
        layout.read(tmp_path)


def test_vggflower(tmp_path, learns):
    labels = write_flowers(tmp_path)
    published = LAYOUTS.build("vggflower").read(tmp_path)
    (challenge,) = published.challenges
    # By hand: kinds in the order of their first images, one generator for all.
    rng, expected = np.random.RandomState(42), []
    for kind in (77, 5, 102):
        own = np.flatnonzero(labels == kind)
        order = np.arange(len(own))
        rng.shuffle(order)
        expected += own[order][int(0.8 * len(own)) :].tolist()
    assert challenge.test.index.tolist() == sorted(expected)
    assert challenge.test["kind"][:].tolist() == labels[sorted(expected)].tolist()
    blue = challenge.test["image"][:][:, 2].mean(axis=(1, 2))
    np.testing.assert_allclose(blue, 10 * (np.sort(expected) + 1), atol=4)
    learns(published)
    (other,) = LAYOUTS.build("vggflower", split="vgg").read(tmp_path).challenges
    assert (len(other.records), len(other.test)) == (6, 12)
    assert other.test["kind"][:].tolist() == labels[6:].tolist()


def test_damaged_vggflower(tmp_path):
    layout = LAYOUTS.build("vggflower", split="vgg")
    with pytest.raises(DataError, match=r"must hold imagelabels.mat"):
        layout.read(tmp_path)
    write_flowers(tmp_path)
    savemat(tmp_path / "setid.mat", {name: [[1, 99]] for name in ("trnid", "valid", "tstid")})
    with pytest.raises(DataError, match=r"setid.mat must hold numbers of images from 1 to 18"):
        layout.read(tmp_path)
    (tmp_path / "imagelabels.mat").write_bytes(b"MATLAB")
    with pytest.raises(DataError, match=r"imagelabels.mat must be a MATLAB file with numbers 'lab"):
        layout.read(tmp_path)


def test_trafficsign(tmp_path, learns):
    write_signs(tmp_path / "GTSRB" / "Final_Training" / "Images")
    published = LAYOUTS.build("trafficsign").read(tmp_path)
    (challenge,) = published.challenges
    assert challenge.group is None
    assert (len(challenge.records), len(challenge.test)) == (20 + 42 * 8, 5 + 42 * 2)
    images, signs = challenge.test["image"][:], challenge.test["sign"][:]
    assert images.shape[1:] == (3, 32, 32)
    np.testing.assert_array_equal(images[:, 0, 16, 16], 5 * signs)
    learns(published)


def test_tracks_of_traffic_signs(tmp_path):
    write_signs(tmp_path / "GTSRB" / "Final_Training" / "Images")
    (challenge,) = LAYOUTS.build("trafficsign", split="tracks").read(tmp_path).challenges
    assert challenge.group == "track"
    assert not set(challenge.records["track"][:]) & set(challenge.test["track"][:])
    assert (len(challenge.records), len(challenge.test)) == (20 + 42 * 5, 5 + 42 * 5)


def test_damaged_trafficsign(tmp_path):
    layout = LAYOUTS.build("trafficsign")
    with pytest.raises(DataError, match=r"must hold GTSRB/Final_Training/Images"):
        layout.read(tmp_path)
    root = tmp_path / "GTSRB" / "Final_Training" / "Images"
    write_signs(root)
    path = root / "00003" / "00001_00002.ppm"
    path.write_bytes(path.read_bytes()[:500])
    published = layout.read(tmp_path)
    (challenge,) = published.challenges
    with pytest.raises(DataError, match=r"00003/00001_00002.ppm must be a complete picture"):
        for records in (challenge.records, challenge.test):
            records["image"][:]
    for path in (root / "00005").glob("*.ppm"):
        path.unlink()
    with pytest.raises(DataError, match=r"00005 must hold pictures \(.ppm\); got none"):
        layout.read(tmp_path)


def test_aircraft(tmp_path, learns):
    write_aircraft(tmp_path / "fgvc-aircraft-2013b" / "data")
    published = LAYOUTS.build("aircraft").read(tmp_path)
    (challenge,) = published.challenges
    assert (len(challenge.records), len(challenge.test)) == (8, 4)
    assert challenge.test["variant"][:].tolist() == ["Cessna 172", "707-320"] * 2
    # What lies in the box is of one colour.
    images = challenge.test["image"][:].astype(int)
    expected = np.array([15 * number + 20 for number in range(8, 12)])
    np.testing.assert_allclose(
        images, np.broadcast_to(expected[:, None, None, None], images.shape), atol=4
    )
    learns(published)


def test_damaged_aircraft(tmp_path):
    layout = LAYOUTS.build("aircraft")
    with pytest.raises(DataError, match=r"must hold fgvc-aircraft-2013b/data/images_box.txt"):
        layout.read(tmp_path)
    write_aircraft(tmp_path / "data")
    path = tmp_path / "data" / "images_box.txt"
    whole = path.read_text()
    path.write_text(whole.replace("68 38", "68", 1))
    with pytest.raises(DataError, match=r"must hold four numbers for each image; got '22 12 68'"):
        layout.read(tmp_path)
    path.write_text(whole.replace("1000003", "1000099"))
    with pytest.raises(DataError, match=r"a box for every image; 1000003 has none"):
        layout.read(tmp_path)
    path.write_text(whole)
    (tmp_path / "data" / "images" / "1000009.jpg").unlink()
    with pytest.raises(DataError, match=r"must hold 1000009.jpg"):
        layout.read(tmp_path)
