"""Where something is missing in samples, and a batch in which it can be predicted.

A gap is a value that a user would expect to be there: NaN in a lattice or a table, an empty cell,
a letter that is unknown. What a sample does not have, such as the end of a short one, is no gap.

Letters: B samples, N tokens, G values of a token.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.errors import ConfigError
from metamae.modalities.base import Modality
from metamae.modalities.grid.geometry import pack, to_cells
from metamae.modalities.grid.grid import Grid
from metamae.modalities.mixture.fields import hold
from metamae.modalities.mixture.mixture import Mixture
from metamae.modalities.mixture.slots import find_slots
from metamae.modalities.symbols.symbols import Symbols
from metamae.modalities.table.table import Table
from metamae.model.tokens import Batch

LETTERS = ("character", "code")  # units of which one is one place of a sample


@dataclass(frozen=True)
class Opened:
    """A batch whose missing tokens are there, to be hidden and predicted.

    Attributes:
        batch: The samples.
        empty: True where a token has a gap and no known value, (B, N).
        partly: True where a token has a gap and known values too, (B, N).
    """

    batch: Batch
    empty: Tensor
    partly: Tensor


def parts_of(spec: Modality) -> list[tuple[str, Modality]]:
    """Name and spec of each part of a mixture; of another modality its column and itself."""
    if isinstance(spec, Mixture):
        return list(spec.parts)
    return [("", spec)]


def refusal(part: Modality) -> str | None:
    """Why gaps of this modality cannot be filled; None if they can."""
    if isinstance(part, Table):
        return None
    if isinstance(part, Grid):
        if part.preparation is not None:
            return "values that were prepared (a spectrogram, another rate) cannot be brought back"
        return None
    if isinstance(part, Symbols):
        if part.unit not in LETTERS:
            return "only single characters and codes have a place of their own to fill"
        return None
    return "a set of points has no place that could be empty"


def check_fillable(spec: Modality, blank: str | None) -> None:
    """Raise ConfigError if nothing of a modality can be filled, or the blank is no symbol."""
    for _, part in parts_of(spec):
        if blank is None or not isinstance(part, Symbols) or part.unit not in LETTERS:
            continue
        codes = part.unit == "code"
        if not (blank.removeprefix("-").isdigit() if codes else len(blank) == 1):
            raise ConfigError(
                f"Impute.blank must be one {'code' if codes else 'character'}; got {blank!r}. "
                f"{'0' if codes else 'N'} would do."
            )
    reasons = {name: refusal(part) for name, part in parts_of(spec)}
    if all(reasons.values()):
        shown = "; ".join(f"{name}: {why}" if name else str(why) for name, why in reasons.items())
        raise ConfigError(
            f"Impute needs a table, a lattice of numbers or single symbols; got {spec.kind_word}: "
            f"{shown}."
        )


def has_gaps(part: Modality, records: Records, blank: str | None) -> NDArray[np.bool_]:
    """Say which samples have a gap in a part, (S,); a field that is missing as a whole is one."""
    found = np.zeros(len(records), dtype=bool)
    if refusal(part) is not None:
        return found
    step = max(1, 2**22 // max(1, part.num_tokens))
    for start in range(0, len(records), step):
        index = np.arange(start, min(start + step, len(records)))
        if isinstance(part, Table):
            found[index] = missing_cells(part, records, index).any(axis=1)
        else:
            values = records[part.columns[0]][index]
            found[index] = [_gappy(part, value, blank) for value in values]
    return found


def _gappy(part: Modality, value: Any, blank: str | None) -> bool:
    if isinstance(part, Grid):
        if value is None:
            return not part.ragged
        array = np.asarray(value)
        return array.dtype.kind == "f" and bool(np.isnan(array).any())
    assert isinstance(part, Symbols)
    return value is not None and bool(unknown_letters(part, value, blank).any())


def letters_of(part: Symbols, value: Any) -> Index:
    """Where in one sample its letters or codes stand, (N,): all but the padding code."""
    if part.unit != "code" or part.padding_code is None:
        return np.arange(len(value))
    return np.flatnonzero(np.asarray(value).ravel() != part.padding_code)


def unknown_letters(part: Symbols, value: Any, blank: str | None) -> NDArray[np.bool_]:
    """Say which letters or codes of one sample are unknown, (N,), the padding code left out.

    A letter is unknown if the training data did not hold it, or if it is the `blank`.
    """
    ids, _ = part.vocabulary.encode([value])
    unknown: NDArray[np.bool_] = ids < 0
    if blank is not None and part.unit == "code":
        unknown |= np.asarray(value).ravel()[letters_of(part, value)] == int(blank)
    elif blank is not None:
        unknown |= np.array([letter == blank for letter in value], dtype=bool)
    return unknown


def missing_cells(part: Table, records: Records, index: Index) -> NDArray[np.bool_]:
    """Say which cells of a table are missing, (B, C) in the order of its measured columns."""
    if part.array is not None:
        block = np.asarray(records[part.array][index])
        return np.asarray(_missing(block)[:, [int(column.field) for column in part.measured]])
    by_field = {
        name: _missing(np.asarray(records[name][index]))
        for name in dict.fromkeys(column.field for column in part.measured)
    }
    return np.stack([by_field[column.field] for column in part.measured], axis=1)


def _missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.asarray(np.isnan(values))
    if values.dtype.kind == "M":
        return np.asarray(np.isnat(values))
    if values.dtype == object:
        flat = [v is None or v != v or v == "" for v in values.ravel().tolist()]
        return np.array(flat, dtype=bool).reshape(values.shape)
    return np.zeros(values.shape, dtype=bool)


def open_gaps(spec: Modality, records: Records, index: Index, blank: str | None) -> Opened:
    """Read samples so that what is missing can be predicted.

    Args:
        spec: What a sample is.
        records: Samples, or pieces of them. Of a mixture, some of those read together have each
            field that is to be filled.
        index: Positions, (B,).
        blank: A letter or code that stands for an unknown one.
    """
    batch = dict(spec.batch(records, index))
    if not isinstance(spec, Mixture):
        marks, known = _marks(spec, hold(records, index), batch, blank)
        touched = marks.any(dim=2)
        empty = touched & ~known.any(dim=2)
        _say_there(batch, "valid", known, empty)
        return Opened(batch, empty, touched & ~empty)
    return _open_mixture(spec, records, index, batch, blank)


def _open_mixture(
    spec: Mixture, records: Records, index: Index, batch: Batch, blank: str | None
) -> Opened:
    slots = find_slots(spec.fields, batch)
    num_tokens = max(slot.start + slot.places for slot in slots)
    shape = (len(index), num_tokens)
    valid = batch.get("valid", torch.ones(shape, dtype=torch.bool)).clone()
    empty, partly = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    for slot in slots:
        name, part = spec.parts[slot.number]
        if refusal(part) is not None:
            continue
        has = slot.weight.any(dim=1)
        own = dict(slot.batch)
        marks, known = _marks(part, hold(records.only(part.columns), index), own, blank, has)
        touched = marks.any(dim=2)
        nothing = touched & ~known.any(dim=2)
        key = f"{name}/valid"
        _say_there(own, "valid", known, nothing)
        if "valid" in own:
            batch[key] = own["valid"]
        # Its weight counts in errors of visible tokens only; here it says that a token is there.
        batch[f"{name}/weight"] = torch.where(nothing, 1.0, slot.weight)
        valid[:, slot.range] |= nothing
        empty[:, slot.range], partly[:, slot.range] = nothing, touched & ~nothing
    if not valid.all():
        batch["valid"] = valid
    else:
        batch.pop("valid", None)
    return Opened(batch, empty, partly)


def _say_there(batch: Batch, key: str, known: Tensor, empty: Tensor) -> None:
    """Declare tokens that are wholly missing to be there, or they would be padding."""
    if key not in batch:
        return
    batch[key] = batch[key] | (empty if batch[key].ndim == 2 else empty[..., None])


def _marks(
    part: Modality, held: Records, batch: Batch, blank: str | None, has: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Which values of a part are gaps and which are known, (B, N, G) each.

    Where a sample lacks the part of a mixture, `has` is False: all of it is a gap if samples of
    the part have one size, and none of it if they have not.
    """
    rows = np.arange(len(held))
    if isinstance(part, Table):
        extent = _lay_out(part, np.ones((len(rows), len(part.measured)), dtype=bool))
        known = batch.get("valid", extent)
        gaps = _lay_out(part, missing_cells(part, held, rows))
    elif isinstance(part, Grid):
        extent = _extent(part, batch)
        known = batch.get("valid", extent)
        gaps = extent & ~known
    else:
        assert isinstance(part, Symbols)
        known, gaps = _letters(part, held, batch, blank)
        extent = gaps
    if has is not None:
        whole = not isinstance(part, Symbols) and not part.varies
        lacking = ~has[:, None, None]
        gaps = torch.where(lacking, extent & whole, gaps)
        known = known & ~lacking
    return gaps, known


def _lay_out(part: Table, cells: NDArray[np.bool_]) -> Tensor:
    """Deal marks on columns to tokens, (B, C) -> (B, N, G); False where a token has fewer."""
    laid = np.zeros((len(cells), part.num_tokens, part.group), dtype=bool)
    laid[:, part.slots[:, 0], part.slots[:, 1]] = cells
    return torch.from_numpy(laid)


def _extent(part: Grid, batch: Batch) -> Tensor:
    """Which values of the cells lie inside of the sample, (1 or B, N, P)."""
    if not part.ragged:
        whole = to_cells(np.ones((1, part.channels, *part.size), bool), part.counts, part.cell)
        return torch.from_numpy(whole).expand(batch["cells"].shape)
    sizes = batch["size"].tolist()
    _, inside = pack([np.ones((part.channels, *size)) for size in sizes], part.cell)
    return torch.from_numpy(inside)


def _letters(
    part: Symbols, held: Records, batch: Batch, blank: str | None
) -> tuple[Tensor, Tensor]:
    B, N = batch["codes"].shape
    known = batch.get("valid", torch.ones(B, N, dtype=torch.bool)).clone()
    gaps = torch.zeros(B, N, dtype=torch.bool)
    for row, value in enumerate(held[part.column][np.arange(B)]):
        if value is None or len(value) == 0:
            continue
        unknown = torch.from_numpy(unknown_letters(part, value, blank))[:N]
        gaps[row, : len(unknown)] = unknown
    return (known & ~gaps)[..., None], gaps[..., None]
