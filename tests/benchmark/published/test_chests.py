"""CheXpert and ChestX-ray8: images named by a table, with several findings each."""

import numpy as np
import pytest
from PIL import Image

from metamae.benchmark.published import LAYOUTS
from metamae.errors import DataError

CHEXPERT_HEAD = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,"
    "Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,"
    "Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
# The header of the original file names no last column, and has commas within brackets.
NIH_HEAD = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
FOUND = ["Cardiomegaly|Effusion", "No Finding", "Hernia", "Atelectasis", "Mass|Nodule|Edema"]


def write_chexpert(root):
    for part, patients in (("train", range(1, 9)), ("valid", range(64541, 64544))):
        rows = [CHEXPERT_HEAD]
        for patient in patients:
            for view, kind in ((1, "frontal"), (2, "lateral")):
                name = f"{part}/patient{patient:05d}/study1/view{view}_{kind}.jpg"
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                pixels = np.full((320, 390), 20 * (patient % 9) + view, dtype=np.uint8)
                Image.fromarray(pixels).save(root / name)
                # Cardiomegaly yes, Edema uncertain, Consolidation no, Atelectasis by patient.
                cells = ["", "", "1.0", "", "", "-1.0", "0.0", "", f"{patient % 2:.1f}", *[""] * 5]
                cells[10] = "1.0" if view == 1 else ""
                label = "Frontal,AP" if view == 1 else "Lateral,"
                rows.append(f"CheXpert-v1.0-small/{name},Female,68,{label},{','.join(cells)}")
        (root / f"{part}.csv").write_text("\n".join(rows) + "\n")


def write_nih(root):
    (root / "images").mkdir()
    rows, names = [NIH_HEAD], []
    for patient in range(1, 11):
        for visit in range(2):
            name = f"{patient:08d}_{visit:03d}.png"
            pixels = np.full((64, 64), 10 * patient + visit, dtype=np.uint8)
            image = Image.fromarray(pixels)
            # Some files of the archive have four channels.
            (image.convert("RGBA") if patient == 3 else image).save(root / "images" / name)
            said = FOUND[(patient + visit) % 5]
            rows.append(f"{name},{said},{visit},{patient},058Y,M,PA,2682,2749,0.143,0.143,")
            names.append(name)
    (root / "Data_Entry_2017.csv").write_text("\n".join(rows) + "\n")
    (root / "test_list.txt").write_text("\n".join(names[14:]))
    (root / "train_val_list.txt").write_text("\n".join(names[:14]))


@pytest.fixture(scope="module")
def chexpert(tmp_path_factory):
    root = tmp_path_factory.mktemp("chexpert")
    write_chexpert(root / "CheXpert-v1.0-small")
    return root


@pytest.fixture(scope="module")
def nih(tmp_path_factory):
    root = tmp_path_factory.mktemp("nih")
    write_nih(root)
    return root


def test_findings_of_chexpert(chexpert):
    published = LAYOUTS.build("chexpert", size=32).read(chexpert)
    assert published.pretrain["image"].shape == (16, 1, 32, 32)
    (challenge,) = published.challenges
    assert challenge.task == "multilabel"
    assert challenge.not_input == [
        *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"),
        "patient",
    ]
    test = challenge.test
    assert test["Cardiomegaly"][:].tolist() == [1] * 6
    assert test["Edema"][:].tolist() == test["Consolidation"][:].tolist() == [0] * 6
    assert test["Atelectasis"][:].tolist() == [1, 1, 0, 0, 1, 1]
    assert test["Pleural Effusion"][:].tolist() == [1, 0] * 3
    assert test["patient"][:].tolist()[::2] == ["patient64541", "patient64542", "patient64543"]
    levels = [20 * (patient % 9) + view for patient in range(64541, 64544) for view in (1, 2)]
    np.testing.assert_allclose(test["image"][:].mean(axis=(1, 2, 3)), levels, atol=1)


def test_the_folder_itself_will_do(chexpert):
    layout = LAYOUTS.build("chexpert", size=32)
    assert len(layout.read(chexpert / "CheXpert-v1.0-small").pretrain) == 16


def test_findings_of_chestxray8(nih):
    published = LAYOUTS.build("chestxray8", size=32, split="nih").read(nih)
    (challenge,) = published.challenges
    train, test = challenge.records, challenge.test
    assert (len(published.pretrain), len(train), len(test)) == (14, 14, 6)
    assert challenge.group == "patient"
    assert not set(train["patient"][:]) & set(test["patient"][:])
    said = [FOUND[(patient + visit) % 5] for patient in range(1, 8) for visit in range(2)]
    for name in ("Effusion", "Mass", "Atelectasis", "Pneumonia"):
        assert train[name][:].tolist() == [int(name in one) for one in said]
    assert "Hernia" not in train and "Edema" not in train
    levels = [10 * patient + visit for patient in range(8, 11) for visit in range(2)]
    np.testing.assert_allclose(test["image"][:].mean(axis=(1, 2, 3)), levels, atol=1)


def test_the_split_of_dabs(nih):
    (challenge,) = LAYOUTS.build("chestxray8", size=32).read(nih).challenges
    assert (len(challenge.records), len(challenge.test), challenge.group) == (18, 2, None)


def test_an_encoder_learns(chexpert, nih, learns):
    learns(LAYOUTS.build("chexpert", size=32).read(chexpert))
    learns(LAYOUTS.build("chestxray8", size=32).read(nih))


def test_missing_and_damaged_files_of_chexpert(tmp_path):
    layout = LAYOUTS.build("chexpert", size=32)
    with pytest.raises(DataError, match=r"must hold CheXpert-v1.0-small/train.csv"):
        layout.read(tmp_path)
    root = tmp_path / "CheXpert-v1.0-small"
    write_chexpert(root)
    path = root / "valid.csv"
    whole = path.read_text()
    path.write_text(whole.replace("-1.0", "maybe"))
    with pytest.raises(DataError, match=r"valid.csv, column 'Edema' must hold .*'maybe'"):
        layout.read(tmp_path)
    path.write_text(whole.replace("Edema", "Oedema"))
    with pytest.raises(DataError, match=r"valid.csv must have the columns .*'Edema' is not among"):
        layout.read(tmp_path)
    path.write_text(whole[: len(whole) - 12])
    with pytest.raises(DataError, match=r"valid.csv, row 6 below the header must have 19 cells"):
        layout.read(tmp_path)
    path.write_text(whole)
    (root / "train" / "patient00002" / "study1" / "view1_frontal.jpg").unlink()
    with pytest.raises(DataError, match=r"patient00002/study1/view1_frontal.jpg is not there"):
        layout.read(tmp_path)


def test_missing_and_damaged_files_of_chestxray8(tmp_path):
    layout = LAYOUTS.build("chestxray8", size=32, split="nih")
    with pytest.raises(DataError, match=r"must hold Data_Entry_2017.csv"):
        layout.read(tmp_path)
    write_nih(tmp_path)
    with (tmp_path / "test_list.txt").open("a") as file:
        file.write("\n00009999_000.png")
    with pytest.raises(DataError, match=r"test_list.txt must name .*; 00009999_000.png is not"):
        layout.read(tmp_path)
    (tmp_path / "images" / "00000004_001.png").unlink()
    with pytest.raises(DataError, match=r"00000004_001.png is not there"):
        layout.read(tmp_path)
