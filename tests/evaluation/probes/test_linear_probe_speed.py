"""The probe on as many embeddings as a user may have."""

import time

import numpy as np
import pytest

from metamae.evaluation.probes.base import Labelled
from metamae.evaluation.probes.linear_probe import LinearProbe
from metamae.evaluation.scoring.task import Task

CLASSES = 10


def embeddings(num, width=256, seed=0):
    """Correlated features of few large and many small directions, and classes that overlap."""
    rng = np.random.default_rng(seed)
    falling = np.exp(-np.arange(width) / 30)
    hidden = rng.normal(size=(num, width))
    y = np.argmax(hidden[:, :CLASSES] + rng.normal(size=(num, CLASSES)), axis=1)
    mixed = (hidden * falling) @ rng.normal(size=(width, width))
    return mixed.astype(np.float32), y


@pytest.mark.slow
def test_fifty_thousand_embeddings_take_less_than_ten_seconds():
    features, y = embeddings(55_000)
    train, task = (
        Labelled(features[:50_000], y[:50_000]),
        Task("classification", (*"abcdefghij",), "y"),
    )
    # The fits run on one thread: the processor's time is that of a machine without other work.
    began = time.process_time()
    found = LinearProbe().fit_predict(train, features[50_000:], task, np.random.default_rng(0))
    seconds = time.process_time() - began
    assert (found == y[50_000:]).mean() > 0.4
    assert seconds < 10
