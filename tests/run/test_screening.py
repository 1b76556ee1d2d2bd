"""Bad samples are found before training, listed, and left out if so many are allowed."""

import logging
import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from metamae.data.bad_samples import LISTED, Aside
from metamae.data.columns.decoded import Decoded
from metamae.data.records import Records
from metamae.errors import DataError, TrainingError
from metamae.run.screening import look_through, vet, without_samples
from metamae.schema.schema import infer_schema


def series(num=30, bad=()):
    x = np.random.default_rng(0).normal(size=(num, 2, 16))
    x[list(bad), 0, 3] = np.inf
    return Records({"X": x}, "x.npy")


def run(records, most=0, **settings):
    aside = Aside(most)
    good, schema = vet(records, infer_schema, aside, **settings)
    return good, schema, aside


def test_good_data_come_back_as_they_are():
    records = series()
    good, schema, aside = run(records)
    assert good == replace(records, vetted=True)
    assert schema == infer_schema(records) and not aside.found


@pytest.mark.parametrize("bad", [[4], [0, 29], [3, 4, 5, 28]])
def test_bad_samples_are_left_out_and_named(bad):
    good, schema, aside = run(series(bad=bad), most=4)
    assert good.index.tolist() == [n for n in range(30) if n not in bad]
    assert aside.samples == bad
    assert {one.where for one in aside.found} == {f"x.npy, sample {n}" for n in bad}
    assert all("infinity" in one.reason and "x.npy" not in one.reason for one in aside.found)
    # The statistics are those of the good samples.
    rest = series().subset(good.index)
    assert schema.modality == infer_schema(rest).modality


def test_one_more_than_allowed_stops_and_lists():
    with pytest.raises(DataError, match=r"at most 2 bad samples .* got 3(.|\n)*x.npy, sample 9"):
        run(series(bad=[3, 6, 9]), most=2)
    with pytest.raises(DataError, match=r"x.npy, sample 6: .*infinity.* --skip-bad 1"):
        run(series(bad=[6]))


def test_the_list_is_short_where_all_are_bad():
    with pytest.raises(DataError) as caught:
        run(series(bad=range(30)))
    assert len(str(caught.value).splitlines()) == LISTED + 1


def test_a_bad_sample_is_known_in_any_subset_and_order():
    records = series(bad=[6]).subset(np.arange(29, -1, -1))
    good, _, aside = run(records, most=1)
    assert aside.samples == [6]
    assert good.index.tolist() == [n for n in range(29, -1, -1) if n != 6]


def files(tmp_path, bad, num=40):
    paths = [tmp_path / f"{n}.bin" for n in range(num)]

    def decode(path):
        number = int(path.stem)
        if number in bad:
            raise DataError(f"{path} must be whole. Remove it.")
        return np.random.default_rng(number).normal(size=(1, 20))

    column = Decoded(paths, decode, np.dtype(float), (1, 20))
    return Records({"X": column}, "folder", names=[path.name for path in paths])


@pytest.mark.parametrize("workers", [0, 2, None])
def test_files_that_cannot_be_decoded_are_found(tmp_path, workers):
    good, _, aside = run(files(tmp_path, [5, 71, 73], num=100), most=3, workers=workers)
    assert aside.samples == [5, 71, 73] and len(good) == 97
    assert {one.where for one in aside.found} == {
        f"folder, {number}.bin" for number in aside.samples
    }


def test_processes_list_the_same_bad_samples_in_the_same_order(tmp_path):
    spec = infer_schema(files(tmp_path, [])).modality
    broken = files(tmp_path, range(3, 190, 7), num=200)
    found = []
    for workers in (0, 2):
        aside = Aside(50)
        look_through(spec, broken, aside, 200, workers=workers)
        found.append(aside.found)
    assert found[0] == found[1] and len(found[0]) == 27
    with pytest.raises(DataError, match=r"at most 1 bad samples .* got 1\d"):
        look_through(spec, broken, Aside(1), 200, workers=2)


def test_a_process_that_is_ended_is_named(tmp_path):
    records = files(tmp_path, [], num=100)
    spec, parent, decode = infer_schema(records).modality, os.getpid(), records["X"].decode

    def kill(path):
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(path)

    records["X"].decode = kill
    with pytest.raises(TrainingError, match=r"Train\.workers = 2 processes .* workers=0 would do"):
        look_through(spec, records, Aside(), 100, workers=2)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_search_ends_in_time_and_says_so(tmp_path, workers, caplog, monkeypatch):
    spec = infer_schema(files(tmp_path, [])).modality
    records = files(tmp_path, [70], num=100)
    monkeypatch.setattr("metamae.run.screening.PATIENCE", 0.0)
    aside = Aside(1)
    with caplog.at_level(logging.INFO, "metamae"):
        look_through(spec, records, aside, 100, seconds=0.0, workers=workers)
    assert not aside.found
    assert caplog.messages == ["looked for bad samples in 0 of 100, as time allows"]
    caplog.clear()
    with caplog.at_level(logging.INFO, "metamae"):
        look_through(spec, records, aside, 100, workers=workers)
    assert aside.samples == [70]
    assert caplog.messages == ["looking for bad samples first: 8 of 100 so far"]


def test_slow_files_are_few_when_time_is_up(tmp_path, caplog, monkeypatch):
    records, now = files(tmp_path, [], num=100), [0.0]
    spec, decode = infer_schema(records).modality, records["X"].decode

    def slow(path):
        now[0] += 1.0
        return decode(path)

    records["X"].decode = slow
    monkeypatch.setattr("metamae.run.screening.time", SimpleNamespace(monotonic=lambda: now[0]))
    with caplog.at_level(logging.INFO, "metamae"):
        look_through(spec, records, Aside(), 100, seconds=20.0)
    assert now[0] == 24
    assert caplog.messages[-1] == "looked for bad samples in 24 of 100, as time allows"


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("bad", [[0], [0, 1, 17], [29]])
def test_a_bad_recording_counts_once_for_all_its_windows(bad, large, monkeypatch):
    rng = np.random.default_rng(0)
    rows = np.empty(30, dtype=object)
    rows[:] = [rng.normal(size=(1, 2000 + n)) for n in range(30)]
    spec = infer_schema(Records({"X": rows}, "x"), settings={"window": 50}).modality
    for n in bad:
        rows[n][:] = np.inf
    if large:
        monkeypatch.setattr("metamae.run.screening.AT_ONCE", 1)
    aside = Aside(len(bad))
    records = Records({"X": rows}, "x")
    assert len(spec.unfold(records)[0]) > 1000
    good = look_through(spec, records, aside, 100)
    assert aside.samples == bad == [one.sample for one in aside.found]
    assert good.index[:].tolist() == [n for n in range(30) if n not in bad]


def test_large_samples_are_read_few_at_a_time(monkeypatch):
    records, sizes = series(100), []
    spec = infer_schema(records).modality
    batch = type(spec).batch

    def noted(self, records, index):
        sizes.append(len(index))
        return batch(self, records, index)

    monkeypatch.setattr(type(spec), "batch", noted)
    monkeypatch.setattr("metamae.run.screening.AT_ONCE", 7 * 4 * 2 * 16 + 3)
    look_through(spec, records, Aside(), 100)
    assert sizes == [1] + 14 * [7] + [1]


def test_errors_about_no_sample_are_raised():
    with pytest.raises(DataError, match="at least 2 samples"):
        run(series(1), most=5)
    with pytest.raises(DataError, match="values must vary"):
        run(Records({"X": np.ones((9, 2, 16))}, "x"), most=5)


def test_only_some_are_read_of_large_data():
    records, read = series(1000), []
    spec = infer_schema(records).modality

    class Noted:
        dtype, shape = records["X"].dtype, records["X"].shape

        def __len__(self):
            return 1000

        def __getitem__(self, index):
            read.extend(index.tolist())
            return records["X"][index]

    look_through(spec, Records({"X": Noted()}, "x"), Aside(), 50)
    assert len(read) == 50 and read[0] == 0 and read[-1] == 999


def test_samples_are_left_out_by_their_place_in_the_source():
    records = series(6).subset(np.array([5, 3, 1]))
    assert without_samples(records, [3, 4]).index.tolist() == [5, 1]
    assert without_samples(records, []) is records
