"""A map of embeddings: places on the plane, nearest neighbours, and colours.

S is the number of samples, D the width of their embeddings, K the number of neighbours.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.core.checks import check_one_of
from metamae.errors import DataError

Array = NDArray[Any]
Floats = NDArray[np.float32]
Index = NDArray[np.int64]

WAYS = ("pca", "tsne")
MOST_FOR_TSNE = 5000  # samples; its time grows faster than their number
NEAREST = 8  # K
CATEGORIES = 10  # colours that an eye tells apart
OTHER = "other"
MISSING = "missing"


@dataclass(frozen=True)
class Layout:
    """Where samples lie on the plane and who lies near whom.

    Attributes:
        places: (S, 2).
        near: The nearest neighbours of each sample, the nearest first, (S, K).
        likeness: Cosine of the angle to each of them, (S, K).
        how: How the map was made, in one sentence.
    """

    places: Floats
    near: Index
    likeness: Floats
    how: str

    @property
    def typicality(self) -> Floats:
        """Mean likeness to the nearest neighbours, (S,): how crowded the place of a sample is."""
        mean: Floats = self.likeness.mean(axis=1)
        return mean


@dataclass(frozen=True)
class Colour:
    """A field that points can be coloured by.

    Attributes:
        name: Of the field.
        categories: Names of its categories; empty for numbers.
        codes: Position of each sample's category, (S,).
        numbers: Value of each sample, NaN where it is missing, (S,); empty for categories.
        given: Whether it is an input, which the picture of a sample shows anyway.
    """

    name: str
    categories: tuple[str, ...]
    codes: NDArray[np.uint8]
    numbers: Floats
    given: bool = False


def lay_out(vectors: Floats, *, way: str = "pca", seed: int = 0) -> Layout:
    """Put embeddings (S, D) on the plane and find the neighbours of each in all D dimensions.

    Args:
        vectors: One per sample, at least 3.
        way: "pca", or "tsne" for at most 5,000 samples.
        seed: Of what is random.

    Raises:
        ConfigError: If there is no such way.
        DataError: If there are too few samples, or too many for the way.
    """
    check_one_of("Report.map", way, WAYS)
    if len(vectors) < 3:
        raise DataError(f"A map must show at least 3 samples; got {len(vectors)}.")
    if way == "tsne" and len(vectors) > MOST_FOR_TSNE:
        raise DataError(
            f"Report.points must be at most {MOST_FOR_TSNE} for a map by t-SNE; got "
            f"{len(vectors)}. --points {MOST_FOR_TSNE} or --map pca would do."
        )
    places, how = _pca(vectors, seed) if way == "pca" else _tsne(vectors, seed)
    near, likeness = _neighbours(vectors)
    return Layout(places, near, likeness, how)


def _pca(vectors: Floats, seed: int) -> tuple[Floats, str]:
    from sklearn.decomposition import PCA

    width = vectors.shape[1]
    if width < 2 or not np.ptp(vectors, axis=0).any():
        flat = np.pad(vectors, ((0, 0), (0, max(0, 2 - width))))[:, :2]
        return flat.astype(np.float32), "The embeddings span no plane; the map shows them as is."
    pca = PCA(2, random_state=seed)
    places = pca.fit_transform(vectors.astype(np.float64)).astype(np.float32)
    kept = float(pca.explained_variance_ratio_.sum())
    return places, (
        f"The plane of the first two principal components, which holds {kept:.0%} of the variance "
        f"of the embeddings; samples that lie on each other here may be apart in the other "
        f"{width - 2} dimensions."
    )


def _tsne(vectors: Floats, seed: int) -> tuple[Floats, str]:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    with warnings.catch_warnings():
        # Equal embeddings have no principal axis; the map is then a heap, which says so too.
        warnings.simplefilter("ignore", RuntimeWarning)
        places = TSNE(2, perplexity=perplexity, random_state=seed).fit_transform(vectors)
    return places.astype(np.float32), (
        f"By t-SNE with perplexity {perplexity:.0f}: who is near whom is kept, distances and the "
        f"sizes of clusters are not."
    )


def _neighbours(vectors: Floats) -> tuple[Index, Floats]:
    """Nearest neighbours by the cosine of centred embeddings, (S, K) each."""
    from sklearn.neighbors import NearestNeighbors

    # A large vector that all share would make everything alike.
    unit = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    most = min(NEAREST, len(vectors) - 1)
    search = NearestNeighbors(n_neighbors=most, algorithm="brute").fit(unit)
    distance, near = search.kneighbors()
    # Between unit vectors.
    return near.astype(np.int64), (1 - distance**2 / 2).astype(np.float32)


def colour_by(name: str, values: Array) -> Colour | None:
    """Make a field a colour: numbers as they are, all else as categories, the rarest as one.

    Args:
        name: Of the field.
        values: One per sample, (S,): numbers, truth values or strings; None or NaN if missing.

    Returns:
        The colour, or None for a field that says nothing (all equal, or all different texts) and
        for one of other values, such as dates or arrays.
    """
    plain = values.tolist()
    gone = np.array([v is None or (isinstance(v, float) and v != v) for v in plain], dtype=bool)
    one_each = all(isinstance(v, str | int | float | None) for v in plain)
    if gone.all() or not one_each:
        return None
    present = values[~gone]
    if values.dtype.kind in "iuf" and len(np.unique(present)) > CATEGORIES:
        numbers = np.where(gone, np.nan, values).astype(np.float32)
        return Colour(name, (), np.empty(0, dtype=np.uint8), numbers)
    texts = np.array([_text(v) for v in present.tolist()], dtype=object)
    names, belongs, counts = np.unique(texts, return_inverse=True, return_counts=True)
    if len(names) < 2 or (len(names) > CATEGORIES and counts.max() < 3):
        return None
    return _categories(name, names, belongs, counts, gone)


def _categories(name: str, names: Array, belongs: Array, counts: Array, gone: Array) -> Colour:
    kept = np.sort(np.argsort(-counts, kind="stable")[:CATEGORIES])
    if all(_is_number(text) for text in names[kept]):
        kept = np.array(sorted(kept, key=lambda at: float(names[at])))
    place = np.full(len(names), len(kept))
    place[kept] = np.arange(len(kept))
    codes = np.full(len(gone), len(kept) + 1)
    codes[~gone] = place[belongs]
    rest = [text for at, text in ((len(kept), OTHER), (len(kept) + 1, MISSING)) if at in codes]
    if len(rest) == 1:
        codes = np.minimum(codes, len(kept))
    shown = (*(str(n) for n in names[kept]), *rest)
    return Colour(name, shown, codes.astype(np.uint8), np.empty(0, dtype=np.float32))


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
