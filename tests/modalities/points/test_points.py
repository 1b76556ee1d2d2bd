"""Sets of points: what is inferred, what order and company change (nothing), what is refused."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import build, objects
from metamae.data.records import Records
from metamae.encoder.embedding import embed_samples
from metamae.errors import ConfigError, DataError
from metamae.modalities.points.intake import radius
from metamae.modalities.points.points import Points


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(3.0, 2.0, shape)


def spheres(num, points, seed=0):
    """Points near the surfaces of ellipsoids anywhere, of any size."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num, points, 3))
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    return x * rng.uniform(1, 3, (num, 1, 3)) + rng.normal(0, 9, (num, 1, 3))


def records(x):
    return Records({"X": objects(x) if isinstance(x, list) else x}, "array")


def infer(x, **settings):
    return Points.infer(records(x), np.random.default_rng(0), **settings)


def read(spec, x, index=None):
    return spec.batch(records(x), np.arange(len(x)) if index is None else np.asarray(index))


def same_bits(one, other):
    """Unlike `torch.equal`, which takes -0 for 0."""
    bits = [{k: v.numpy().tobytes() for k, v in batch.items()} for batch in (one, other)]
    return bits[0] == bits[1]


def test_what_is_inferred_and_said():
    x = spheres(30, 400)
    spec, notes = infer(np.concatenate([x, np.ones((30, 400, 1)), x[..., :1] * 2], axis=-1))
    assert (spec.dims, spec.num_values, spec.normalise) == (3, 5, "sample")
    assert (spec.groups, spec.group_size, spec.num_tokens) == (25, 32, 25)
    assert (
        spec.describe() == "sets of points, 3 coordinates and 2 feature(s), up to 25 groups of 32"
    )
    assert notes == [
        "sets of 400 to 400 points of 3 coordinates and 2 feature(s) (override: --set dims=...)",
        "25 groups of 32 points, 25 tokens per sample: a point is in 2.0 groups (override: --set "
        "groups=...)",
        "each set is moved to its centroid and divided by its radius: its place and size are not "
        "seen (override: --set normalise=data)",
        "feature 0 is constant: it carries nothing",
    ]
    _, notes = infer(x[:, :, :2], dims=2, normalise="data", max_points=100)
    assert not any("centroid" in note for note in notes)
    assert "larger sets are thinned to 100 points (--set max_points=...)" in notes


@pytest.mark.parametrize(
    ("counts", "settings", "groups", "size"),
    [
        ([1024] * 4, {}, 64, 32),  # Point-MAE, arXiv:2203.06604
        ([2048] * 4, {}, 128, 32),
        ([9, 20, 30, 30], {}, 16, 4),
        ([5, 6, 7], {}, 7, 4),
        ([3, 3], {}, 3, 3),
        ([1, 2], {}, 2, 2),
        ([40] * 3, {"groups": 10}, 10, 8),
        ([40] * 3, {"groups": 10, "group_size": 5}, 10, 5),
        ([300] * 3, {"max_points": 160}, 16, 20),
    ],
)
def test_numbers_of_groups_and_of_their_points(counts, settings, groups, size):
    spec, _ = infer([normal(n, 3, seed=s) for s, n in enumerate(counts)], **settings)
    assert (spec.groups, spec.group_size) == (groups, size)


def test_wide_points_are_measured_on_fewer_sets(monkeypatch):
    x = normal(80, 20, 3)
    whole, _ = infer(x)
    np.testing.assert_allclose(whole.mean, x.mean(axis=(0, 1)))
    monkeypatch.setattr("metamae.modalities.points.intake.STATISTICS_VALUES", 20 * 3 * 30)
    fewer, _ = infer(x, max_points=20)
    assert fewer.mean != whole.mean
    np.testing.assert_allclose(fewer.mean, whole.mean, atol=0.5)


def test_each_set_is_moved_to_its_centroid_and_divided_by_its_radius():
    x = spheres(20, 60) * 1e-13 + 1e-9
    spec, _ = infer(x, groups=60, group_size=4)
    made = read(spec, x)
    centres = made["centres"].numpy()  # as many groups as points: all of them
    np.testing.assert_allclose(centres.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=-1).max(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(made["frame"][:, :3], x.mean(axis=1))
    np.testing.assert_allclose(made["frame"][:, 3], [radius(points) for points in x])


def test_place_and_size_mean_something_if_the_user_says_so():
    x = spheres(20, 60)
    spec, _ = infer(x, groups=60, group_size=4, normalise="data")
    np.testing.assert_allclose(spec.mean, x.mean(axis=(0, 1)))
    np.testing.assert_allclose(spec.std, [np.sqrt(x.var(axis=(0, 1)).mean())] * 3)
    made = read(spec, x)["centres"].numpy()
    expected = (x - np.array(spec.mean)) / spec.std[0]
    for found, points in zip(made, expected, strict=True):
        np.testing.assert_allclose(np.sort(found, axis=0), np.sort(points, axis=0), atol=1e-5)
    moved = read(spec, x + 1)["centres"].numpy()
    np.testing.assert_allclose(moved - made, 1 / spec.std[0], atol=1e-4)


def test_features_are_in_deviations_whatever_the_coordinates_are():
    x = np.concatenate([spheres(20, 60), normal(20, 60, 2) * [5, 0.1]], axis=-1)
    for normalise in ("sample", "data"):
        spec, _ = infer(x, groups=60, group_size=2, normalise=normalise)
        np.testing.assert_allclose(spec.mean[3:], x[..., 3:].mean(axis=(0, 1)))
        np.testing.assert_allclose(spec.std[3:], x[..., 3:].std(axis=(0, 1)))
        features = read(spec, x)["groups"][..., 3:]
        assert features.mean().abs() < 0.2
        assert features.std() == pytest.approx(1, abs=0.2)


@cache
def ordinary(normalise):
    return infer(normal(8, 30, 4), normalise=normalise, max_points=25)[0]


sets_of_points = st.lists(
    st.tuples(*[st.integers(-1, 1)] * 3 + [st.sampled_from([0.0, -0.0, 1.0, np.nan])]),
    min_size=3,
    max_size=40,
).filter(lambda rows: any(row[3] == row[3] for row in rows))


@settings(max_examples=40, deadline=None)
@given(rows=sets_of_points, seed=st.integers(0, 99), normalise=st.sampled_from(["sample", "data"]))
def test_the_order_of_points_changes_no_bit(rows, seed, normalise):
    # Whole numbers: distances tie and points are there twice, with and without their features.
    points = np.array(rows, dtype=float)
    spec = ordinary(normalise)
    shuffled = np.random.default_rng(seed).permutation(points)
    assert same_bits(read(spec, [points]), read(spec, [shuffled]))
    raw = [spec.raw(records([x]), np.array([0])) for x in (points, shuffled)]
    assert np.array_equal(*raw) and np.isfinite(raw[0]).all()


def test_the_two_zeros_are_one():
    spec, _ = infer(normal(8, 30, 3), group_size=2)
    points = np.array([[0.0, 0, 1], [-0.0, 0, 1], [0.0, 0, -1], [-0.0, -0.0, -1]])
    assert same_bits(read(spec, [points]), read(spec, [points[::-1]]))


def mixed_sets(num=40):
    """Sets of 2 to 80 points on a coarse lattice, some points missing or there twice."""
    rng = np.random.default_rng(0)
    sets = [rng.integers(0, 5, (n, 3)).astype(float) for n in rng.integers(2, 81, num)]
    sets[3][0] = np.nan
    sets[5][1:] = sets[5][0]
    return sets


def test_a_sets_values_do_not_depend_on_its_company(monkeypatch):
    x = mixed_sets()
    spec, _ = infer(x, groups=20, group_size=6)
    together = read(spec, x)
    monkeypatch.setattr("metamae.modalities.points.spec.CHUNK", 1)  # sets are cut one by one
    for n in range(len(x)):
        alone = read(spec, x, [n])
        num = alone["groups"].shape[1]
        valid = alone.get("valid", torch.ones(alone["groups"].shape[:3], dtype=torch.bool))
        assert torch.equal(together["valid"][n, :num], valid[0])
        assert not together["valid"][n, num:].any()
        there = valid[0].any(dim=-1)
        for key in ("groups", "centres", "near"):
            assert torch.equal(together[key][n, :num][there], alone[key][0][there]), key
        assert torch.equal(together["frame"][n], alone["frame"][0])


def test_vectors_do_not_depend_on_company_or_order():
    x = mixed_sets(60)
    spec, _ = infer(x, groups=20, group_size=6)
    backbone = build(spec).eval().backbone
    together = embed_samples(backbone, spec, records(x))
    rng = np.random.default_rng(1)
    for index in (np.arange(60)[::-1], rng.permutation(60)[:7], np.array([3]), np.array([5])):
        some = [rng.permutation(x[n]) for n in index]
        found = embed_samples(backbone, spec, records(some))
        assert np.array_equal(found.view(np.uint32), together[index].view(np.uint32))


def test_small_sets_have_fewer_tokens_and_fewer_points_of_a_token():
    x = [normal(n, 3, seed=n) for n in (2, 5, 30, 12)]
    spec, _ = infer(x, groups=20, group_size=6)
    made = read(spec, x)
    assert made["valid"].any(dim=-1).sum(dim=1).tolist() == [2, 5, 20, 12]
    assert made["valid"].sum(dim=-1).amax(dim=1).tolist() == [2, 5, 6, 6]
    assert spec.lengths(records(x)).tolist() == [2, 5, 20, 12]
    assert spec.varies
    assert read(spec, x, [0, 1])["groups"].shape[1] == 8
    assert read(spec, x, [3])["groups"].shape[1] == 16
    assert spec.lengths(records(normal(4, 30, 3))) is None
    assert spec.lengths(records(normal(4, 9, 3))).tolist() == [9] * 4
    tokens = spec.tokenizer(4).embed(made)
    assert torch.equal(tokens.padding, ~made["valid"].any(dim=-1))
    assert torch.equal(tokens.neighbours, made["near"])


def test_what_stands_where_no_point_is_changes_nothing():
    x = [normal(n, 4, seed=n) for n in (3, 5, 30, 12)]
    spec, _ = infer(x, groups=10, group_size=6)
    made = read(spec, x)
    changed = {**made, "groups": made["groups"].masked_fill(~made["valid"][..., None], 9.0)}
    there = made["valid"].any(dim=-1)
    tokenizer = spec.tokenizer(4)
    predicted = torch.randn(4, 10, 24, generator=torch.Generator().manual_seed(0))
    for measure in (
        lambda batch: tokenizer.embed(batch).values,
        lambda batch: tokenizer.error(predicted, batch),
        tokenizer.baseline,
    ):
        assert torch.equal(measure(made)[there], measure(changed)[there])
        assert measure(changed).isfinite().all()


def test_a_group_is_embedded_by_its_farthest_answers():
    x = [normal(n, 3, seed=n) for n in (4, 30)]
    spec, _ = infer(x, groups=3, group_size=6)
    made = read(spec, x)
    tokenizer = spec.tokenizer(8)
    values = tokenizer.embed(made).placed
    for b, n in np.ndindex(2, 3):
        points = made["groups"][b, n][made["valid"][b, n]]
        pooled = tokenizer.each(points).max(dim=0).values
        place = tokenizer.place.layers(made["centres"][b, n])
        torch.testing.assert_close(values[b, n], tokenizer.whole(pooled) + place)


def test_missing_points_are_left_out():
    x = [normal(30, 4, seed=n) for n in range(8)]
    spec, _ = infer(x)
    gappy = [np.insert(points, [0, 9], points[:2], axis=0) for points in x]
    for n, points in enumerate(gappy):
        points[0, n % 4], points[10, :] = np.nan, np.nan
    assert same_bits(read(spec, x), read(spec, gappy))
    again, notes = infer(gappy)
    assert (again.mean, again.std, again.template) == (spec.mean, spec.std, spec.template)
    assert notes[0].startswith("sets of 32 to 32 points")


def test_larger_sets_are_thinned_evenly():
    x = [normal(1000, 3)]
    spec, _ = infer(x, max_points=200, groups=200, group_size=2, normalise="data")
    made = read(spec, x)
    found = made["centres"][0].double().numpy() * spec.std[0] + np.array(spec.mean)
    ordered = x[0][np.lexsort(x[0].T[::-1])]
    kept = ordered[np.linspace(0, 999, 200).astype(int)]
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(kept, axis=0), atol=1e-5)


def test_a_set_is_there_if_a_point_is():
    x = objects([normal(5, 3), None, np.full((4, 3), np.nan), np.empty((0, 3)), np.ones((1, 3))])
    x[0][:4] = np.nan
    spec, _ = infer(normal(8, 30, 3))
    there = spec.present(Records({"X": x}, "array"), np.arange(5))
    assert there.tolist() == [True, False, False, False, True]
    whole = spec.present(records(np.ones((2, 4, 3), dtype=int)), np.arange(2))
    assert whole.tolist() == [True, True]


def test_the_constant_guess_has_error_1_and_a_perfect_one_0():
    x = np.concatenate([spheres(40, 200), normal(40, 200, 2)], axis=-1)
    for columns in (3, 5):
        spec, _ = infer(x[..., :columns])
        made = read(spec, x[..., :columns])
        tokenizer = spec.tokenizer(4)
        assert tokenizer.baseline(made).mean() == pytest.approx(1, abs=0.1)
        perfect = made["groups"].flip(2).flatten(2)
        assert not tokenizer.error(perfect, made).any()
        nothing = torch.zeros_like(perfect)
        assert tokenizer.error(nothing, made).mean() > 1.2
        any_group = made["groups"][7, 3].expand_as(made["groups"]).flatten(2)
        assert tokenizer.error(any_group, made).mean() > 1.05


def test_errors_weigh_coordinates_and_features():
    x = [normal(20, 5, seed=n) for n in range(6)]
    spec, _ = infer(x, groups=4, group_size=1 + 1)
    made = read(spec, x)
    predicted = made["groups"].clone()
    predicted[..., 3] += 2  # matched by coordinates, so each point meets its own feature
    tokenizer = spec.tokenizer(4)
    expected = torch.full((6, 4), 4 / 5)
    torch.testing.assert_close(tokenizer.error(predicted.flatten(2), made), expected)
    moved = made["groups"].clone()
    moved[..., 1] += 1e-3
    expected = torch.full((6, 4), 3 * 1e-6 / 5)
    torch.testing.assert_close(tokenizer.error(moved.flatten(2), made), expected, rtol=1e-2, atol=0)


def test_an_untrained_head_guesses_near_the_typical_group():
    spec, _ = infer(spheres(8, 60))
    tokenizer = spec.tokenizer(4)
    guess = tokenizer.head(8)(torch.zeros(1, 2, 8))
    torch.testing.assert_close(guess[0, 1], torch.tensor(spec.template).flatten())


def test_groups_come_back_in_the_users_units():
    x = [np.concatenate([points, points[:, :1]], axis=1) for points in spheres(6, 50)]
    x[1] = x[1][:3]
    spec, _ = infer(x, groups=10, group_size=8)
    made = read(spec, x)
    tokenizer = spec.tokenizer(4)
    shown = tokenizer.original(made)
    assert shown.dtype == object and shown.shape == (6,)
    assert [row.shape for row in shown] == [(80, 4), (9, 4), *[(80, 4)] * 4]
    for row, points in zip(shown, x, strict=True):
        apart = np.abs(row[:, None] - points).max(axis=-1)
        assert apart.min(axis=1).max() < 1e-5
    decoded = tokenizer.decode(made["groups"].flatten(2), made)
    for row, expected in zip(decoded, shown, strict=True):
        np.testing.assert_array_equal(row, expected)
    # A guess of nothing but centres lies at the centres.
    for row, points in zip(tokenizer.decode(torch.zeros(6, 10, 32), made), x, strict=True):
        apart = np.abs(row[:, None, :3] - points[:, :3]).max(axis=-1)
        assert apart.min(axis=1).max() < 1e-5
        np.testing.assert_allclose(row[:, 3], spec.mean[3], atol=1e-5)


def test_marks_lie_on_the_points_of_their_groups():
    x = [normal(n, 3, seed=n) for n in (30, 3)]
    spec, _ = infer(x, groups=5, group_size=4)
    made = read(spec, x)
    hidden = torch.tensor([[True, False, True, False, False], [False, True, False, False, False]])
    marks = spec.tokenizer(4).spread(hidden, made)
    assert [row.shape for row in marks] == [(20, 3), (9, 3)]
    assert all(row.dtype == bool and (row == row[:, :1]).all() for row in marks)
    assert marks[0][:, 0].tolist() == np.repeat(hidden[0].numpy(), 4).tolist()
    assert marks[1][:, 0].tolist() == [False] * 3 + [True] * 3 + [False] * 3


def test_raw_features_say_place_size_and_moments():
    x = np.concatenate([spheres(12, 80), normal(12, 80, 2)], axis=-1)
    for normalise in ("sample", "data"):
        spec, _ = infer(x, normalise=normalise)
        raw = spec.raw(records(x), np.arange(12))
        tail = raw[:, -(3 + 1 + 2 + 2 + 6) :]
        standard = (x - np.array(spec.mean)) / np.array(spec.std)
        np.testing.assert_allclose(tail[:, :3], standard[..., :3].mean(axis=1), atol=1e-5)
        np.testing.assert_allclose(
            tail[:, 3], [np.log(radius(points[:, :3])) for points in standard], atol=1e-5
        )
        np.testing.assert_allclose(tail[:, 4:6], standard[..., 3:].mean(axis=1), atol=1e-5)
        np.testing.assert_allclose(tail[:, 6:8], standard[..., 3:].std(axis=1), atol=1e-5)
        places = standard[..., :3] - standard[..., :3].mean(axis=1, keepdims=True)
        places /= np.linalg.norm(places, axis=-1).max(axis=1)[:, None, None]
        across = np.einsum("spa,spf->saf", places, standard[..., 3:]) / 80
        np.testing.assert_allclose(tail[:, 8:], across.reshape(12, 6), atol=1e-5)
        assert np.array_equal(raw, replace(spec, groups=2).raw(records(x), np.arange(12)))


@pytest.mark.parametrize("value", [3e100, np.inf, -np.inf])
def test_infinite_points_are_refused_by_name(value):
    x = normal(8, 30, 3)
    spec, _ = infer(x)
    x[5, 2, 1] = value
    with pytest.raises(DataError, match=r"array, sample 5: field 'X' must hold numbers below 1e"):
        read(spec, x, [4, 5])
    with pytest.raises(DataError, match=r"array, sample 5.* got (3e\+100|inf)"):
        infer(x)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"sample 3: .* must hold an array of numbers \(points, 3\); got a missing value"),
        (normal(5, 4), r"sample 3: .*\(points, 3\); got float64 \(5, 4\)"),
        (normal(5), r"sample 3: .*\(points, 3\); got float64 \(5,\)"),
        (np.full((5, 3), "a"), r"sample 3: .*\(points, 3\); got <U1 \(5, 3\)"),
        (np.empty((0, 3)), "sample 3: .* must hold at least one point; got none"),
        (
            np.full((5, 3), np.nan),
            "sample 3: .* must hold at least one point; got only points with",
        ),
    ],
)
def test_what_is_no_set_is_refused_by_name(value, message):
    x = [normal(9, 3, seed=n) for n in range(6)]
    spec, _ = infer(x)
    x[3] = value
    with pytest.raises(DataError, match=message) as caught:
        read(spec, x)
    assert caught.value.sample == 3
    if value is None:
        infer(x)  # a field that a sample of a mixture lacks
    else:
        with pytest.raises(DataError, match=message):
            infer(x)


def test_points_too_far_for_float32_are_refused_by_name():
    x = normal(8, 30, 4)
    spec, _ = infer(x)
    x[2, 4, 3] = 1e12
    with pytest.raises(DataError, match=r"sample 2: .* within 1e.09 standard deviations.* units"):
        read(spec, x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (normal(8, 30), "must hold an array .points, values of a point. per sample"),
        (normal(8, 3, 3, 3), "must hold an array .points, values of a point. per sample"),
        (np.array(["a", "b"], dtype=object), "must hold an array .points, values of a point."),
        (np.ones((8, 30, 3)), "points must lie in different places"),
        (normal(8, 1, 3), "sets must have at least 2 points; got 1"),
        ([None, None], "must hold an array"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(x, message):
    with pytest.raises(DataError, match=message):
        infer(x)


def test_groups_that_are_all_alike_teach_nothing_without_features():
    pair = np.array([[0.0, 0], [1, 0]])
    x = np.concatenate([pair, pair[::-1]]).reshape(2, 2, 2)
    twins = np.zeros((4, 4, 2))
    twins[:, ::2] = 1  # two places, two points each: groups of two are equal points
    with pytest.raises(DataError, match="groups of points must differ; got 8 that are alike"):
        infer(twins, dims=2, groups=2, group_size=2)
    spec, _ = infer(x, dims=2, groups=2, group_size=2)
    assert spec.scale > 0
    coloured = np.concatenate([twins, normal(4, 4, 1)], axis=-1)
    spec, _ = infer(coloured, dims=2, groups=2, group_size=2)
    assert spec.tokenizer(4).baseline(read(spec, coloured)).isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dims": 4}, "Points.dims must be 2 or 3; got 4"),
        ({"dims": True}, "Points.dims must be 2 or 3; got True"),
        ({"normalise": "set"}, "Points.normalise must be one of its known values; got 'set'"),
        ({"groups": 1}, "Points.groups must be a whole number of at least 2; got 1"),
        ({"groups": "many"}, "Points.groups must be a whole number of at least 2; got 'many'"),
        ({"groups": 31}, "Points.groups must be at most 30, the points of the largest set"),
        ({"group_size": 1}, "Points.group_size must be a whole number of at least 2; got 1"),
        ({"group_size": 40}, "Points.group_size must be at most 30, the points of the largest"),
        ({"max_points": 1}, "Points.max_points must be a whole number of at least 2; got 1"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        infer(normal(4, 30, 3), **settings)


def test_coordinates_must_be_there():
    with pytest.raises(ConfigError, match=r"at most the 2 values that a point has; got 3. dims=2"):
        infer(normal(4, 30, 2))
    with pytest.raises(DataError, match="must come from one field; got 2: a, b"):
        Points.infer(
            Records({"a": normal(4, 30, 3), "b": np.ones(4)}, "data"), np.random.default_rng(0)
        )
