"""Known values hidden on purpose, so that what is filled in can be compared with the truth."""

import numpy as np
from numpy.typing import NDArray

from metamae.modalities.gaps import Gaps, Holes, Laid

PATTERNS = ("cells", "spans", "columns")
SHARE = 0.1  # of the values that are hidden one by one
GROUPS = 4  # in which columns, or channels, are hidden together


def make_holes(gaps: Gaps, laid: Laid, pattern: str, rng: np.random.Generator) -> list[Holes]:
    """Choose known values to hide; none if a pattern means nothing for this field.

    Args:
        gaps: Those of the field.
        laid: The samples.
        pattern: "cells" hides single values, "spans" a quarter of a sample in one piece along its
            last axis, "columns" columns of a table or channels, a quarter of them at a time.
        rng: Chooses.
    """
    if pattern == "cells":
        found = [
            Holes(
                laid.known & (rng.random(laid.known.shape) < SHARE),
                laid.known_words & (rng.random(laid.known_words.shape) < SHARE),
            )
        ]
    elif pattern == "spans":
        found = gaps.spans(laid, rng)
    else:
        found = _columns(laid, rng)
    kept = [_with_something_left(laid, holes) for holes in found]
    return [holes for holes in kept if holes.numbers.any() or holes.words.any()]


def _columns(laid: Laid, rng: np.random.Generator) -> list[Holes]:
    names = list(dict.fromkeys([*laid.columns, *laid.words]))
    if len(names) < 2:
        return []
    order = rng.permutation(len(names))
    found = []
    for some in np.array_split(order, min(GROUPS, len(names))):
        hidden = {names[n] for n in some}
        numbers = np.array([name in hidden for name in laid.columns], dtype=bool)
        words = np.array([name in hidden for name in laid.words], dtype=bool)
        found.append(Holes(laid.known & numbers, laid.known_words & words))
    return found


def _with_something_left(laid: Laid, holes: Holes) -> Holes:
    """Hide nothing of a sample of which nothing would be left."""
    numbers = (laid.known & ~holes.numbers).any(axis=1)
    words = (laid.known_words & ~holes.words).any(axis=1)
    left: NDArray[np.bool_] = np.asarray(numbers | words)
    return Holes(holes.numbers & left[:, None], holes.words & left[:, None])
