"""How the parts of a sample are shown: whole, seen in part, or with their strangeness."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.modalities.form import Form


@dataclass(frozen=True)
class Guess:
    """What a method predicts for one part of a sample.

    Attributes:
        values: In the form of the original.
        chances: Probability of each value, between 0 and 1; None for a value that has none.
    """

    values: Any
    chances: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Seen:
    """One part of a sample of which a method saw a part.

    Attributes:
        form: How it is shown.
        original: Its values in the user's units, as `Form` says.
        hidden: True where a value was hidden: of the shape of the original, one per symbol or
            one per cell.
        before: What the method predicts before its inner step.
        after: The same after it; None for a method that has none.
    """

    form: Form
    original: Any
    hidden: NDArray[np.bool_]
    before: Guess
    after: Guess | None = None

    @property
    def guesses(self) -> list[tuple[str, Guess]]:
        """Each prediction with what it is called."""
        if self.after is None:
            return [("completed", self.before)]
        return [("before the inner step", self.before), ("after the inner step", self.after)]


@dataclass(frozen=True)
class Sample:
    """A sample, whole.

    Attributes:
        name: What its source calls it.
        parts: How each part is shown, and its values; a part that is missing is left out.
    """

    name: str
    parts: tuple[tuple[Form, Any], ...]


@dataclass(frozen=True)
class Heated:
    """One part of a sample with the strangeness of each of its places.

    Attributes:
        form: How it is shown.
        values: In the user's units, as `Form` says.
        heat: Strangeness of each value, NaN where there is none: of the shape of the values, one
            per symbol or one per cell.
    """

    form: Form
    values: Any
    heat: NDArray[np.floating[Any]]
