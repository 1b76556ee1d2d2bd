"""What a detector has to beat: the simplest methods on raw features, without any network.

S is the number of samples, F the number of features.
"""

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
Floats = NDArray[np.float64]
MOST_FEATURES = 256  # more are projected on so many principal components
MOST_NORMAL = 20_000  # normal samples that are learnt from
NEIGHBOURS = 5
TREES = 200
NAMES = ("raw_mahalanobis", "raw_knn", "raw_isolation_forest")


class RawDetectors:
    """Mahalanobis distance, distance to the nearest normal samples, and an isolation forest.

    Features are put in standard deviations of the normal samples; those that never vary there
    keep their size, so that a change in one is seen.

    Args:
        normal: Features of normal samples, (S, F).
        seed: Of the forest and of subsamples.
    """

    def __init__(self, normal: Features, seed: int):
        from sklearn.covariance import ledoit_wolf
        from sklearn.decomposition import PCA
        from sklearn.ensemble import IsolationForest
        from sklearn.neighbors import NearestNeighbors

        rng = np.random.default_rng(seed)
        if len(normal) > MOST_NORMAL:
            normal = normal[np.sort(rng.choice(len(normal), MOST_NORMAL, replace=False))]
        self.mean = normal.mean(axis=0, dtype=np.float64)
        spread = normal.std(axis=0, dtype=np.float64)
        self.spread = np.where(spread > 1e-9, spread, 1.0)
        self.pca = None
        rows = (normal - self.mean) / self.spread
        if rows.shape[1] > MOST_FEATURES:
            most = min(MOST_FEATURES, len(rows) - 1)
            self.pca = PCA(most, svd_solver="auto", random_state=seed).fit(rows)
            rows = self.pca.transform(rows)
        self.centre = rows.mean(axis=0)
        covariance, _ = ledoit_wolf(rows)
        values, vectors = np.linalg.eigh(covariance)
        self.whiten = vectors / np.sqrt(np.maximum(values, 1e-9 * max(values[-1], 1e-12)))
        self.near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(rows))).fit(rows)
        self.forest = IsolationForest(n_estimators=TREES, random_state=seed).fit(rows)

    def score(self, features: Features) -> dict[str, Floats]:
        """Score samples, name -> (S,); higher is stranger."""
        rows = (features - self.mean) / self.spread
        if self.pca is not None:
            rows = self.pca.transform(rows)
        white = (rows - self.centre) @ self.whiten
        found = (
            (white**2).mean(axis=1),
            self.near.kneighbors(rows)[0].mean(axis=1),
            -self.forest.score_samples(rows),
        )
        return dict(zip(NAMES, found, strict=True))
