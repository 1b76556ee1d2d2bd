import logging
import warnings

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from metamae.data.columns.base import blocks_of
from metamae.data.columns.blocks import Blocked
from metamae.data.readers import pick, read
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read, same

DENSE = np.array(sparse.random(60, 7, 0.3, random_state=0, dtype=np.float32).todense())
FORMS = {
    "dense": np.asarray,
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "csr array": sparse.csr_array,
}
COMPRESSION = pytest.mark.parametrize("compression", [None, "gzip"])


def obs():
    frame = pd.DataFrame(
        {
            "type": pd.Categorical(["a", "b", None] * 20, pd.Index(["a", "b"], dtype=object)),
            "depth": np.arange(60.0),
            "note": [f"é{n}" for n in range(60)],
            "kept": np.arange(60) % 2 == 0,
        },
        index=pd.Index([f"cell{n}" for n in range(60)], dtype=object),
    )
    return frame.astype({"note": object})  # which anndata can write


def cells(form="csr"):
    with warnings.catch_warnings(action="ignore"):
        data = anndata.AnnData(
            FORMS[form](DENSE),
            obs=obs(),
            var=pd.DataFrame(index=pd.Index([f"g{n}" for n in range(7)], dtype=object)),
        )
    data.layers["counts"] = FORMS[form](DENSE * 2)
    return data


def save(folder, form="csr", **options):
    with warnings.catch_warnings(action="ignore"):
        cells(form).write_h5ad(folder / "a.h5ad", **options)
    return folder / "a.h5ad"


def check(records):
    assert list(records) == ["X", "type", "depth", "note", "kept"]
    assert (records["X"].dtype, records["X"].shape) == (np.float32, (60, 7))
    rng = np.random.default_rng(1)
    for index in (np.arange(60), rng.permutation(60)[:9], np.array([59])):
        assert same(records["X"][index], DENSE[index])
    assert same(records["X"][5], DENSE[5])
    assert records["type"].tolist() == ["a", "b", None] * 20
    assert same(records["depth"], np.arange(60.0))
    assert records["note"][3] == "é3" and records["kept"].dtype == bool
    assert records.where(3) == f"{records.source}, cell3"


@COMPRESSION
@pytest.mark.parametrize("form", FORMS)
def test_round_trip(tmp_path, form, compression):
    path = save(tmp_path, form, compression=compression)
    assert pick(path) == "anndata"
    check(read(path))
    assert same(read(path, layer="counts")["X"][:], DENSE * 2)
    assert list(read(path, field="type")) == ["type"]


@pytest.mark.parametrize("form", FORMS)
def test_in_memory(form):
    data = cells(form)
    check(read(data))
    assert read(data).source == "AnnData"
    with warnings.catch_warnings(action="ignore"):
        view = data[10:20]
    part = read(view)
    assert same(part["X"][:], DENSE[10:20]) and part.where(0) == "AnnData, cell10"
    with pytest.raises(DataError, match=r"got field='tpye'\. Did you mean 'type'"):
        read(data, field="tpye")


def test_rows_are_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("metamae.data.stores.sparse._BLOCK_VALUES", 100)
    monkeypatch.setattr("metamae.data.stores.sparse._ROWS", (8, 50))
    column = read(save(tmp_path))["X"]
    assert isinstance(column, Blocked)
    step = 100 * 60 // np.count_nonzero(DENSE)
    assert blocks_of(column).tolist() == [*range(0, 60, step), 60]
    order = np.random.default_rng(0).permutation(60)
    assert same(column[order], DENSE[order])


def test_an_object_that_is_backed_by_a_file(tmp_path):
    with warnings.catch_warnings(action="ignore"):
        data = anndata.read_h5ad(save(tmp_path), backed="r")
    with pytest.raises(DataError, match=r"backed by a file\. Give the path"):
        read(data)
    data.file.close()


def test_names_that_clash_and_columns_that_cannot_be_fields(caplog):
    caplog.set_level(logging.INFO, "metamae")
    data = cells()
    data.obs["X"] = 1
    data.obs["mixed"] = np.array([1, "a"] * 30, dtype=object)
    assert list(read(data)) == ["X", "type", "depth", "note", "kept"]
    assert "left out X, mixed, which cannot be fields" in caplog.text
    with pytest.raises(DataError, match="must hold columns of one type each"):
        read(data, field="mixed")


def test_settings(tmp_path):
    path = save(tmp_path, "csc")
    with pytest.raises(DataError, match=r"must hold a matrix 'layers/count'; .* are: counts"):
        read(path, layer="count")
    with pytest.raises(ConfigError, match=r"AnndataReader\.layer must be the name of a layer"):
        read(path, layer="")
    with pytest.raises(DataError, match=r"\(CSC\), (\d+) bytes.*tocsr.* in_memory=\1") as caught:
        read(path, in_memory=10)
    assert len(read(path, in_memory=int(str(caught.value).split("in_memory=")[1][:-1]))) == 60


def change(path, name, values):
    with h5py.File(path, "r+") as file:
        attributes = dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update(attributes)


def test_a_sparse_matrix_that_lies(tmp_path):
    with h5py.File(save(tmp_path)) as file:
        starts, columns = file["X/indptr"][:], file["X/indices"][:]
    for name, values, message in [
        ("X/indptr", starts[:-1], r"got 59 rows in a matrix of shape \(60, 7\)"),
        ("X/indptr", starts + 1, "must be a complete sparse matrix; got rows from 1"),
        ("X/indptr", starts[::-1].copy(), "must be a complete sparse matrix"),
        ("X/indptr", np.r_[0, starts[-2:0:-1], starts[-1]], "must be a complete sparse matrix"),
        ("X/indices", columns[:-1], "must be a complete sparse matrix"),
        ("X/indices", np.full_like(columns, 7), "must have 7 columns; got a value in column 7"),
        ("X/indices", np.full_like(columns, -1), "must have 7 columns; got a value in column -1"),
    ]:
        path = save(tmp_path)
        change(path, name, values)
        with pytest.raises(DataError, match=message):
            read(path)["X"][:]


def test_cells_without_a_description(tmp_path):
    path = save(tmp_path, "dense")
    change(path, "X", DENSE[:50])
    with pytest.raises(DataError, match="got 50 rows and 60 in obs"):
        read(path)
    with h5py.File(path, "r+") as file:
        del file["obs"]
    with pytest.raises(DataError, match=r"a\.h5ad must be a complete \.h5ad file"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"abc"])
def test_other_content(tmp_path, content):
    (tmp_path / "a.h5ad").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.h5ad must be a complete \.h5ad file"):
        read(tmp_path / "a.h5ad")


@pytest.mark.parametrize("form", ["csr", "dense"])
def test_damage_is_refused_or_harmless(tmp_path, form):
    assert refuse_or_read(save(tmp_path, form)) > 15


def test_attributes_on_which_the_library_could_crash_are_refused(tmp_path):
    for name in ("obs", "obs/type", "obs/type/codes", "X"):
        path = save(tmp_path)
        with h5py.File(path, "r+") as file:
            lists = np.empty(1, dtype=object)
            lists[0] = np.zeros(2, np.uint8)
            file[name].attrs.create("odd", lists, dtype=h5py.vlen_dtype(np.uint8))
        with pytest.raises(
            DataError, match="must have numbers or strings as attributes; got lists"
        ):
            read(path)


def test_data_elsewhere_are_refused(tmp_path):
    path = save(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["obs/depth"]
        file["obs/depth"] = h5py.ExternalLink("b.h5", "/depth")
    with pytest.raises(DataError, match="must hold its data itself; got a link from 'depth'"):
        read(path)


def save_old(folder, **changes):
    """Write a file as anndata did before 0.7: obs is one compound dataset."""
    rows = np.zeros(60, [("index", "S9"), ("type", "i1"), ("depth", "<f4"), ("note", "S9")])
    rows["index"] = [f"cell{n}" for n in range(60)]
    rows["type"] = [0, 1, -1] * 20
    rows["depth"] = np.arange(60)
    rows["note"] = np.char.encode([f"é{n}" for n in range(60)], "utf-8")
    items = {"X": DENSE, "obs": rows, "uns/type_categories": np.array([b"a", b"b"]), **changes}
    with h5py.File(folder / "old.h5ad", "w") as file:
        for name, item in items.items():
            file[name] = item
    return folder / "old.h5ad"


def test_files_of_old_versions(tmp_path):
    records = read(save_old(tmp_path))
    assert list(records) == ["X", "type", "depth", "note"]
    np.testing.assert_array_equal(records["X"][np.arange(60)], DENSE)
    assert records["type"][np.arange(4)].tolist() == ["a", "b", None, "a"]
    assert records["depth"][np.arange(3)].tolist() == [0.0, 1.0, 2.0]
    assert records["note"][np.arange(2)].tolist() == ["é0", "é1"]
    assert records.names[59] == "cell59"


@pytest.mark.parametrize(
    "changes",
    [
        {"obs": np.zeros(60, [("index", "S9"), ("pair", "f4", 2)])},
        {"obs": np.arange(60)},
        {"uns/type_categories": np.array([b"a"])},
        {"uns/type_categories": np.array([[b"a"], [b"b"]])},
        {"obs": np.zeros(50, [("index", "S9"), ("depth", "f4")])},
    ],
)
def test_old_files_that_lie(tmp_path, changes):
    with pytest.raises(DataError, match=r"old\.h5ad"):
        read(save_old(tmp_path, **changes))


def test_damage_to_old_files_is_refused_or_harmless(tmp_path):
    assert refuse_or_read(save_old(tmp_path)) > 15
