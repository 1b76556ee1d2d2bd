"""PAMAP2: text files of 54 columns with spaces, one per subject."""

import re

import numpy as np
import pytest

from metamae.benchmark.published import LAYOUTS
from metamae.errors import ConfigError, DataError

# Activities of a recording in turn; 0 is what lies between, 17 is known to one split only.
STAYS = [(0, 50), (1, 700), (0, 30), (17, 400), (4, 330), (9, 400), (1, 100)]


def recording(seed: int) -> str:
    """Text of one subject: 100 Hz, a heart rate in every 11th row, the rest as they come."""
    rng = np.random.default_rng(seed)
    activities = np.repeat(*zip(*STAYS, strict=True))
    values = rng.normal(size=(len(activities), 51)).cumsum(axis=0) / 10
    lines = []
    for row, activity in enumerate(activities):
        heart = str(90 + seed) if row % 11 == 3 else "NaN"
        cells = [f"{v:.6g}" for v in values[row]]
        if row % 97 == 5:
            cells[:17] = ["NaN"] * 17
        lines.append(" ".join([f"{8.38 + row / 100:.2f}", str(activity), heart, *cells]))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("PAMAP2_Dataset")
    (root / "Protocol").mkdir()
    for subject in range(1, 10):
        (root / "Protocol" / f"subject10{subject}.dat").write_text(recording(subject))
    return root


def test_windows_of_an_activity(folder):
    published = LAYOUTS.build("pamap2", stride=190).read(folder)
    (challenge,) = published.challenges
    # Of 7 subjects: lying has room for two windows of 320 rows, ironing and walking for one.
    assert list(challenge.records["activity"]) == ["lying", "lying", "ironing", "walking"] * 7
    assert sorted(set(challenge.records["subject"])) == [1, 2, 3, 4, 7, 8, 9]
    assert challenge.test is not None
    assert sorted(set(challenge.test["subject"])) == [5, 6]
    assert (challenge.label, challenge.group) == ("activity", "subject")
    assert list(published.pretrain) == ["X"]
    # At every 190th row, lying has three windows.
    assert published.pretrain["X"].shape == (7 * 5, 52, 320)


def test_values_are_those_of_the_file_and_gaps_are_bridged(folder):
    (challenge,) = LAYOUTS.build("pamap2").read(folder).challenges
    lines = (folder / "Protocol" / "subject101.dat").read_text().splitlines()
    rows = np.array([[float(cell) for cell in line.split(" ")] for line in lines])
    window = challenge.records["X"][np.array([1])][0]
    own = rows[50 + 320 : 50 + 640, 2:].T
    there = ~np.isnan(own)
    np.testing.assert_allclose(window[there], own[there].astype(np.float32))
    assert not np.isnan(window).any()
    # Row 103 lacks the values of the hand: halfway between its neighbours.
    first = challenge.records["X"][np.array([0])][0]
    expected = (rows[101, 3] + rows[103, 3]) / 2
    assert np.isnan(rows[102, 3])
    assert first[1, 102 - 50] == pytest.approx(expected, abs=1e-5)


def test_what_lacks_before_the_first_value_stays_missing(folder, tmp_path):
    (tmp_path / "Protocol").mkdir()
    for subject in range(1, 10):
        lines = recording(subject).replace(f" {90 + subject} ", " NaN ").splitlines()
        cells = lines[400].split(" ")
        lines[400] = " ".join([*cells[:2], "120", *cells[3:]])
        path = tmp_path / "Protocol" / f"subject10{subject}.dat"
        path.write_text("\n".join(lines))
    (challenge,) = LAYOUTS.build("pamap2").read(tmp_path).challenges
    heart = challenge.records["X"][np.array([0, 1])][:, 0]
    np.testing.assert_array_equal(np.isnan(heart[0]), True)
    np.testing.assert_array_equal(np.isnan(heart[1]), np.arange(320) < 400 - 370)
    assert (heart[1, 30:] == 120).all()


def test_the_split_of_dabs(folder):
    (challenge,) = LAYOUTS.build("pamap2", split="dabs").read(folder).challenges
    assert set(challenge.records["activity"]) == {"lying", "walking"}
    assert set(challenge.test["subject"]) == {5}
    with pytest.raises(ConfigError, match=r"Pamap2.split .*got 'dbas'. Did you mean 'dabs'"):
        LAYOUTS.build("pamap2", split="dbas")


def test_an_encoder_learns(folder, learns):
    learns(LAYOUTS.build("pamap2").read(folder))


def test_missing_and_damaged_files(folder, tmp_path):
    layout = LAYOUTS.build("pamap2")
    with pytest.raises(DataError, match="must hold Protocol as the data set is distributed"):
        layout.read(tmp_path)
    (tmp_path / "Protocol").mkdir()
    with pytest.raises(DataError, match=r"must hold subject101.dat .*it holds nothing"):
        layout.read(tmp_path)
    for subject in range(1, 10):
        (tmp_path / "Protocol" / f"subject10{subject}.dat").write_text(recording(subject))
    path = tmp_path / "Protocol" / "subject104.dat"
    path.write_text(re.sub(r" \S+$", "", recording(4), flags=re.MULTILINE))
    with pytest.raises(DataError, match=r"subject104.dat must have 54 columns .*; got 53"):
        layout.read(tmp_path)
    path.write_text(recording(4)[:-200])
    with pytest.raises(DataError, match=r"subject104.dat.*54 columns"):
        layout.read(tmp_path)
