"""Scaling of numbers: which one is chosen, what it does, and the way back."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from metamae.modalities.table.scaling import SCALINGS, Scaler, Scaling, choose, fit

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=2000)


def chosen(values, **options):
    values = np.asarray(values, dtype=float)
    return choose(values, fit(values, "standard"), **options).kind


def apply(scaling, values):
    return Scaler([scaling]).apply(np.asarray(values, dtype=float)[:, None])[:, 0]


def undo(scaling, scaled):
    return Scaler([scaling]).undo(np.asarray(scaled, dtype=float)[:, None])[:, 0]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (NORMAL, "standard"),
        (RNG.uniform(size=2000), "standard"),
        (RNG.poisson(1.0, 2000), "standard"),
        (RNG.integers(0, 2, 2000), "standard"),
        (np.exp(NORMAL), "log"),
        (1e6 * np.exp(2 * NORMAL), "log"),
        (RNG.negative_binomial(0.3, 0.01, 2000), "log"),
        (-np.exp(2 * NORMAL), "quantile"),  # a long left tail
        (RNG.standard_cauchy(2000), "quantile"),
        (1e9 + np.exp(2 * NORMAL), "quantile"),  # so far from 0 that a logarithm does nothing
        (np.where(np.arange(2000) % 9, RNG.random(2000), 7.0), "log"),  # lopsided, no long tail
        (np.where(np.arange(2000) % 500, NORMAL, 1e6), "quantile"),  # a few outliers
        (np.arange(2000) % 50 == 0, "standard"),  # a rare flag stays what it is
        (np.exp(3 * NORMAL[:49]), "standard"),  # too few to tell
    ],
)
def test_a_column_is_left_straight_unless_it_is_clearly_far_from_normal(values, kind):
    assert chosen(values) == kind


def test_ranks_are_chosen_only_where_they_may_be():
    values = np.concatenate([NORMAL, [1e6, -1e6]])
    assert chosen(values) == "quantile"
    assert chosen(values, ranks=False) == "standard"


@pytest.mark.parametrize("kind", SCALINGS)
@pytest.mark.parametrize(
    "values", [NORMAL, np.exp(3 * NORMAL), 1e-200 * NORMAL, 1e250 * NORMAL, np.arange(4) // 3 * 1.0]
)
def test_the_mean_guess_is_wrong_by_one(kind, values):
    scaled = apply(fit(values, kind), values)
    assert scaled.mean() == pytest.approx(0, abs=1e-9)
    assert scaled.std() == pytest.approx(1)


def test_each_scaling_against_its_formula():
    values = np.exp(NORMAL)
    standard = fit(values, "standard")
    np.testing.assert_allclose(apply(standard, values), (values - values.mean()) / values.std())
    unit = np.quantile(values, 0.05)
    bent = np.arcsinh(values / unit)
    log = fit(values, "log")
    np.testing.assert_allclose(apply(log, values), (bent - bent.mean()) / bent.std())
    np.testing.assert_allclose(apply(log, -values) + bent / bent.std(), -bent.mean() / bent.std())
    few = values[:100]
    ranks = few.argsort().argsort()
    scores = ndtri((ranks + 0.5) / 100)
    np.testing.assert_allclose(apply(fit(few, "quantile"), few), scores / scores.std(), atol=1e-9)


def test_equal_values_share_the_mean_of_their_scores():
    values = np.array([0.0] * 6 + [5.0] + [9.0] * 3)
    scores = ndtri((np.arange(10) + 0.5) / 10)
    found = fit(values, "quantile")
    shared = np.array([scores[:6].mean(), scores[6], scores[7:].mean()])
    expected = np.repeat(shared, [6, 1, 3])
    expected = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose(apply(found, values), expected, atol=1e-12)


def test_ranks_are_linear_between_and_clipped_beyond():
    values = np.sort(NORMAL[:50])
    found = fit(values, "quantile")
    middle = (values[:-1] + values[1:]) / 2
    scaled = apply(found, values)
    np.testing.assert_allclose(apply(found, middle), (scaled[:-1] + scaled[1:]) / 2, atol=1e-12)
    np.testing.assert_allclose(apply(found, [-1e300, 1e300]), scaled[[0, -1]])
    np.testing.assert_allclose(undo(found, [-99, 99]), values[[0, -1]])


def test_nothing_finite_becomes_infinite_but_in_standard_deviations():
    huge = np.array([1e308, -1e308, np.inf, -np.inf, np.nan])
    tiny = 1e-300 * np.abs(NORMAL)
    for kind in ("log", "quantile"):
        scaled = apply(fit(tiny, kind), huge)
        assert np.isfinite(scaled[:2]).all(), kind
        assert scaled[2:4].tolist() == [np.inf, -np.inf]
        assert np.isnan(scaled[4])
    assert np.isinf(apply(fit(tiny, "standard"), huge[:1])).all()


def test_what_a_network_predicts_comes_back_finite():
    for kind in SCALINGS:
        back = undo(fit(1e300 * np.exp(NORMAL / 100), kind), [-1e4, 0.0, 1e4])
        assert np.isfinite(back).all(), kind
        assert back[0] < back[1] < back[2]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=2, max_size=40).filter(
        lambda values: np.ptp(values) > 1e-6 * np.max(np.abs(values))
    ),
    st.sampled_from(SCALINGS),
)
@example([147902.0, 8.2e-304, 8.2e-304], "log")
def test_values_survive_the_way_there_and_back(values, kind):
    values = np.array(values)
    scaling = fit(values, kind)
    scaled = apply(scaling, values)
    # Order is kept: where values differ by more than rounding, so do scaled ones.
    assert (np.diff(scaled[values.argsort()]) >= -1e-9).all()
    np.testing.assert_allclose(undo(scaling, scaled), values, rtol=1e-6, atol=1e-6 * np.ptp(values))


def test_a_block_is_scaled_like_its_columns():
    block = np.stack([NORMAL, np.exp(NORMAL), NORMAL**3, 5 + NORMAL], axis=1)
    block[::7, 1] = np.nan
    kinds = ["standard", "log", "quantile", "standard"]
    scalings = [
        fit(column[~np.isnan(column)], kind) for column, kind in zip(block.T, kinds, strict=True)
    ]
    before = block.copy()
    together = Scaler(scalings).apply(block)
    np.testing.assert_array_equal(block, before)
    for n, scaling in enumerate(scalings):
        np.testing.assert_array_equal(together[:, n], apply(scaling, block[:, n]))
    np.testing.assert_allclose(Scaler(scalings).undo(together), block, rtol=1e-9, atol=1e-9)


def test_the_default_changes_nothing():
    np.testing.assert_array_equal(apply(Scaling(), NORMAL), NORMAL)
