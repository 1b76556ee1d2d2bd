"""Detection from a run and files: scores, thresholds, labels, and what is refused."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from conftest import walks
from metamae.encoder.pretrained import load
from metamae.errors import ArtifactError, ConfigError, DataError
from metamae.uses.detect.detect import detect

RUNS = ["series", "table", "words", "images"]
FILES = {"series": "series.npz", "table": "table.csv", "words": "words.csv", "images": "images"}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Series of which the last third is shifted, with a label; and more normal ones."""
    folder = tmp_path_factory.mktemp("odd")
    x = walks(90, 2, 16, seed=5)
    x[60:] += 40
    group = np.repeat(np.arange(30), 3)
    np.savez(
        folder / "odd.npz",
        X=x,
        y=np.repeat([0, 0, 1], 30),
        name=np.repeat(list("aab"), 30),
        group=group,
    )
    np.savez(folder / "normal.npz", X=walks(120, 2, 16, seed=6), group=np.arange(120) // 4)
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_every_modality_is_scored_and_written(name, data, runs, tmp_path):
    out = tmp_path / "scores.parquet"
    found = detect(
        runs / name,
        data / FILES[name],
        out,
        by=("memory", "mahalanobis", "reconstruction"),
        false_alarms=0.1,
    )
    assert list(found.findings) == [
        "memory",
        "mahalanobis",
        "reconstruction_after",
        "reconstruction_before",
    ]
    assert len(found.baselines) == 3
    table = pq.read_table(out)
    assert table.num_rows == len(found.names)
    assert table["sample"].to_pylist() == found.names
    tokens = table["memory_tokens"].to_pylist()
    assert all(len(row) >= 1 for row in tokens)
    np.testing.assert_allclose(table["memory"].to_numpy(), found.findings["memory"].samples)
    # The training data of the run were taken to be normal, and scored: both are said.
    assert "taken to be normal" in found.notes[0]
    assert "too low" in found.notes[1]
    shown, heat = found.heat([2, 5])
    assert len(shown) == len(heat) == 2


def test_shifted_series_are_told_from_others_and_alarms_are_few(odd, runs):
    found = detect(
        runs / "series",
        odd / "odd.npz",
        normal=odd / "normal.npz",
        label="y",
        by=("memory", "mahalanobis", "reconstruction"),
        false_alarms=0.05,
    )
    assert found.unusual.sum() == 30
    assert found.num_fitted == 84
    for one in found.all.values():
        assert one.told.auroc_interval[0] <= one.told.auroc <= one.told.auroc_interval[1]
        assert one.alarm.num_normal == 36
        assert (one.raised & ~found.unusual).sum() <= 12
    assert found.findings["memory"].told.auroc > 0.9
    assert found.baselines["raw_knn"].told.auroc > 0.9
    assert set(found.strangest(10, "raw_knn").tolist()) <= set(range(60, 90))
    json.dumps(found.to_dict())
    assert found.notes == ()


def test_a_label_may_name_what_is_normal_and_groups_stay_together(odd, runs):
    series, normal = odd / "odd.npz", odd / "normal.npz"
    options = {"normal": normal, "by": ("mahalanobis",), "false_alarms": 0.1}
    named = detect(runs / "series", series, label="name", normal_value="a", **options)
    coded = detect(runs / "series", series, label="y", **options)
    assert named.findings["mahalanobis"].told == coded.findings["mahalanobis"].told
    grouped = detect(runs / "series", series, label="y", group="group", **options)
    # Groups of four: some are learnt from, others give the threshold.
    assert grouped.num_fitted % 4 == 0
    assert grouped.findings["mahalanobis"].alarm.num_normal % 4 == 0


def test_the_same_seed_gives_the_same_scores(odd, runs):
    options = {"normal": odd / "normal.npz", "by": ("flow",), "seed": 3}
    one, two = (detect(runs / "series", odd / "odd.npz", **options) for _ in range(2))
    np.testing.assert_array_equal(one.findings["flow"].samples, two.findings["flow"].samples)
    # 36 normal samples cannot promise one false alarm in a hundred.
    assert not one.findings["flow"].raised.any()
    assert "no threshold can promise" in one.notes[-1]


def test_a_csv_holds_scores_without_tokens(odd, runs, tmp_path):
    out = tmp_path / "scores.csv"
    detect(runs / "series", odd / "odd.npz", out, normal=odd / "normal.npz", by=("mahalanobis",))
    header, *rows = out.read_text().splitlines()
    assert header.startswith('"sample","mahalanobis","mahalanobis_alarm","raw_mahalanobis"')
    assert len(rows) == 90
    with pytest.raises(ArtifactError, match="must not exist yet"):
        detect(runs / "series", odd / "odd.npz", out)


def test_what_is_refused(odd, runs, data, tmp_path):
    with pytest.raises(ConfigError, match=r"Detect.strangest must come with a page.*--page"):
        detect(runs / "series", data / "series.npz", strangest=3)
    series = odd / "odd.npz"
    with pytest.raises(ConfigError, match=r"Unknown detector 'flo'. Did you mean 'flow'"):
        detect(runs / "series", series, by=("flo",))
    with pytest.raises(ConfigError, match=r"Detect.false_alarms must be a number strictly between"):
        detect(runs / "series", series, false_alarms=1.0)
    with pytest.raises(ConfigError, match=r"Detect.out must end in a known kind of file"):
        detect(runs / "series", series, tmp_path / "scores.npy")
    with pytest.raises(DataError, match="by 0 and 1 or by --normal-value; got the values a, b"):
        detect(runs / "series", series, label="name", by=("mahalanobis",))
    with pytest.raises(DataError, match="Label 'a' must not have been an input"):
        detect(runs / "table", data / "table.csv", label="a")
    few = load(runs / "series")
    with pytest.raises(DataError, match="at least 4 normal samples; got 2"):
        detect(few, series, normal=walks(2, 2, 16))
