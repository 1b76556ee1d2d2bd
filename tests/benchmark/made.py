"""Problems for processes of their own, which need functions of a module."""

import os

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import Published
from metamae.data.records import Records
from metamae.errors import DataError


def records(num=80, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(num) % 2
    return Records(
        {
            "X": rng.normal(size=(num, 2, 24)) + y[:, None, None],
            "y": y,
            "person": np.arange(num) // 8,
        },
        "made",
    )


def published(name="made", group="person", **more):
    challenge = Challenge(name=name, records=records(), label="y", group=group, **more)
    return Published(pretrain=None, challenges=[challenge])


def not_installed():
    raise DataError("made: the package must be installed; it is not.")


def ends():
    os._exit(9)
