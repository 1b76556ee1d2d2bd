"""`Embedder` as a scikit-learn transformer."""

import pickle
import signal
import threading

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import metamae
from command import TINY
from metamae import ConfigError, DataError, Embedder, Records


def make(**settings):
    return Embedder(**{"max_steps": 2, "settings": TINY, "random_state": 0, **settings})


@parametrize_with_checks([make(size="tiny")])
def test_check_estimator(estimator, check):
    check(estimator)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def frame(num=40):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "number": rng.normal(size=num),
            "gaps": np.where(rng.random(num) < 0.3, np.nan, rng.normal(size=num)),
            "words": rng.choice(np.array(["x", "y", None], dtype=object), num),
            "category": pd.Categorical(rng.choice(["p", "q"], num)),
            "flag": rng.random(num) < 0.5,
        }
    )


TEXTS = ["ACGTACGT", "GGTA", "TTACG", "A"] * 10
# Name -> samples, and what the modality is taken for.
SAMPLES = {
    "rows": (lambda: numbers(40, 5), "table"),
    "rows with gaps": (lambda: np.where(numbers(40, 5) > 1, np.nan, numbers(40, 5)), "table"),
    "lists of numbers": (lambda: numbers(40, 5).tolist(), "table"),
    "series": (lambda: numbers(40, 2, 16), "grid"),
    "a list of series": (lambda: list(numbers(40, 2, 16)), "grid"),
    "images": (lambda: (numbers(40, 8, 8, 3) * 20 + 128).astype(np.uint8), "grid"),
    "volumes": (lambda: numbers(40, 1, 4, 4, 40), "grid"),
    "tensors": (lambda: torch.from_numpy(numbers(40, 2, 16)), "grid"),
    "texts": (lambda: TEXTS, "symbols"),
    "an array of texts": (lambda: np.array(TEXTS), "symbols"),
    "objects that are texts": (lambda: np.array(TEXTS, dtype=object), "symbols"),
    "a pandas column": (lambda: pd.Series(TEXTS), "symbols"),
    "a polars column": (lambda: pl.Series(TEXTS), "symbols"),
    "codes of unequal length": (
        lambda: [np.arange(3 + n % 5) % 4 for n in range(40)],
        "symbols",
    ),
    "a pandas frame": (frame, "table"),
    "a polars frame": (lambda: pl.from_pandas(frame()), "table"),
    "columns": (lambda: {"a": numbers(40), "b": numbers(40, seed=1)}, "table"),
    "records": (lambda: Records({"X": numbers(40, 2, 16)}, "x"), "grid"),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_of_all_sorts(name):
    samples, kind = SAMPLES[name][0](), SAMPLES[name][1]
    embedder = make()
    vectors = embedder.fit_transform(samples)
    width = embedder.pretrained_.schema.modality.embedding_width(16)
    assert vectors.shape == (40, width) and vectors.dtype == np.float32
    assert len(embedder.get_feature_names_out()) == width
    assert np.isfinite(vectors).all() and vectors.std(axis=0).max() > 0
    assert embedder.pretrained_.schema.modality.kind == kind
    assert np.array_equal(embedder.transform(samples), vectors)


def test_all_columns_of_a_frame_are_used():
    for samples in (frame(), pl.from_pandas(frame())):
        measured = make().fit(samples).pretrained_.schema.modality.measured
        assert [column.name for column in measured] == list(frame())
        assert [bool(column.categories) for column in measured] == [False, False, True, True, True]


def test_a_fit_follows_from_its_random_state():
    x = numbers(40, 5)
    a, b, c = (make(random_state=state).fit_transform(x) for state in (3, 3, 4))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    state = np.random.RandomState(3)
    d, e = (make(random_state=state).fit_transform(x) for _ in range(2))
    assert np.array_equal(a, d) and not np.array_equal(d, e)
    assert not np.array_equal(*(make(random_state=None).fit_transform(x) for _ in range(2)))


def test_labels_are_not_looked_at():
    x = numbers(40, 5)
    assert np.array_equal(make().fit(x, np.arange(40)).transform(x), make().fit(x).transform(x))


def test_a_clone_is_unfitted_and_fits_the_same():
    x = numbers(40, 5)
    embedder = make(method="mae").fit(x)
    copy = clone(embedder)
    assert copy.get_params() == embedder.get_params() and not hasattr(copy, "pretrained_")
    assert np.array_equal(copy.fit(x).transform(x), embedder.transform(x))


def test_a_pickle_gives_the_same_vectors():
    x = frame()
    embedder = make().fit(x)
    again = pickle.loads(pickle.dumps(embedder))
    assert np.array_equal(again.transform(x), embedder.transform(x))
    assert again.feature_names_in_.tolist() == list(x)


def test_names_of_features():
    x = frame()
    embedder = make().fit(x)
    names = [f"embedder{n}" for n in range(16)]
    assert embedder.get_feature_names_out().tolist() == names
    assert embedder.n_features_in_ == 5
    found = embedder.set_output(transform="pandas").transform(x)
    assert isinstance(found, pd.DataFrame) and list(found) == names
    assert found.index.equals(x.index)
    found = embedder.set_output(transform="polars").transform(pl.from_pandas(x))
    assert isinstance(found, pl.DataFrame) and found.columns == names


def test_pipelines_searches_and_cross_validation():
    x = numbers(60, 5)
    y = (x[:, 0] > 0).astype(int)
    pipeline = make_pipeline(StandardScaler(), make(), LogisticRegression(max_iter=500))
    assert cross_val_score(pipeline, x, y, cv=2).shape == (2,)
    search = GridSearchCV(pipeline, {"embedder__method": ["mae", "metamae"]}, cv=2).fit(x, y)
    assert search.best_params_["embedder__method"] in ("mae", "metamae")


def test_parameters_reach_the_run():
    embedder = make(
        method="mae",
        masking="block",
        modality="series",
        size="tiny",
        settings={**TINY, "cell": 4, "lr": 0.25},
    )
    config = embedder.fit(numbers(40, 2, 16)).pretrained_.config
    assert (config.method, config.masking, config.size) == ("mae", "block", "tiny")
    assert (config.train.steps, config.train.lr) == (2, 0.25)
    assert config.settings["modality"] == {"cell": 4}
    minutes = make(max_steps=None, max_minutes=0.001).fit(numbers(40, 5))
    assert minutes.pretrained_.config.train.minutes == 0.001


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "metamea"}, "Unknown method 'metamea'. Did you mean 'metamae'"),
        ({"size": "huge"}, "Pretrain.size must be one of its known values"),
        ({"modality": "odour"}, "Pretrain.modality must be one of its known values"),
        ({"masking": "blok"}, "Unknown masking 'blok'"),
        ({"max_steps": 0}, "Train.steps must be a whole number of at least 1"),
        ({"max_minutes": 1}, "one budget"),
        ({"device": "cuda:9"}, "device must be one that this machine has"),
        ({"settings": {"lrr": 1}}, "Unknown setting 'lrr'. Did you mean 'lr'"),
    ],
)
def test_bad_parameters_are_named_when_fitting(parameters, message):
    embedder = make(**parameters)
    with pytest.raises(ConfigError, match=message):
        embedder.fit(numbers(40, 5))
    with pytest.raises(NotFittedError):
        embedder.transform(numbers(40, 5))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.full((40, 5), np.inf), "infinity"),
        (numbers(40), "Expected 2D array, got 1D array"),
        (numbers(1, 5), "minimum of 2 is required"),
        (numbers(40, 1), "at least 2 features"),
        (["", "", ""], "at least 2 different symbols"),
        ([*TEXTS, None], "got a missing value"),
        (pd.DataFrame({"a": np.ones(9), "b": np.ones(9)}), "at least 2 columns that vary"),
        ("series.npz", "2D array"),
        (None, "2D array"),
    ],
)
def test_bad_samples_are_named(samples, message):
    with pytest.raises(ValueError, match=message):
        make().fit(samples)


def test_samples_unlike_those_of_the_training():
    x = numbers(40, 2, 16)
    embedder = make().fit(x)
    with pytest.raises(ValueError, match="expecting 2 features"):
        embedder.transform(numbers(4, 3, 16))
    with pytest.raises(DataError, match=r"as in training; got shape \(2, 15\)"):
        embedder.transform(numbers(4, 2, 15))
    with pytest.raises(DataError, match="sample 1"):
        embedder.transform(np.stack([x[0], np.full((2, 16), np.nan)]))
    embedder = make().fit(frame())
    with pytest.raises(ValueError, match="feature names"):
        embedder.transform(frame()[["number", "gaps"]])
    new = frame().assign(words="never seen")
    assert np.isfinite(embedder.transform(new)).all()


def test_ctrl_c_ends_a_fit_as_it_ends_anything_else(monkeypatch):
    # There is nothing to save, and whoever catches the signal must not go on as if all were well.
    from metamae.training.loop import Run

    step = Run.step

    def interrupted(run, batch):
        signal.raise_signal(signal.SIGINT)
        return step(run, batch)

    monkeypatch.setattr(Run, "step", interrupted)
    embedder = make()
    with pytest.raises(KeyboardInterrupt):
        embedder.fit(numbers(40, 5))
    assert not hasattr(embedder, "pretrained_")
    assert not [t for t in threading.enumerate() if t.name.startswith("metamae-batches")]


def test_what_is_public():
    assert set(metamae.__all__) <= set(dir(metamae))
    for name in metamae.__all__:
        assert getattr(metamae, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = metamae.nothing
