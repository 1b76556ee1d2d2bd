"""Maps of embeddings: places, neighbours, colours."""

import numpy as np
import pytest

from metamae.errors import ConfigError, DataError
from metamae.pages.layout import MISSING, MOST_FOR_TSNE, NEAREST, OTHER, colour_by, lay_out


def vectors(num=60, width=5, seed=0):
    spread = np.array([9.0, 4.0, 0.5, 0.1, 0.1])[:width]
    return (np.random.default_rng(seed).normal(size=(num, width)) * spread + 50).astype(np.float32)


def test_the_plane_is_that_of_most_variance_and_says_how_much_it_holds():
    x = vectors()
    found = lay_out(x)
    centred = x - x.mean(axis=0)
    # The singular values by another way.
    size = np.linalg.svd(centred, compute_uv=False)
    assert np.allclose(np.sort(found.places.std(axis=0))[::-1] * len(x) ** 0.5, size[:2], rtol=1e-3)
    share = (size[:2] ** 2).sum() / (size**2).sum()
    assert f"{share:.0%} of the variance" in found.how


def test_neighbours_are_the_nearest_by_angle_about_the_mean():
    x = vectors(30)
    found = lay_out(x)
    centred = (x - x.mean(axis=0)).astype(np.float64)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -2)
    order = np.argsort(-cosine, axis=1)[:, :NEAREST]
    assert np.array_equal(found.near, order)
    assert np.allclose(found.likeness, np.take_along_axis(cosine, order, axis=1), atol=1e-4)


def test_an_odd_sample_is_the_least_typical():
    x = np.concatenate([np.tile([[1.0, 1, 0]], (20, 1)), [[-9.0, 2, 9]]]).astype(np.float32)
    x[:20] += np.random.default_rng(0).normal(size=(20, 3)) / 50
    assert lay_out(x).typicality.argmin() == 20


@pytest.mark.parametrize("way", ["pca", "tsne"])
def test_a_map_is_the_same_every_time(way):
    first, again = (lay_out(vectors(), way=way, seed=3) for _ in range(2))
    assert np.array_equal(first.places, again.places)


def test_tsne_keeps_clusters_together():
    x = vectors(40, 3)
    x[:20] += 400
    places = lay_out(x, way="tsne").places
    apart = np.linalg.norm(places[:20].mean(axis=0) - places[20:].mean(axis=0))
    assert apart > np.linalg.norm(places[:20].std(axis=0))


@pytest.mark.parametrize(
    "x", [np.ones((5, 4)), np.arange(4.0)[:, None], np.zeros((3, 1)), np.eye(3)]
)
def test_embeddings_without_a_plane_are_drawn_in_silence(x):
    found = lay_out(x.astype(np.float32))
    assert np.isfinite(found.places).all() and found.places.shape == (len(x), 2)
    assert found.near.shape == (len(x), min(NEAREST, len(x) - 1))


def test_what_cannot_be_a_map_is_refused():
    with pytest.raises(ConfigError, match=r"Report.map must be one of"):
        lay_out(vectors(), way="umap")
    with pytest.raises(DataError, match=r"at least 3 samples; got 2"):
        lay_out(vectors(2))
    with pytest.raises(DataError, match=r"at most 5000 for a map by t-SNE; got 5001"):
        lay_out(np.zeros((MOST_FOR_TSNE + 1, 2), dtype=np.float32), way="tsne")


def test_many_different_numbers_are_a_scale():
    numbers = np.arange(30.0)
    numbers[3] = np.nan
    colour = colour_by("size", numbers)
    assert colour.categories == () and np.isnan(colour.numbers[3]) and colour.numbers[4] == 4


@pytest.mark.parametrize(
    ("values", "names", "codes"),
    [
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([10, 9, 10], ("9", "10"), [1, 0, 1]),
        ([1.0, 0.0, np.nan], ("0", "1", MISSING), [1, 0, 2]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        ([None, "x", "y"], ("x", "y", MISSING), [2, 0, 1]),
    ],
)
def test_few_different_values_are_categories(values, names, codes):
    kind = object if any(isinstance(v, str | None) for v in values) else None
    colour = colour_by("kind", np.array(values, dtype=kind))
    assert colour.categories == names and colour.codes.tolist() == codes


def test_rare_categories_are_one():
    values = [f"k{n:02d}" for n in range(14)] + [f"k{n:02d}" for n in range(10)] * 3 + [None]
    colour = colour_by("kind", np.array(values, dtype=object))
    assert colour.categories == (*(f"k{n:02d}" for n in range(10)), OTHER, MISSING)
    assert colour.codes[10:14].tolist() == [10] * 4 and colour.codes[-1] == 11


@pytest.mark.parametrize(
    "values", [[1, 1, 1], ["a"] * 3, [None] * 3, [np.nan] * 3, [f"name {n}" for n in range(40)]]
)
def test_a_field_that_says_nothing_is_no_colour(values):
    assert colour_by("x", np.array(values, dtype=object if values[0] is None else None)) is None


def test_values_that_are_no_single_text_or_number_are_no_colour():
    ragged = np.empty(3, dtype=object)
    ragged[:] = [np.zeros(2), np.zeros(3), None]
    assert colour_by("x", ragged) is None
    assert colour_by("x", np.array(["2024-01-01", "NaT", "2024-02-01"], dtype="M8[D]")) is None


def test_infinite_numbers_are_values():
    colour = colour_by("x", np.array([np.inf, 1.0, 2.0]))
    assert "inf" in colour.categories
