"""The published probe of DABS against a plain optimiser, and where its rate suits."""

import numpy as np
import pytest
import torch

from metamae.evaluation.probes.base import Labelled
from metamae.evaluation.probes.dabs_probe import DabsProbe
from metamae.evaluation.scoring.task import infer_task


def blobs(num=300, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, num)
    features = rng.normal(size=(num, 5)).astype(np.float32)
    features[np.arange(num), codes] += 6
    return features, codes


@pytest.mark.parametrize("values", ["classes", "numbers", "labels"])
def test_it_learns_where_rate_and_epochs_suit(values):
    features, codes = blobs()
    y = {"classes": codes, "numbers": features[:, 0] / 3, "labels": np.eye(3, dtype=int)[codes]}
    task, y = infer_task(y[values], "y")
    probe = DabsProbe(lr=0.05, epochs=60)
    guess = probe.fit_predict(
        Labelled(features[:200], y[:200]), features[200:], task, np.random.default_rng(0)
    )
    if values == "numbers":
        assert np.corrcoef(guess, y[200:])[0, 1] > 0.99
    else:
        right = guess == y[200:] if values == "classes" else (guess > 0) == y[200:]
        assert right.mean() > 0.95


def test_a_step_is_that_of_a_linear_layer_under_adam():
    features, codes = blobs(40)
    task, y = infer_task(codes, "y")
    made = DabsProbe(epochs=2, batch_size=16).fit_predict(
        Labelled(features, y), features, task, np.random.default_rng(3)
    )
    draws = torch.Generator().manual_seed(int(np.random.default_rng(3).integers(2**62)))
    layer = torch.nn.Linear(5, 3)
    with torch.no_grad():
        for value in (layer.weight, layer.bias):
            value.copy_((2 * torch.rand(value.shape, generator=draws) - 1) / 5**0.5)
    adam = torch.optim.AdamW(layer.parameters(), lr=1e-4, weight_decay=1e-4)
    x, target = torch.from_numpy(features), torch.from_numpy(y)
    for _ in range(2):
        for rows in torch.randperm(40, generator=draws).split(16):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[rows]), target[rows]).backward()
            adam.step()
    assert np.array_equal(made, layer(x).argmax(dim=1).numpy())
