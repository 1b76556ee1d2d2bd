"""The scikit-learn face: `Embedder` is a transformer like any other."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from metamae.data.readers import read
from metamae.data.records import Records
from metamae.encoder.pretrained import Pretrained
from metamae.errors import DataError
from metamae.pretraining.pretrain import pretrain


class Embedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Learn an encoder from unlabelled samples in `fit`; turn samples into vectors in `transform`.

    Samples may be an array (samples, features), an array of series (samples, channels, length),
    images or volumes, a DataFrame, a dict of columns, or a list of strings. NaN marks what is
    missing.

    Parameters:
        method: "metamae", or another that `metamae list methods` names.
        size: "tiny", "small", "base", "paper" or "auto".
        modality: What a sample is, e.g. "series", "image", "audio", "symbols", "table", "points" or
            "mixture"; or "auto".
        masking: "random", or another that `metamae list maskings` names.
        max_minutes: Time to train.
        max_steps: Optimiser steps, instead of minutes; 2,000 if neither is given.
        settings: Any other setting by name, e.g. {"inner_lr": 0.1, "cell": 4}.
        device: "cpu", "cuda" or "auto".
        random_state: Seed, a RandomState, or None for one drawn anew at each fit.

    Attributes:
        pretrained_: The encoder, with `embed`, `reconstruct` and the torch module.
        n_features_in_: Features of the training samples, for two-dimensional input.
        feature_names_in_: Names of the columns, if the training data were a DataFrame.
    """

    def __init__(
        self,
        method: str = "metamae",
        size: str = "auto",
        modality: str = "auto",
        masking: str = "random",
        max_minutes: float | None = None,
        max_steps: int | None = None,
        settings: Mapping[str, Any] | None = None,
        device: str = "auto",
        random_state: Any = None,
    ):
        self.method = method
        self.size = size
        self.modality = modality
        self.masking = masking
        self.max_minutes = max_minutes
        self.max_steps = max_steps
        self.settings = settings
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "Embedder":
        """Learn an encoder.

        Args:
            X: Samples.
            y: Not used; there so that pipelines work.

        Raises:
            ConfigError: If a parameter is refused.
            DataError: If the samples cannot be learnt from.
        """
        records = self._records(X, fitting=True)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        budget = {"minutes": self.max_minutes, "steps": self.max_steps}
        chosen = {
            "method": self.method,
            "size": self.size,
            "modality": self.modality,
            "masking": self.masking,
            "seed": seed,
            **{k: v for k, v in budget.items() if v is not None},
        }
        self.pretrained_: Pretrained
        self.pretrained_, _ = pretrain(
            records, settings={**chosen, **(self.settings or {})}, device=self.device
        )
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed samples, (samples, width).

        Raises:
            NotFittedError: If `fit` was not called.
            DataError: If the samples are not like those of the training.
        """
        check_is_fitted(self, "pretrained_")
        vectors = self.pretrained_.embed(self._records(X, fitting=False))
        assert isinstance(vectors, np.ndarray)
        return vectors

    @property
    def _n_features_out(self) -> int:
        return int(self.pretrained_.embedding_width)

    def _records(self, X: Any, *, fitting: bool) -> Records:
        """Check samples the way scikit-learn does where it knows their form."""
        # One kind of sparse matrix is a dict, and no columns.
        if isinstance(X, Records | Mapping) and not hasattr(X, "toarray"):
            return read(X)
        if hasattr(X, "columns"):
            validate_data(self, X, reset=fitting, skip_check_array=True)
            return read(X)
        if hasattr(X, "__arrow_c_stream__"):
            X = np.asarray(X)  # one column of a data frame, of whatever library
        if not _numeric(X):
            return read(X)
        array = validate_data(
            self,
            X,
            reset=fitting,
            dtype="numeric",
            allow_nd=True,
            ensure_all_finite="allow-nan",
            ensure_min_samples=2 if fitting else 1,
        )
        if array.ndim == 2 and array.shape[1] < 2:
            raise DataError(
                f"Embedder needs samples of at least 2 features, to predict one from another; got "
                f"{array.shape[1]} feature(s) (shape={array.shape}). Add columns, or put several "
                f"values into one sample."
            )
        return read({"X": array})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.three_d_array = True
        # Vectors are float32 whatever came in.
        tags.transformer_tags.preserves_dtype = []
        return tags


def _numeric(X: Any) -> bool:
    """Whether samples are numbers, or a form that scikit-learn's own checks know best."""
    if isinstance(X, list | tuple):
        return not X or not isinstance(X[0], str | np.ndarray | None)
    kind = getattr(getattr(X, "dtype", None), "kind", None)
    if kind == "O":
        return getattr(X, "ndim", 0) != 1
    return kind != "U"
