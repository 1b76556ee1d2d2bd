"""Few-shot episodes: what is drawn, what is compared, and the adapter against autograd."""

import numpy as np
import pytest
import torch

from metamae.errors import ConfigError, DataError
from metamae.uses.fewshot.episodes import (
    DECAY,
    ITERATIONS,
    LR,
    MOMENTUM,
    TEMPERATURE,
    Episode,
    Sampler,
    accuracy,
    adapt,
    prepare,
    unit,
)

LABELS = np.repeat([0, 1, 2, -1], 12)


def test_an_episode_holds_different_samples_of_its_classes():
    sampler = Sampler(LABELS, ways=2, shots=3, queries=5)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(30):
        episode = sampler.draw(rng)
        assert episode.shots.shape == (2, 3) and episode.queries.shape == (2, 5)
        classes = [set(LABELS[row]) for row in np.hstack([episode.shots, episode.queries])]
        assert all(len(c) == 1 for c in classes) and classes[0] != classes[1]
        every = np.hstack([episode.shots, episode.queries]).ravel().tolist()
        assert len(set(every)) == len(every)
        seen |= classes[0] | classes[1]
    assert seen == {0, 1, 2}


def test_few_queries_are_taken_twice_and_never_a_shot():
    episode = Sampler(LABELS, ways=3, shots=10, queries=7).draw(np.random.default_rng(0))
    for shots, queries in zip(episode.shots, episode.queries, strict=True):
        assert len(set(queries.tolist())) == 2 and not set(shots) & set(queries)


def test_no_group_is_on_both_sides():
    groups = np.tile(np.repeat(np.arange(4), 3), 4)
    sampler = Sampler(LABELS, ways=3, shots=4, queries=5, groups=groups)
    rng = np.random.default_rng(0)
    for _ in range(20):
        episode = sampler.draw(rng)
        for shots, queries in zip(episode.shots, episode.queries, strict=True):
            assert not set(groups[shots]) & set(groups[queries])
            assert len(set(groups[shots])) == 2


@pytest.mark.parametrize(
    ("settings", "error", "rule"),
    [
        ({"ways": 1}, ConfigError, r"FewShot\.ways must be .* at least 2; got 1"),
        ({"shots": 0}, ConfigError, r"FewShot\.shots must be"),
        ({"ways": 4}, DataError, r"FewShot\.ways must be .* got 4 for 3\. 3 would do"),
        ({"ways": 2, "shots": 12}, DataError, r"got 2 for 0\. Other labels would do"),
        ({"ways": 2, "groups": LABELS}, DataError, r"of two groups or more; got 2 for 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings, error, rule):
    with pytest.raises(error, match=rule):
        Sampler(LABELS, **settings)


def test_separable_classes_are_told_apart_and_noise_is_not():
    rng = np.random.default_rng(0)
    sampler = Sampler(LABELS, ways=3, shots=2, queries=5)
    noise = prepare(rng.normal(size=(48, 6)), columns=True)
    apart = noise + 20 * np.eye(6)[np.maximum(LABELS, 0)]
    for adapter in (False, True):
        scores = [
            [accuracy(x, sampler.draw(rng), adapter=adapter) for _ in range(100)]
            for x in (apart, noise)
        ]
        assert np.mean(scores[0]) == 1
        assert np.mean(scores[1]) == pytest.approx(1 / 3, abs=0.06)


def test_scale_of_a_column_does_not_matter_where_columns_are_scaled():
    x = np.random.default_rng(0).normal(size=(48, 4))
    x[:, 3] = 7.0  # a constant stays harmless
    np.testing.assert_allclose(prepare(x, columns=True), prepare(x * [1, 1e3, 5, 2], columns=True))
    assert not np.allclose(prepare(x, columns=False), prepare(x * [1, 1e3, 5, 2], columns=False))


def test_the_nearest_prototype_is_that_of_the_highest_cosine():
    features = np.array([[1.0, 0], [0, 1], [3, 1], [1, 9], [0, 0]])
    episode = Episode(np.array([[0], [1]]), np.array([[2, 3], [3, 2]]))
    assert accuracy(features, episode, adapter=False) == 0.5
    assert np.array_equal(unit(features)[4], [0, 0])


def test_the_adapter_goes_down_the_gradient_of_its_loss():
    """Written out with torch's own derivative."""
    shots = np.random.default_rng(0).normal(size=(3, 4, 5))
    x = torch.from_numpy(unit(shots).reshape(12, 5))
    own = torch.arange(3).repeat_interleave(4)
    change = torch.eye(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([change], lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    for _ in range(ITERATIONS):
        z = torch.nn.functional.normalize(x @ change, dim=1)
        prototypes = torch.stack([z[own == c].mean(dim=0) for c in range(3)])
        loss = torch.nn.functional.cross_entropy(z @ prototypes.T / TEMPERATURE, own)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(adapt(shots), change.detach().numpy(), rtol=1e-9, atol=1e-12)
    assert not np.allclose(adapt(shots), np.eye(5), atol=1e-2)
