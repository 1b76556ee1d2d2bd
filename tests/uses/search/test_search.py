"""Search from a run and files: hits, the store, and what is refused."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from metamae import load, pretrain
from metamae.errors import ConfigError, DataError
from metamae.evaluation.neighbours import Space, nearest
from metamae.uses.search.search import search


@pytest.fixture
def run(data, tmp_path):
    from command import TINY

    folder = tmp_path / "run"
    pretrain(data / "series.npz", folder, settings={**TINY, "steps": 2}, ignore=["y"])
    return folder


def test_hits_are_the_nearest_embeddings(data, run, tmp_path):
    out = tmp_path / "hits.parquet"
    found = search(run, data / "series.npz", ["3", "70"], out, k=4)
    vectors = load(run).embed(data / "series.npz")
    itself = np.array([3, 70])
    at, cosines = nearest(vectors[itself], vectors, Space(vectors), 4, itself)
    np.testing.assert_array_equal(found.positions, at)
    np.testing.assert_allclose(found.similarity, cosines, rtol=1e-5)
    table = pq.read_table(out)
    assert table["query"].to_pylist() == [3] * 4 + [70] * 4
    assert table["rank"].to_pylist() == [1, 2, 3, 4] * 2
    assert table["sample"].to_pylist() == at.ravel().tolist()


def test_embeddings_are_computed_once(data, run, monkeypatch):
    first = search(run, data / "series.npz", 0)
    assert first.stored.parent == run / "search"
    assert not first.reused
    pretrained = load(run)

    def never(*args, **kwargs):
        raise AssertionError("embedded again")

    monkeypatch.setattr(type(pretrained), "embed", never)
    again = search(run, data / "series.npz", 0)
    assert again.reused
    np.testing.assert_array_equal(first.positions, again.positions)


def test_other_data_or_other_weights_are_not_taken_for_the_same(data, run, tmp_path):
    from command import TINY

    store, file = tmp_path / "store", tmp_path / "mine.npz"
    x = np.load(data / "series.npz")["X"]
    np.savez(file, X=x)
    first = search(run, file, 0, store=store)
    # One value of one sample, which is not among the few that are looked at.
    x[33] += 1
    np.savez(file, X=x)
    assert not search(run, file, 0, store=store).reused
    pretrain(
        data / "series.npz",
        run,
        settings={**TINY, "steps": 2, "seed": 1},
        ignore=["y"],
        overwrite=True,
    )
    assert not search(run, file, 0, store=store).reused
    assert len(list(store.iterdir())) == 3
    assert first.stored.exists()


def test_a_damaged_store_is_written_anew(data, run):
    stored = search(run, data / "series.npz", 0).stored
    stored.write_bytes(b"\x93NUMPY nonsense")
    assert not search(run, data / "series.npz", 0).reused
    assert search(run, data / "series.npz", 0).reused


def test_queries_by_name_and_from_other_data(data, runs, tmp_path):
    # The first row below the header of a CSV file is row 2.
    words = search(runs / "words", data / "words.csv", "2", k=3, store=tmp_path)
    assert words.queries == [2]
    assert 2 not in [words.names[at] for at in words.positions[0]]
    images = search(runs / "images", data / "images", "dark/03.png", k=2, store=tmp_path)
    assert images.queries == ["dark/03.png"]
    fourth = search(runs / "images", data / "images", "3", k=2, store=tmp_path)
    assert fourth.queries == ["dark/03.png"]
    other = search(runs / "images", data / "images", data / "images" / "light", k=1, store=tmp_path)
    # All of them are samples of the data too, and here each may find itself.
    assert [other.names[at] for at in other.positions[:, 0]] == [
        f"light/{n:02d}.png" for n in range(30)
    ]


def test_a_loaded_run_stores_nothing_unasked(data, runs):
    found = search(load(runs / "table"), data / "table.csv", [2, 3], k=200)
    assert found.stored is None
    assert found.positions.shape == (2, 89)


def test_what_is_refused(data, runs, tmp_path):
    with pytest.raises(DataError, match=r"must be a sample of the data set.* numbered 2 to 91"):
        search(runs / "table", data / "table.csv", "1", store=tmp_path)
    with pytest.raises(ConfigError, match=r"Search.k must be a whole number of at least 1"):
        search(runs / "table", data / "table.csv", "2", k=0)
    with pytest.raises(ConfigError, match=r"Search.out must end in"):
        search(runs / "table", data / "table.csv", "2", tmp_path / "hits.txt")
