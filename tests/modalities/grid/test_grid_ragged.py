"""Lattices of different sizes: what is inferred, packed, placed, cut into windows and resampled."""

import json

import numpy as np
import pytest
import torch

from cases import NETWORK, build, objects
from metamae.data.records import Records
from metamae.encoder.embedding import embed_samples, embed_tokens
from metamae.encoder.representations import raw_features
from metamae.errors import ConfigError, DataError
from metamae.modalities.grid.geometry import neighbours
from metamae.modalities.grid.grid import Grid
from metamae.model.positions import sincos


def rows(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return objects([rng.normal(3.0, 2.0, shape) for shape in shapes])


def infer(x, rates=None, **settings):
    columns = {"X": x} if rates is None else {"X": x, "rate": np.asarray(rates)}
    records = Records(columns, "array")
    spec, notes = Grid.infer(records, np.random.default_rng(0), **settings)
    assert Grid.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    return spec, notes, records


def read(spec, records):
    return spec.batch(records, np.arange(len(records)))


SERIES = rows(*((2, n) for n in (9, 12, 5, 12, 7)))
IMAGES = rows((3, 8, 5), (3, 4, 9), (3, 6, 6))


@pytest.mark.parametrize(
    ("x", "settings", "expected"),
    [
        # values -> layout, channels, size, longest
        (SERIES, {}, ("first", 2, (12,), 3)),
        (rows((9, 2), (12, 2), (5, 2)), {}, ("last", 2, (12,), 3)),
        (rows((9,), (12,)), {}, ("none", 1, (12,), 3)),
        (rows((9, 40), (12, 30)), {}, ("none", 1, (12, 40), 30)),
        (rows((2, 9), (2, 12)), {"axes": 2, "cell": 2}, ("none", 1, (2, 12), 6)),
        (IMAGES, {"cell": 3}, ("first", 3, (8, 9), 6)),
        (rows((8, 5, 3), (4, 9, 3)), {"cell": 3}, ("last", 3, (8, 9), 6)),
        (rows((8, 5, 9), (9, 9, 4)), {"cell": 3}, ("none", 1, (9, 9, 9), 18)),
        (rows((1, 8, 5, 9), (1, 4, 9, 4)), {"cell": 3}, ("first", 1, (8, 9, 9), 18)),
        (rows((8, 5, 9, 2), (4, 9, 4, 2)), {"cell": 3}, ("last", 2, (8, 9, 9), 18)),
        (rows((2, 9), (2, 9)), {}, ("first", 2, (9,), 3)),
    ],
)
def test_what_is_inferred(x, settings, expected):
    spec, notes, records = infer(x, **{"cell": 4, **settings})
    assert (spec.layout, spec.channels, spec.size) == expected[:3]
    assert spec.ragged
    assert spec.varies
    assert "override: layout" in notes[0]
    lengths = spec.lengths(records)
    assert lengths.max() == spec.num_tokens == expected[3]


def test_statistics_and_the_cell_are_those_of_all_sizes():
    x = rows(*((2, n) for n in [64] * 9 + [500]))
    spec, notes, _ = infer(x)
    joined = np.concatenate(list(x), axis=1)
    np.testing.assert_allclose(spec.mean, joined.mean(axis=1))
    np.testing.assert_allclose(spec.std, joined.std(axis=1))
    assert spec.cell == (1,)  # that of 64 points, which most samples have
    assert spec.describe() == "series, 2 channel(s) x up to 500, cell 1"
    assert notes[-1].startswith("cell [1]: 64 to 500 tokens of 2 values per sample")


@pytest.mark.parametrize(("x", "cell"), [(SERIES, (4,)), (IMAGES, (3, 4))])
def test_a_batch_holds_each_sample_as_if_it_were_alone_and_of_fixed_size(x, cell):
    spec, _, records = infer(x, cell=list(cell))
    batch = read(spec, records)
    tokens = spec.tokenizer(16).embed(batch)
    scaled_mean = np.array(spec.mean).reshape(-1, *[1] * len(cell))
    scaled_std = np.array(spec.std).reshape(-1, *[1] * len(cell))
    for row, value in enumerate(x):
        alone = Grid(
            column="X",
            layout="first",
            channels=len(value),
            size=value.shape[1:],
            cell=cell,
            mean=spec.mean,
            std=spec.std,
        )
        fixed = alone.batch(Records({"X": value[None]}, "array"), np.array([0]))
        N = alone.num_tokens
        assert torch.equal(batch["cells"][row, :N], fixed["cells"][0])
        assert not batch["cells"][row, N:].any()
        valid = fixed.get("valid", torch.ones_like(fixed["cells"], dtype=torch.bool))
        assert torch.equal(batch["valid"][row, :N], valid[0])
        assert not batch["valid"][row, N:].any()
        assert torch.equal(tokens.neighbours[row, :N], neighbours(alone.counts))
        assert (tokens.neighbours[row, N:] == -1).all()
        place = spec.tokenizer(16).positions(16)(batch)[row, :N]
        assert torch.equal(place, sincos(alone.counts, 16))
    shown = spec.tokenizer(16).original(batch)
    for value, back in zip(x, shown, strict=True):
        np.testing.assert_allclose(back, value, rtol=1e-5, atol=1e-5)
        assert ((value - scaled_mean) / scaled_std).shape == back.shape


def test_equal_samples_need_no_padding():
    spec, _, records = infer(rows(*[(2, 12)] * 4), cell=4)
    batch = read(spec, records)
    assert batch.keys() == {"cells", "size"}
    assert spec.tokenizer(8).embed(batch).padding is None


def test_gaps_are_neither_input_nor_target():
    x = objects([value.copy() for value in SERIES])
    x[0][:, :4] = np.nan
    x[1][0, 5] = np.nan
    spec, _, records = infer(x, cell=4)
    batch = read(spec, records)
    tokenizer = spec.tokenizer(8)
    assert tokenizer.embed(batch).padding[:2].tolist() == [[True, False, False], [False] * 3]
    assert batch["valid"][1].sum() == 23
    assert np.isnan(tokenizer.original(batch)[0][:, :4]).all()


def test_larger_samples_than_any_in_training_are_embedded():
    spec, _, _ = infer(IMAGES, cell=3)
    larger = Records({"X": rows((3, 40, 25), (3, 4, 5))}, "new")
    place = spec.tokenizer(12).place(read(spec, larger))
    assert torch.equal(place[0], sincos((14, 9), 12))
    vectors = embed_samples(build(spec).backbone, spec, larger)
    assert np.isfinite(vectors).all()
    series, _, _ = infer(SERIES, cell=4)
    dense = Records({"X": np.ones((2, 2, 50))}, "new")
    assert embed_samples(build(series).backbone, series, dense).shape == (2, NETWORK.width)


def test_embeddings_do_not_depend_on_companions():
    rng = np.random.default_rng(0)
    x = rows(*((2, int(n)) for n in rng.integers(30, 80, 40)))
    spec, _, records = infer(x, cell=2)
    backbone = build(spec).backbone
    together = embed_samples(backbone, spec, records)
    for some in (np.array([7]), np.array([3, 30, 11])):
        assert np.array_equal(embed_samples(backbone, spec, records.subset(some)), together[some])


def changed(row, value):
    x = objects(list(SERIES))
    x[row] = value
    return x


@pytest.mark.parametrize(
    ("x", "rule"),
    [
        (changed(3, np.zeros((3, 8))), r"array, sample 3: .*X' must hold .* got 3 channel\(s\)"),
        (changed(3, None), r"array, sample 3: field 'X' must hold at least one value; got none"),
        (changed(3, np.zeros((2, 0))), r"array, sample 3: .*at least one value; got none"),
        (changed(3, np.full((2, 8), np.nan)), r"array, sample 3: .*at least one value; got only N"),
        (changed(3, np.full((2, 8), np.inf)), r"array, sample 3: .*must hold finite numbers; got"),
        (changed(3, np.full((2, 8), "a")), r"array, sample 3: .*an array of numbers; got <U1"),
        (
            changed(3, np.zeros((2, 99_999))),
            r"sample 3: .*max_tokens = 4096 tokens; got 25000\. A w",
        ),
        (
            np.zeros((2, 2, 3, 4)),
            r"array: field 'X' must hold samples with 1 axes \(channels first",
        ),
    ],
)
def test_samples_that_do_not_fit_are_refused_by_name(x, rule):
    spec, _, _ = infer(SERIES, cell=4)
    records = Records({"X": x}, "array")
    with pytest.raises(DataError, match=rule):
        spec.lengths(records)
        read(spec, records)


def test_a_batch_refuses_too_many_tokens_before_it_makes_room_for_them():
    spec, _, _ = infer(SERIES, cell=4, max_tokens=3)
    longer = Records({"X": rows((2, 12), (2, 13))}, "array")
    for call in (spec.lengths, lambda records: read(spec, records)):
        with pytest.raises(DataError, match=r"sample 1: .* at most max_tokens = 3 tokens; got 4"):
            call(longer)


@pytest.mark.parametrize(
    ("x", "settings", "rule"),
    [
        (rows((2, 9), (3, 8), (2, 7)), {"axes": 1}, r"array, sample 1: .*one number of channels"),
        (objects([None, None]), {}, r"array: field 'X' must hold .*got strings|got none in any"),
        (rows((1,), (1,)), {"axes": 1}, r"array: a lattice must have at least 2 points"),
        (rows((2, 9), (9,)), {}, r"Sample 1 must have 2 axes like the others; got shape \(9,\)"),
        (objects([np.zeros((2, 9)), np.zeros((2, 8))]), {}, r"values must vary"),
        (changed(1, np.full((2, 8), np.inf)), {}, r"array, sample 1: values must be finite"),
        (changed(1, np.full((2, 8), np.nan)), {}, r"array, sample 1: .*got only NaN"),
    ],
)
def test_data_that_cannot_be_learnt_from_are_refused(x, settings, rule):
    with pytest.raises(DataError, match=rule):
        infer(x, **settings)


@pytest.mark.parametrize(
    ("x", "settings", "rule"),
    [
        (IMAGES, {"window": 4}, r"Grid\.window must be 0 for samples of 2 axes; .*gdal_retile"),
        (
            IMAGES,
            {"cell": 1, "max_tokens": 30},
            r"Grid\.max_tokens must be at least .*; got 30 for 40\. Images .* gdal_retile\.py",
        ),
        (SERIES, {"cell": 1, "window": 0, "max_tokens": 10}, r"got 10 for 12\. A window, a short"),
        (SERIES, {"max_tokens": 1}, r"Grid\.max_tokens must be a whole number of at least 2"),
        (SERIES, {"window": 6, "stride": 7}, r"Grid\.stride must be at most .*; got 7 .* 3 would"),
        (SERIES, {"stride": 7}, r"got 7 for a window of 0 points\. Give a window too"),
        (SERIES, {"window": "2 s"}, r"where the sampling rate is not known; got '2 s'"),
        (SERIES, {"window": True}, r"Grid\.window must be a whole number"),
        (SERIES, {"window": 0.5}, r"Grid\.window must be a whole number"),
        (SERIES, {"rate": -1}, r"Grid\.rate must be a number strictly between"),
        (SERIES, {"prepare": "mfcc"}, r"Grid\.prepare must be one of its known values; got 'mfcc'"),
        (SERIES, {"prepare": 3}, r"Grid\.prepare must be the name of a preparation or hold one"),
        (SERIES, {"prepare": {"name": "log_mel", "mel": 4}}, r"no setting 'mel'\. Did you mean 'm"),
        (
            IMAGES,
            {"prepare": "log_mel", "axes": 2},
            r"Grid\.prepare must be 'none' for samples of 2",
        ),
        (IMAGES, {"rate": 50}, r"Grid\.rate and Grid\.rate_field must not be given for .* 2 axes"),
        (IMAGES, {"layout": "none", "axes": 1}, r"Grid\.layout must leave 1 axes .* \(3, 8, 5\)"),
        (IMAGES, {"axes": 1}, r"Grid\.axes must be the number of axes"),
    ],
)
def test_settings_that_do_not_fit_are_refused(x, settings, rule):
    with pytest.raises(ConfigError, match=rule):
        infer(x, **{"cell": 2, **settings})


def test_long_series_are_cut_and_pooled():
    x = rows((2, 50), (2, 12), (2, 31), seed=1)
    spec, notes, records = infer(x, cell=4, window=16, stride=8)
    assert (spec.window, spec.stride, spec.num_tokens) == (16, 8, 4)
    assert "2 of 3 samples are longer than 16 points and cut into windows, 10 in all" in notes[-1]
    pieces, owner = spec.unfold(records)
    assert owner.tolist() == [0] * 6 + [1] + [2] * 3
    assert spec.lengths(pieces).tolist() == [4] * 6 + [3] + [4] * 3
    np.testing.assert_allclose(
        spec.tokenizer(8).original(read(spec, pieces))[5], x[0][:, 34:50], rtol=1e-5, atol=1e-5
    )
    backbone = build(spec).backbone
    vectors = embed_samples(backbone, spec, records)
    each = embed_samples(backbone, spec, Records({"X": pieces["X"][:]}, "pieces"))
    np.testing.assert_allclose(vectors[0], each[:6].mean(axis=0), rtol=1e-5, atol=1e-6)
    assert np.array_equal(
        embed_samples(backbone, spec, records.subset(np.array([2])))[0], vectors[2]
    )
    assert [len(tokens) for tokens in embed_tokens(backbone, spec, records)] == [24, 3, 12]
    assert raw_features(spec, records).shape == (3, 4 * 2 + 256)


def test_windows_of_channels_last_and_of_equal_samples():
    x = np.random.default_rng(0).normal(size=(3, 40, 2))
    spec, _, records = infer(x, layout="last", cell=4, window=16)
    pieces, owner = spec.unfold(records)
    assert owner.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    back = spec.tokenizer(8).original(read(spec, pieces))
    np.testing.assert_allclose(back[2], x[0, 24:].T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(spec.mean, x.mean(axis=(0, 1)), atol=0.2)


@pytest.mark.parametrize(
    ("x", "settings", "window"),
    [
        (SERIES, {}, 0),
        (np.ones((2, 1, 3000)) * np.arange(3000), {"cell": 2}, 512),
        (np.ones((2, 1, 3000)) * np.arange(3000), {"cell": 2, "window": 0}, 0),
        (rows(*[(1, 100)] * 5, (1, 20_000)), {}, 512),
        (np.ones((2, 2, 700_000), dtype=np.float32) * np.arange(700_000), {}, 4096),
        (np.ones((2, 2, 70_000), dtype=np.float32) * np.arange(70_000), {}, 0),
    ],
)
def test_windows_where_a_sample_would_have_many_tokens(x, settings, window):
    spec, notes, _ = infer(x, axes=1, **settings)
    assert spec.window == window
    assert any("cut into windows" in note for note in notes) == (window > 0)
    assert spec.ragged == (window > 0 or x.dtype == object)


def waves(lengths, rates, frequency=1.0):
    made = [
        np.sin(2 * np.pi * frequency * np.arange(n) / r)
        for n, r in zip(lengths, rates, strict=True)
    ]
    return objects(made)


def test_series_of_several_rates_become_one():
    rates = [50, 50, 100, 25]
    spec, notes, records = infer(waves([100, 150, 200, 50], rates), rates, axes=1, cell=10)
    assert spec.columns == ("X", "rate")
    assert spec.preparation.rate == 50
    assert "field 'rate' taken as the sampling rates (override: rate_field)" in notes
    assert any("2 of 4 samples have the sampling rate 50; the others (25, 100)" in n for n in notes)
    assert spec.lengths(records).tolist() == [10, 15, 10, 10]
    back = spec.tokenizer(8).original(read(spec, records))
    for row in (2, 3):
        np.testing.assert_allclose(back[row][0, 10:-10], back[0][0, 10:-10], atol=0.05)
    slower, _, _ = infer(records["X"], rates, axes=1, cell=5, rate=25)
    assert slower.preparation.rate == 25
    assert slower.lengths(records).tolist() == [10, 15, 10, 10]


def test_windows_are_told_at_the_common_rate():
    rates = [50, 50, 100, 25]
    x = waves([100, 150, 200, 50], rates)
    records = Records({"X": x, "hertz": np.array(rates)}, "array")
    spec, _ = Grid.infer(
        records, np.random.default_rng(0), axes=1, rate_field="hertz", window="1 s", cell=10
    )
    assert spec.window == 50
    pieces, owner = spec.unfold(records)
    assert owner.tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3]
    assert [len(piece) for piece in pieces["X"][:]] == [50, 50, 50, 50, 50, 100, 100, 25, 25]
    assert spec.lengths(pieces).tolist() == [5] * 9


@pytest.mark.parametrize(
    ("rate", "rule"),
    [
        (None, r"new must hold the field 'rate', .* the rate 50 for every sample"),
        ([50, 0], r"new, sample 1: field 'rate' must hold a sampling rate within .* 50; got 0"),
        ([np.nan, 50], r"new, sample 0: .*got nan"),
        ([50, 1e9], r"new, sample 1: .*within a factor of 1000"),
        (["a", "b"], r"new: field 'rate' must hold one number per sample"),
    ],
)
def test_rates_that_cannot_be_used_are_refused(rate, rule):
    spec, _, _ = infer(waves([100, 100], [50, 25]), [50, 25], axes=1, cell=10)
    x = waves([100, 100], [50, 50])
    new = Records({"X": x} if rate is None else {"X": x, "rate": np.array(rate)}, "new")
    with pytest.raises(DataError, match=rule):
        spec.batch(new, np.arange(2))
    with pytest.raises(DataError, match=rule):
        spec.lengths(new)


def sound(*lengths):
    rng = np.random.default_rng(0)
    return objects([rng.integers(-3000, 3000, n).astype(np.int16) for n in lengths])


def test_sound_becomes_spectrograms():
    spec, notes, records = infer(sound(4000, 8000, 6000), prepare="log_mel", rate_field=None)
    assert "16000 points per second assumed (override: rate=8000)" in notes
    assert any("64 bands, frames of 0.025 s every 0.01 s at 16000 Hz" in note for note in notes)
    assert (spec.channels, spec.size) == (1, (64, 51))
    assert spec.describe() == "sound (log_mel), 1 channel(s) x up to 64 x 51, cell 8 x 5"
    batch = read(spec, records)
    assert batch["size"].tolist() == [[64, 26], [64, 51], [64, 38]]
    values = batch["cells"][batch["valid"]]
    assert abs(values.mean()) < 1e-3
    assert values.std() == pytest.approx(1, abs=1e-3)
    shown = spec.tokenizer(8).original(batch)[1]
    expected = spec.preparation.log_mel(records["X"][1].astype(np.float32) / 2**15)
    np.testing.assert_allclose(shown[0], expected, rtol=1e-4)
    assert spec.raw(records, np.arange(3)).shape == (3, 4 + 256)


def test_long_sound_is_cut_before_it_is_prepared():
    x = sound(20_000, 6_000)
    spec, _, records = infer(x, prepare="log_mel", rate=8000, window="500 ms", stride="250 ms")
    assert (spec.window, spec.stride) == (4000, 2000)
    pieces, owner = spec.unfold(records)
    assert owner.tolist() == [0] * 9 + [1] * 2
    back = spec.tokenizer(8).original(spec.batch(pieces, np.array([1])))[0]
    expected = spec.preparation.log_mel(x[0][2000:6000].astype(np.float32) / 2**15)
    np.testing.assert_allclose(back[0], expected, rtol=1e-4)
    minute = objects([np.tile(x[0], 24)])
    assert infer(objects([*minute, *minute]), prepare="log_mel", rate=8000)[0].window == 40_000


def test_channels_of_sound_are_mixed():
    x = objects([np.random.default_rng(n).normal(size=(n + 300, 2)) for n in range(3)])
    spec, _, records = infer(x, prepare="waveform", rate=8000, cell=16)
    assert (spec.layout, spec.channels) == ("last", 1)
    back = spec.tokenizer(8).original(read(spec, records))[1]
    np.testing.assert_allclose(back[0], x[1].mean(axis=1), rtol=1e-4, atol=1e-4)


def test_missing_samples_are_told_apart():
    spec, _, _ = infer(SERIES, cell=4)
    x = changed(1, None)
    x[3] = np.full((2, 5), np.nan)
    there = spec.present(Records({"X": x}, "array"), np.array([0, 1, 2, 3]))
    assert there.tolist() == [True, False, True, False]
    dense = np.ones((3, 2, 12))
    dense[2] = np.nan
    assert spec.present(Records({"X": dense}, "array"), np.arange(3)).tolist() == [
        True,
        True,
        False,
    ]
    with pytest.raises(DataError, match=r"array, sample 5: .* at least one value; got none"):
        infer(objects([*SERIES, None]), cell=4)
