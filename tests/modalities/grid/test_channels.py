"""Scales and summaries of channels against numpy."""

import numpy as np
import pytest
import torch

from metamae.data.records import Records
from metamae.modalities.grid.channels import scale, summary


def lattices(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(3.0, 2.0, shape) for shape in shapes]


def test_the_scale_of_ragged_samples_weighs_every_value_alike():
    rows = lattices((2, 5), (2, 400), (2, 1))
    rows[1][0, 7:300] = np.nan
    records = Records({"X": np.arange(3)}, "array")
    mean, std, warnings = scale(rows, records)
    joined = np.concatenate(rows, axis=1)
    np.testing.assert_allclose(mean, np.nanmean(joined, axis=1))
    np.testing.assert_allclose(std, np.nanstd(joined, axis=1))
    assert warnings == []
    one = lattices((4, 2, 3, 5))[0]
    np.testing.assert_allclose(scale(one, records)[0], scale(list(one), records)[0])


@pytest.mark.parametrize("shape", [(2, 30), (3, 17, 12), (1, 5, 6, 7), (40, 9)])
def test_a_summary_against_numpy(shape):
    (values,) = lattices(shape)
    found = summary(torch.from_numpy(values).float()).numpy()
    C = shape[0]
    flat = values.reshape(C, -1)
    parts = [flat.mean(axis=1), flat.std(axis=1), flat.min(axis=1), flat.max(axis=1)]
    np.testing.assert_allclose(found[: 4 * C], np.concatenate(parts), rtol=1e-4, atol=1e-5)
    side = {2: 128, 3: 9, 1: 6, 40: 6}[C]
    pooled = found[4 * C :].reshape(C, *[side] * (len(shape) - 1))
    # The part at one end of every axis.
    corner = values[(slice(None), *(slice(0, -(-n // side)) for n in shape[1:]))]
    np.testing.assert_allclose(
        pooled.reshape(C, -1)[:, 0], corner.reshape(C, -1).mean(axis=1), rtol=1e-4, atol=1e-5
    )


def test_a_summary_has_one_length_and_leaves_gaps_out():
    values = 3 + 2 * torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    gappy = values.clone()
    gappy[0, 10:20] = float("nan")
    gappy[1] = float("nan")
    found = summary(gappy)
    assert len(found) == len(summary(values[:, :3])) == 4 * 2 + 256
    assert found.isfinite().all()
    known = gappy[0, ~gappy[0].isnan()].numpy()
    expected = [known.mean(), known.std(), known.min(), known.max()]
    np.testing.assert_allclose(found[[0, 2, 4, 6]], expected, rtol=1e-5)
    constant = summary(torch.where(gappy.isnan(), gappy, 7.0))[8 : 8 + 128]
    assert set(constant.tolist()) == {0.0, 7.0}
    assert not found[[1, 3, 5, 7]].any()


def test_many_channels_have_no_pooled_part():
    assert len(summary(torch.zeros(200, 4, 4))) == 800
