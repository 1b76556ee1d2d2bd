"""What a filled value has to beat: simple guesses, fitted on samples that are whole.

R reference samples, T samples with holes, F numbers of a sample, K words of a sample.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.modalities.gaps import Sheet

Floats = NDArray[np.float64]
NEIGHBOURS = 5
MOST_COLUMNS = 1000  # numbers and one-hot words above which a guess would take too long
MOST_ITERATED = 300  # columns of the iterative guess, which fits each from others in turn
FROM = 20  # columns that each is guessed from where there are more
ROUNDS = 10


def guess(reference: Sheet, holed: Sheet, seed: int) -> dict[str, Sheet]:
    """Fill the holes by each simple way that the data allow.

    Args:
        reference: Samples to learn from.
        holed: Samples to fill.
        seed: Of the iterative guess.

    Returns:
        Name -> filled samples: "mean" (of words the most frequent), "interpolation" of series,
        "knn" and "iterative", both scikit-learn's, words as one-hot numbers.
    """
    found = {"mean": _mean(reference, holed)}
    if holed.lattice is not None and len(holed.lattice) == 2:
        found["interpolation"] = _interpolated(holed, found["mean"])
    coded = _Coded(reference)
    num = coded.num_columns
    if 2 <= num <= MOST_COLUMNS:
        from sklearn.impute import KNNImputer

        found["knn"] = coded.filled(KNNImputer(n_neighbors=NEIGHBOURS), reference, holed)
    if 2 <= num <= MOST_ITERATED:
        # scikit-learn wants to hear that this class may still change.
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401
        from sklearn.impute import IterativeImputer

        few = FROM if num > FROM else None
        imputer = IterativeImputer(max_iter=ROUNDS, n_nearest_features=few, random_state=seed)
        found["iterative"] = coded.filled(imputer, reference, holed, together=True)
    return found


def _mean(reference: Sheet, holed: Sheet) -> Sheet:
    means = _means(reference.numbers)
    numbers = np.where(np.isnan(holed.numbers), means, holed.numbers)
    words = holed.words.copy()
    for column in range(words.shape[1]):
        known = [word for word in reference.words[:, column] if word is not None]
        names, counts = np.unique(known, return_counts=True) if known else ([None], [1])
        gaps = np.array([word is None for word in words[:, column]], dtype=bool)
        words[gaps, column] = names[int(np.argmax(counts))]
    return Sheet(numbers, words)


def _means(numbers: Floats) -> Floats:
    there = ~np.isnan(numbers)
    sums = np.where(there, numbers, 0).sum(axis=0)
    whole = float(sums.sum() / max(1, there.sum()))
    count = there.sum(axis=0)
    return np.where(count > 0, sums / np.maximum(count, 1), whole)


def _interpolated(holed: Sheet, means: Sheet) -> Sheet:
    """Lines between what is known of each channel; the mean where nothing of it is known."""
    assert holed.lattice is not None
    length = holed.lattice[1]
    rows = holed.numbers.reshape(-1, length)
    filled = means.numbers.reshape(-1, length).copy()
    at = np.arange(length)
    for row, line in zip(rows, filled, strict=True):
        known = ~np.isnan(row)
        if known.any() and not known.all():
            line[~known] = np.interp(at[~known], at[known], row[known])
    return Sheet(filled.reshape(len(holed.numbers), -1), means.words)


class _Coded:
    """Rows of numbers in standard deviations, and one-hot words."""

    def __init__(self, reference: Sheet):
        self.mean = _means(reference.numbers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column of which nothing is known
            spread = np.nanstd(reference.numbers, axis=0)
        self.spread = np.where(spread > 0, spread, 1.0)
        columns = reference.words.T
        self.names = [sorted({w for w in column if w is not None}) for column in columns]

    @property
    def num_columns(self) -> int:
        return len(self.mean) + sum(len(names) for names in self.names)

    def filled(
        self, imputer: Any, reference: Sheet, holed: Sheet, *, together: bool = False
    ) -> Sheet:
        """Fill the holes; `together` learns from the samples with holes too.

        Fitted on whole samples alone, the iterative imputer would see nothing change and stop
        after one round, from the mean of all other holes.
        """
        imputer.set_params(keep_empty_features=True)
        known, holes = self._rows(reference), self._rows(holed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rounds are few on purpose
            if together:
                both = imputer.fit_transform(np.concatenate([known, holes]))
                self._classify(both, reference, holed)
                rows = both[len(known) :]
            else:
                rows = imputer.fit(known).transform(holes)
        num = len(self.mean)
        numbers = rows[:, :num] * self.spread + self.mean
        words, start = holed.words.copy(), num
        for column, names in enumerate(self.names):
            best = rows[:, start : start + len(names)].argmax(axis=1)
            start += len(names)
            for row, word in enumerate(words[:, column]):
                if word is None:
                    words[row, column] = names[best[row]]
        numbers = np.where(np.isnan(holed.numbers), numbers, holed.numbers)
        return Sheet(numbers, words)

    def _classify(self, rows: Floats, reference: Sheet, holed: Sheet) -> None:
        """Put in place of the one-hot words what all other columns say of them.

        Each of a word's columns is one minus the others: a regression on them, of which nothing
        is known either, would always say the mean.
        """
        from sklearn.linear_model import LogisticRegression

        words = np.concatenate([reference.words, holed.words])
        start = len(self.mean)
        for column, names in enumerate(self.names):
            own = slice(start, start + len(names))
            start = own.stop
            known = np.array([word is not None for word in words[:, column]], dtype=bool)
            others = np.delete(rows, own, axis=1)
            if known.all() or len(set(words[known, column])) < 2 or not others.shape[1]:
                continue
            model = LogisticRegression(max_iter=200)
            model.fit(others[known], words[known, column].astype(str))
            said = model.predict(others[~known])
            rows[~known, own] = said[:, None] == np.array(names)

    def _rows(self, sheet: Sheet) -> Floats:
        blocks = [(sheet.numbers - self.mean) / self.spread]
        for names, column in zip(self.names, sheet.words.T, strict=True):
            hot = np.array(
                [[np.nan if w is None else float(w == name) for name in names] for w in column]
            )
            blocks.append(hot.reshape(len(column), len(names)))
        return np.concatenate(blocks, axis=1)
