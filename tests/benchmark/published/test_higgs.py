"""HIGGS: one packed text file of 29 columns without a header."""

import gzip

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from metamae.benchmark.published import LAYOUTS, higgs
from metamae.errors import DataError

ROWS = 200


def values() -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(ROWS, 29)).astype(np.float32)
    rows[:, 0] = rng.integers(0, 2, ROWS)
    rows[:, 9] = rng.choice([0.0, 1.0865, 2.1731], ROWS)
    return rows


def text(rows: np.ndarray) -> bytes:
    """Lines as they are published: 1.000000000000000000e+00,8.692932128906250000e-01,..."""
    return "".join(",".join(f"{v:.18e}" for v in row) + "\n" for row in rows).encode()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "HIGGS.csv.gz").write_bytes(gzip.compress(text(values())))
    return tmp_path


def test_rows_labels_and_shares(folder):
    published = LAYOUTS.build("higgs").read(folder)
    (challenge,) = published.challenges
    sizes = len(published.pretrain), len(challenge.records), len(challenge.test)
    assert sizes == (162, 18, 2)
    assert "label" not in published.pretrain
    names = (
        "lepton_pt lepton_eta lepton_phi missing_energy_magnitude missing_energy_phi "
        "jet_1_pt jet_1_eta jet_1_phi jet_1_b_tag jet_2_pt jet_2_eta jet_2_phi jet_2_b_tag "
        "jet_3_pt jet_3_eta jet_3_phi jet_3_b_tag jet_4_pt jet_4_eta jet_4_phi jet_4_b_tag "
        "m_jj m_jjj m_lv m_jlv m_bb m_wbb m_wwbb"
    )
    assert list(published.pretrain) == names.split()
    assert set(challenge.records["label"][:]) == {0, 1}
    # No row is in two parts, and each has the label that stands beside it.
    found = np.concatenate(
        [r["lepton_pt"][:] for r in (published.pretrain, challenge.records, challenge.test)]
    )
    rows = values()
    assert len(np.unique(found)) == len(found)
    assert np.isin(found, rows[:, 1]).all()
    label = dict(zip(rows[:, 1].tolist(), rows[:, 0].tolist(), strict=True))
    pt = challenge.records["lepton_pt"][:].tolist()
    assert [label[value] for value in pt] == challenge.records["label"][:].tolist()


def test_the_split_of_uci(folder, monkeypatch):
    layout = LAYOUTS.build("higgs", split="uci")
    with pytest.raises(DataError, match=r"must hold more than 500000 rows.*; got 200"):
        layout.read(folder)
    monkeypatch.setattr(higgs, "NUM_TEST", 50)
    (challenge,) = layout.read(folder).challenges
    np.testing.assert_array_equal(challenge.test["m_bb"][:], values()[150:, 26])
    np.testing.assert_array_equal(challenge.records["m_bb"][:], values()[:150, 26])


def test_a_parquet_file_is_preferred(folder):
    rows = values() + np.float32(0)
    rows[:, 1] += 100
    table = pa.table({f"f{i}": rows[:, i] for i in range(29)})
    parquet.write_table(table, folder / "HIGGS.parquet")
    published = LAYOUTS.build("higgs").read(folder)
    assert min(published.pretrain["lepton_pt"][:]) > 50


def test_an_encoder_learns(folder, learns):
    learns(LAYOUTS.build("higgs").read(folder))


def test_missing_and_damaged_files(tmp_path):
    layout = LAYOUTS.build("higgs")
    with pytest.raises(DataError, match=r"must hold HIGGS.csv.gz as the data set is distributed"):
        layout.read(tmp_path)
    path = tmp_path / "HIGGS.csv.gz"
    path.write_bytes(gzip.compress(text(values()[:, :28])))
    with pytest.raises(DataError, match=r"HIGGS.csv.gz must have 29 columns; got 28"):
        layout.read(tmp_path)
    path.write_bytes(gzip.compress(text(values()[:, [1, 0, *range(2, 29)]])))
    with pytest.raises(DataError, match=r"HIGGS.csv.gz must have labels 0 and 1 in its first"):
        layout.read(tmp_path)
    path.write_bytes(gzip.compress(text(values()))[:-3000])
    with pytest.raises(DataError, match=r"HIGGS.csv.gz"):
        layout.read(tmp_path)
