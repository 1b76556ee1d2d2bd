"""Lattices: what is inferred, how values are scaled, what is refused."""

import numpy as np
import pytest
import torch

from cases import objects
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError
from metamae.modalities.grid.geometry import lay
from metamae.modalities.grid.grid import Grid
from metamae.modalities.grid.scaled import STATISTICS_FROM

ALL = np.arange(8)


def normal(*shape):
    return np.random.default_rng(0).normal(3.0, 2.0, shape)


def infer(x, **settings):
    return Grid.infer(Records({"X": x}, "array"), np.random.default_rng(0), **settings)


def batch(spec, x, index=None):
    records = Records({"X": x}, "array")
    return spec.batch(records, np.arange(len(x)) if index is None else index)


def test_statistics_are_those_of_each_channel():
    x = normal(8, 2, 12) * np.array([1, 50])[:, None] + np.array([0, -7])[:, None]
    x[0, 0, :5] = np.nan
    spec, notes = infer(x, axes=1, cell=4)
    np.testing.assert_allclose(spec.mean, np.nanmean(x, axis=(0, 2)))
    np.testing.assert_allclose(spec.std, np.nanstd(x, axis=(0, 2)))
    assert (spec.channels, spec.size, spec.cell, spec.layout) == (2, (12,), (4,), "first")
    assert (spec.num_tokens, spec.num_values) == (3, 8)
    assert spec.describe() == "series, 2 channel(s) x 12, cell 4"
    assert notes == [
        "samples of shape (2, 12) taken as series, channels first (override: layout)",
        "cell [4]: 3 tokens of 8 values per sample (override: --set cell=...)",
    ]


def test_training_data_come_out_with_mean_0_and_deviation_1():
    x = normal(50, 3, 8, 8)
    spec, _ = infer(x)
    cells = batch(spec, x)["cells"]
    assert cells.dtype == torch.float32
    by_channel = cells.view(50, spec.num_tokens, -1, 3)
    assert by_channel.mean(dim=(0, 1, 2)).abs().max() < 1e-5
    assert (by_channel.std(dim=(0, 1, 2)) - 1).abs().max() < 1e-3


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "u8", "f2", "f4", ">f8", "?"])
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("channels", ["first", "last"])
def test_cells_are_those_of_samples_that_are_scaled_first(dtype, gaps, channels):
    x = np.random.default_rng(0).integers(0, 200, (12, 2, 10, 9)).astype(dtype)
    if gaps and x.dtype.kind == "f":
        x[3, 1, 4:, 5] = x[4, 0] = np.nan
    spec, _ = infer(x if channels == "first" else np.moveaxis(x, 1, -1), axes=2, layout=channels)
    mean, std = (np.array(v).reshape(2, 1, 1) for v in (spec.mean, spec.std))
    scaled = ((x.astype(float) - mean) / std).astype(np.float32)
    made = batch(spec, x if channels == "first" else np.moveaxis(x, 1, -1))
    laid = lay(made["cells"], spec.size, spec.cell).numpy()
    known = lay(made["valid"], spec.size, spec.cell).numpy() if "valid" in made else True
    np.testing.assert_allclose(laid, np.nan_to_num(scaled), rtol=0, atol=1e-6)
    assert (known == ~np.isnan(scaled)).all()


@pytest.mark.parametrize("dtype", ["u1", "i2", "i8", "f2", "f4", "f8", "?"])
def test_any_type_of_number(dtype):
    x = (np.arange(8 * 30).reshape(8, 30) * 7 % 97 % (2 if dtype == "?" else 97)).astype(dtype)
    spec, _ = infer(x, axes=1)
    original = spec.tokenizer(4).original(batch(spec, x))
    np.testing.assert_allclose(original[:, 0], x.astype(float), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("offset", "scale"),
    [
        (1.7e9, 1.0),  # seconds since 1970: float32 counts them by 128
        (0.0, 1e-13),  # tesla
        (0.0, 1e-17),  # erg / s / cm2
        (0.0, 1e30),
        (-1e6, 1e-3),
    ],
)
def test_values_of_any_size_keep_their_digits(offset, scale):
    z = np.random.default_rng(0).normal(size=(20, 16))
    x = offset + scale * z
    spec, notes = infer(x, axes=1, cell=4)
    assert not any("constant" in note for note in notes)
    cells = batch(spec, x)["cells"].flatten(1).numpy()
    np.testing.assert_allclose(cells, (z - z.mean()) / z.std(), atol=1e-4)
    original = spec.tokenizer(4).original(batch(spec, x))[:, 0]
    np.testing.assert_allclose((original - offset) / scale, z, atol=1e-4)


def test_large_samples_are_measured_on_fewer(monkeypatch):
    monkeypatch.setattr("metamae.modalities.grid.scaled.STATISTICS_VALUES", 32 * 20)
    x = normal(300, 32)
    assert len(x) < STATISTICS_FROM
    spec, _ = infer(x, axes=1)
    assert spec.mean[0] != x.mean()
    assert spec.mean[0] == pytest.approx(3, abs=0.5)


def test_what_lies_beyond_the_sample_is_neither_input_nor_target():
    x = normal(8, 1, 10)
    spec, _ = infer(x, axes=1, cell=4)
    made = batch(spec, x)
    assert made["valid"].sum() == 8 * 10
    assert not made["cells"][~made["valid"]].any()
    tokenizer = spec.tokenizer(4)
    predicted = torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(0))
    last = (predicted[:, 2, :2] - made["cells"][:, 2, :2]).square().mean(dim=1)
    torch.testing.assert_close(tokenizer.error(predicted, made)[:, 2], last)
    assert tokenizer.decode(predicted, made).shape == (8, 1, 10)


def test_errors_and_guesses_against_loops():
    x = normal(4, 2, 6)
    x[0, 0, :2] = np.nan
    x[1, :, 3:] = np.nan
    spec, _ = infer(x, axes=1, cell=3)
    made = batch(spec, x)
    tokenizer = spec.tokenizer(4)
    predicted = torch.randn(4, 2, 6, generator=torch.Generator().manual_seed(0))
    scaled = (x - np.array(spec.mean)[:, None]) / np.array(spec.std)[:, None]
    for b in range(4):
        for n in range(2):
            squares, guesses = [], []
            for p in range(3):
                for c in range(2):
                    value = scaled[b, c, 3 * n + p]
                    if not np.isnan(value):
                        squares.append((predicted[b, n, 2 * p + c].item() - value) ** 2)
                        guesses.append(value**2)
            error = tokenizer.error(predicted, made)[b, n].item()
            guess = tokenizer.baseline(made)[b, n].item()
            assert error == pytest.approx(np.mean(squares) if squares else 0, rel=1e-4)
            assert guess == pytest.approx(np.mean(guesses) if guesses else 0, rel=1e-4)


def test_a_token_without_any_value_is_padding_and_one_with_some_is_not():
    x = normal(4, 2, 6)
    x[0, 0, :3] = np.nan
    x[1, :, 3:] = np.nan
    spec, _ = infer(x, axes=1, cell=3)
    padding = spec.tokenizer(4).embed(batch(spec, x)).padding
    assert padding.tolist() == [[False, False], [False, True], [False, False], [False, False]]


@pytest.mark.parametrize(
    ("shape", "settings", "size", "cell"),
    [
        ((4, 2, 20), {"cell": 5, "axes": 1}, (20,), (5,)),
        ((4, 20), {"cell": [5]}, (20,), (5,)),
        ((4, 8, 12), {"axes": 2, "cell": (4, 3)}, (8, 12), (4, 3)),
        ((4, 8, 12), {"layout": "none", "cell": 4}, (8, 12), (4, 4)),
        ((4, 8, 12), {"layout": "last", "cell": 4}, (8,), (4,)),
        ((4, 6, 6, 6), {"axes": 3, "cell": 3}, (6, 6, 6), (3, 3, 3)),
        ((4, 2), {"axes": 1}, (2,), (1,)),
    ],
)
def test_settings_are_obeyed(shape, settings, size, cell):
    spec, _ = infer(normal(*shape), **settings)
    assert (spec.size, spec.cell) == (size, cell)


@pytest.mark.parametrize(
    ("shape", "settings", "rule"),
    [
        ((4, 20), {"axes": 1, "cell": 0}, r"Grid\.cell\[0\] must lie between 1 and .*= 20; got 0"),
        ((4, 20), {"axes": 1, "cell": 21}, r"got 21\. \d+ would do"),
        ((4, 20), {"axes": 1, "cell": 20}, r"at least 2 tokens; got \[20\] for .*\[5\] would do"),
        (
            (4, 20),
            {"axes": 1, "cell": [4, 4]},
            r"one entry per axis .*; got \[4, 4\] for size \[20",
        ),
        ((4, 20), {"axes": 1, "cell": []}, r"one entry per axis of the sample; got \[\]"),
        (
            (4, 20),
            {"axes": 1, "cell": 2.5},
            r"Grid\.cell must be 'auto', .*; got 2\.5\. \[4\] would",
        ),
        ((4, 20), {"axes": 1, "cell": "4"}, r"Grid\.cell must be 'auto', .*; got '4'"),
        ((4, 20), {"axes": 1, "cell": None}, r"Grid\.cell must be 'auto', .*; got None"),
        ((4, 20), {"axes": 1, "cell": True}, r"Grid\.cell must be 'auto', .*; got True"),
        ((4, 8, 8), {"cell": [4, 2.0]}, r"got \[4, 2\.0\]\. \[4, 4\] would do"),
        ((4, 8, 8), {"layout": "channels"}, r"Grid\.layout must be 'auto', .*; got 'channels'"),
        (
            (4, 8, 8),
            {"layout": "none", "axes": 1},
            r"must leave 1 axes .*'none' .*\(8, 8\)\. 'auto'",
        ),
        ((4, 8), {"layout": "last"}, r"Grid\.layout must leave 1 to 3 axes besides channels; got"),
        ((4,), {"layout": "first"}, r"must leave 1 to 3 axes .*shape \(\)"),
        ((4, 2, 2, 2, 2, 2), {"layout": "first"}, r"must leave 1 to 3 axes"),
    ],
)
def test_settings_that_do_not_fit_are_refused(shape, settings, rule):
    with pytest.raises(ConfigError, match=rule):
        infer(normal(*shape), **settings)


def broken(value, *place):
    x = normal(8, 2, 12)
    x[place] = value
    return x


@pytest.mark.parametrize(
    ("x", "rule"),
    [
        (broken(np.inf, 3, 0, 0), r"array, sample 3: values must be finite .*; got infinity\. NaN"),
        (broken(-np.inf, 3, 0, 0), r"array, sample 3: .*got infinity"),
        (broken(np.nan, 5), r"array, sample 5: .*got only NaN\. Leave this sample out"),
        (broken(np.nan, ALL, 1), r"array: every channel must hold a value; .*in channel 1\."),
        (np.full((8, 2, 12), 7.0), r"array: values must vary; got the constant 7 everywhere"),
        (np.zeros((8, 2, 12)), r"values must vary; got the constant 0 everywhere"),
        (normal(8, 1), r"array: a lattice must have at least 2 points; .*\(1,\)\. .* are a table"),
        (normal(8, 0, 12), r"at least 2 points; got samples of shape \(0, 12\)"),
        (objects(["a", "b"]), r"array: field 'X' must hold numbers in arrays; got strings"),
        (np.array([["a"]]), r"field 'X' must hold numbers in arrays; got strings"),
        (np.zeros((8, 12), complex), r"must hold numbers .*; got complex128"),
    ],
)
def test_data_that_cannot_be_learnt_from_are_refused(x, rule):
    with pytest.raises(DataError, match=rule):
        infer(x, axes=1)


def test_more_than_one_field_is_refused():
    records = Records({"a": normal(4, 6), "b": normal(4, 6)}, "array")
    with pytest.raises(DataError, match=r"must come from one field; got 2: a, b\. Choose one with"):
        Grid.infer(records, np.random.default_rng(0))


def test_a_broken_sample_is_named_by_its_own_name_after_subsampling(monkeypatch):
    monkeypatch.setattr("metamae.modalities.grid.scaled.STATISTICS_FROM", 16)
    x = normal(64, 12)
    x[::2] = np.inf
    records = Records({"X": x}, "folder", names=[f"file{n}" for n in range(64)])
    with pytest.raises(DataError, match=r"folder, file\d*[02468]: values must be finite"):
        Grid.infer(records, np.random.default_rng(0), axes=1)


def test_a_constant_channel_is_noted():
    x = normal(8, 3, 12)
    x[:, 1] = 0.1
    spec, notes = infer(x, axes=1)
    assert "channel 1 is constant: it carries nothing" in notes
    assert spec.std[1] == 1
    assert batch(spec, x)["cells"].isfinite().all()


@pytest.mark.parametrize(
    ("x", "rule"),
    [
        (normal(8, 3, 12), r"X' must hold samples of series, 2 channel\(s\) x 12.*shape \(3, 12\)"),
        (normal(8, 2, 13), r"\(channels first\), as in training; got shape \(2, 13\)"),
        (normal(8, 2, 12, 1), r"got shape \(2, 12, 1\) of float64\. Cut, pad or resample"),
        (normal(8), r"got shape \(\)"),
        (objects([normal(2, 12)] * 8), r"got shape \(\) of object"),
        (np.full((8, 2, 12), "1"), r"got shape \(2, 12\) of <U1"),
        (broken(np.inf, 3, 1, 7), r"array, sample 3: field 'X' must hold finite numbers; got inf"),
        (broken(1e60, 3, 1, 7), r"array, sample 3: .*or one too far from the training data for"),
        (broken(np.nan, 5), r"array, sample 5: .*at least one value; got only NaN\. Leave this"),
    ],
)
def test_batches_that_do_not_fit_are_refused(x, rule):
    spec, _ = infer(normal(8, 2, 12), axes=1)
    with pytest.raises(DataError, match=rule):
        batch(spec, x)


def test_a_broken_sample_is_named_in_any_order():
    spec, _ = infer(normal(8, 2, 12), axes=1)
    with pytest.raises(DataError, match=r"array, sample 5:"):
        batch(spec, broken(np.nan, 5), np.array([7, 5, 1]))
    with pytest.raises(DataError, match=r"array, sample 3:"):
        batch(spec, broken(np.inf, 3), np.array([7, 5, 3]))
