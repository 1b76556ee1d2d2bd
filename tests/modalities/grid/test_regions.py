"""Parts of a lattice that an embedding knows apart."""

import numpy as np
import pytest
import torch

from metamae.data.records import Records
from metamae.errors import ConfigError
from metamae.modalities.grid.geometry import regions_of
from metamae.modalities.grid.grid import Grid
from metamae.model.backbone import pool, pool_regions


@pytest.mark.parametrize(
    ("counts", "parts", "expected"),
    [
        ((4, 4), 2, [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]),
        ((2, 5), 3, [[0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]),
        ((7,), 3, [0, 0, 0, 1, 1, 2, 2]),
        ((3,), 9, [0, 1, 2]),
    ],
)
def test_regions_are_blocks_of_nearly_equal_size(counts, parts, expected):
    assert regions_of(counts, parts).reshape(counts).tolist() == expected


def test_pooling_by_regions_against_a_loop():
    rng = torch.Generator().manual_seed(0)
    latent = torch.randn(3, 8, 4, generator=rng)
    padding = torch.rand(3, 8, generator=rng) < 0.4
    padding[:, 6:] = True  # rounded up
    padding[2, :3] = True  # a region without tokens
    padding[2, 5] = False
    regions = torch.tensor([0, 0, 0, 1, 2, 1])
    found = pool_regions(latent, padding, regions).reshape(3, 3, 4)
    for row in range(3):
        for region in range(3):
            some = [n for n in range(6) if regions[n] == region and not padding[row, n]]
            expected = latent[row, some].mean(dim=0) if some else pool(latent, padding)[row]
            torch.testing.assert_close(found[row, region], expected)
    whole = pool_regions(latent[:, :6], None, regions).reshape(3, 3, 4)
    torch.testing.assert_close(whole[:, 1], latent[:, [3, 5]].mean(dim=1))


def infer(shape, **settings):
    data = np.random.default_rng(0).normal(size=shape)
    spec, _ = Grid.infer(Records({"X": data}, "x"), np.random.default_rng(0), **settings)
    return spec


def test_images_of_one_size_have_regions_and_series_have_none():
    image = infer((6, 1, 12, 12), axes=2, cell=2)
    assert image.token_regions.tolist() == regions_of((6, 6), 3).tolist()
    assert image.embedding_width(16) == 9 * 16
    assert infer((6, 1, 8, 8, 8), axes=3, cell=2).embedding_width(16) == 27 * 16
    assert infer((6, 2, 40), axes=1).token_regions is None
    assert infer((6, 1, 12, 12), axes=2, regions=1).token_regions is None
    assert infer((6, 2, 40), axes=1, cell=4, regions=5).embedding_width(16) == 5 * 16
    assert Grid.from_dict(image.to_dict()).token_regions is not None


@pytest.mark.parametrize("regions", [0, -1, 1.5, "many"])
def test_bad_numbers_of_regions_are_refused(regions):
    with pytest.raises(ConfigError, match=r"Grid\.regions must be"):
        infer((6, 1, 12, 12), axes=2, regions=regions)


def test_windows_have_no_regions():
    with pytest.raises(ConfigError, match=r"Grid\.regions must be 1 where samples differ"):
        infer((4, 1, 400), axes=1, window=50, regions=2)
    assert infer((4, 1, 400), axes=1, window=50).token_regions is None
