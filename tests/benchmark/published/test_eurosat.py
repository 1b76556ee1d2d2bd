"""EuroSAT: ten class folders of TIFF files with 13 bands."""

import numpy as np
import pytest
import tifffile

from metamae.benchmark.published import LAYOUTS
from metamae.benchmark.published.eurosat import CLASSES, ROOTS
from metamae.errors import DataError


def write(root, bands=13):
    """Ten files of each class, named and stored as in the archive: bands beside each other."""
    rng = np.random.default_rng(0)
    for level, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(1, 11):
            pixels = rng.normal(1000 + 100 * level, 30, (64, 64, bands)).astype(np.uint16)
            path = root / name / f"{name}_{number}.tif"
            tifffile.imwrite(path, pixels, planarconfig="contig", photometric="minisblack")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("eurosat")
    write(root / "EuroSAT_MS")
    return root


def test_images_and_labels(folder):
    published = LAYOUTS.build("eurosat").read(folder)
    (challenge,) = published.challenges
    assert (len(published.pretrain), len(challenge.records), len(challenge.test)) == (81, 9, 1)
    assert list(published.pretrain) == ["image"]
    assert published.pretrain["image"].shape == (81, 13, 64, 64)
    images, labels = challenge.records["image"][:], challenge.records["label"][:]
    for image, label in zip(images, labels, strict=True):
        assert image.dtype == np.uint16
        assert round((image.mean() - 1000) / 100) == CLASSES.index(label)


def test_both_archives_are_found(folder, tmp_path):
    assert ROOTS[1].startswith("ds/images/")
    for root in ROOTS[1:]:
        where = tmp_path / str(len(root))
        (where / root).parent.mkdir(parents=True, exist_ok=True)
        if root == ".":
            where = folder / "EuroSAT_MS"
        else:
            (where / root).symlink_to(folder / "EuroSAT_MS")
        assert len(LAYOUTS.build("eurosat").read(where).pretrain) == 81


def test_an_encoder_learns(folder, learns):
    learns(LAYOUTS.build("eurosat").read(folder))


def test_missing_and_damaged_files(tmp_path):
    layout = LAYOUTS.build("eurosat")
    with pytest.raises(DataError, match=r"must hold EuroSAT_MS/AnnualCrop as the data set is"):
        layout.read(tmp_path)
    write(tmp_path / "EuroSAT_MS", bands=3)
    with pytest.raises(DataError, match=r"must hold images of 13 bands .*\(3, 64, 64\)"):
        layout.read(tmp_path)
    path = tmp_path / "EuroSAT_MS" / "River" / "River_3.tif"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"River_3.tif"):
        layout.read(tmp_path)
    (tmp_path / "EuroSAT_MS" / "SeaLake").rename(tmp_path / "SeaLake")
    with pytest.raises(DataError, match=r"EuroSAT_MS must hold SeaLake"):
        layout.read(tmp_path)
