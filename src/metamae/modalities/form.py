"""In which form a page draws a sample: the words that modalities and pages share."""

from dataclasses import dataclass

from metamae.errors import DataError

KINDS = ("image", "spectrogram", "volume", "curve", "letters", "row", "points")


@dataclass(frozen=True)
class Form:
    """How a sample, or one part of it, is shown.

    Attributes:
        kind: One of `KINDS`. An image has values (C, H, W), a spectrogram (1, bands, frames), a
            volume (C, depth, H, W), a curve (C, L), a set of points (points, C); letters are a
            list of symbols and a row a list of cells.
        part: Name of the part in a mixture; empty for a whole sample.
        names: Of the cells of a row.
        dims: Coordinates of a point; its further values are features.

    Raises:
        DataError: If there is no such kind.
    """

    kind: str
    part: str = ""
    names: tuple[str, ...] = ()
    dims: int = 2

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"Form.kind must be one of {', '.join(KINDS)}; got {self.kind!r}.")
