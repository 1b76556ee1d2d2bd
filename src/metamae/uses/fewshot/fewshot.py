"""Tell classes apart by a few labelled samples: embeddings beside raw features in episodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metamae.core.checks import check_at_least
from metamae.encoder.labels import check_no_input
from metamae.encoder.pretrained import Pretrained, read_sound, take
from metamae.encoder.representations import represent
from metamae.errors import DataError
from metamae.evaluation.scoring.interval import mean_interval
from metamae.evaluation.scoring.task import infer_task
from metamae.uses.fewshot.episodes import MOST_ADAPTED, Floats, Sampler, accuracy, prepare


@dataclass(frozen=True)
class FewShot:
    """Accuracies in the same episodes, by representation.

    Attributes:
        label: Name of the label.
        ways: Classes of an episode.
        shots: Labelled samples of each class.
        adapter: Whether a linear map was fitted in each episode.
        chance: Accuracy of guessing.
        scores: Representation -> accuracy in each episode, (T,); the run's method first.
    """

    label: str
    ways: int
    shots: int
    adapter: bool
    chance: float
    scores: Mapping[str, Floats]

    @property
    def table(self) -> list[tuple[str, float, float, float]]:
        """Representation, mean accuracy, and the ends of its 95 % interval over episodes."""
        return [(name, float(s.mean()), *mean_interval(s)) for name, s in self.scores.items()]

    @property
    def verdict(self) -> str:
        """One sentence: whether the embedding is better than the best of the others."""
        ours, *others = self.scores
        best = max(others, key=lambda name: float(self.scores[name].mean()))
        difference = self.scores[ours] - self.scores[best]
        low, high = mean_interval(difference)
        word = "helped" if low > 0 else "did not help" if high < 0 else "made no clear difference"
        return (
            f"Pretraining {word}: {ours} minus {best} is {difference.mean():+.3f} "
            f"({low:+.3f} to {high:+.3f})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {
            "label": self.label,
            "ways": self.ways,
            "shots": self.shots,
            "adapter": self.adapter,
            "chance": self.chance,
            "episodes": len(next(iter(self.scores.values()))),
            "verdict": self.verdict,
            "results": [
                {"representation": name, "accuracy": mean, "low": low, "high": high}
                for name, mean, low, high in self.table
            ],
        }


def fewshot(
    run: str | Path | Pretrained,
    data: Any,
    label: str,
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    episodes: int = 600,
    adapter: bool = False,
    group: str | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> FewShot:
    """Compare the embedding with raw features, PCA and the untrained encoder in episodes.

    All four see the same episodes. Principal components and scales are taken from all samples
    without their labels.

    Args:
        run: Folder of a run, or what `load` returned.
        data: Labelled samples.
        label: Name of the label's field; classes.
        ways: Classes of an episode.
        shots: Labelled samples of each class.
        queries: Samples of each class to be told apart.
        episodes: How many are drawn.
        adapter: Whether a linear map is fitted to each episode's labelled samples.
        group: Field that says which samples belong together, e.g. to one person: no group has
            both labelled samples and queries of a class.
        seed: Of the episodes.
        settings: Settings of the reader by name, in place of those of the run.
        device: Where to embed.

    Raises:
        ConfigError: If a number or a setting is refused.
        DataError: If the label is missing, was an input of the encoder, is no class, or has too
            few samples.
        ArtifactError: If the run cannot be loaded.
    """
    check_at_least("FewShot.episodes", episodes, 1)
    check_at_least("FewShot.seed", seed, 0)
    pretrained = take(run, device=device)
    records = read_sound(pretrained, data, 0, settings)
    check_no_input(pretrained, [label])
    every = np.arange(len(records))
    task, labels = infer_task(np.asarray(records[label][every]), label)
    if task.kind != "classification":
        raise DataError(
            f"Label {label!r} must be classes to draw episodes of; got a {task.kind} target. "
            f"metamae evaluate would do."
        )
    groups = None if group is None else np.asarray(records[group][every])
    sampler = Sampler(labels, ways, shots, queries, groups)
    own = pretrained.records(records)
    found = {name: both[0] for name, both in represent(pretrained, own, own, seed=seed).items()}
    features = {name: prepare(rows, columns=name != "pca") for name, rows in found.items()}
    if adapter:
        features = {name: _reduced(rows) for name, rows in features.items()}
    scores = {name: np.empty(episodes) for name in features}
    rng = np.random.default_rng(seed)
    for number in range(episodes):
        episode = sampler.draw(rng)
        for name, rows in features.items():
            scores[name][number] = accuracy(rows, episode, adapter=adapter)
    return FewShot(label, ways, shots, adapter, 1 / ways, scores)


def _reduced(features: Floats) -> Floats:
    """Rotate features onto their first principal components, without a loss if they are few."""
    if features.shape[1] <= MOST_ADAPTED:
        return features
    from sklearn.decomposition import PCA

    pca = PCA(min(MOST_ADAPTED, len(features) - 1), random_state=0)
    found: Floats = pca.fit_transform(features)
    return found
