"""Samples and vectors as bytes of a request: JSON or .npy, never a path and never a pickle."""

import io
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.data.records import Records

NPY, JSON = "application/x-npy", "application/json"
SOURCE = "the request"


class Refusal(Exception):
    """A request that is not answered as asked.

    Attributes:
        status: Of HTTP: whose fault it is.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def read_samples(media: str, body: bytes, columns: tuple[str, ...], most: int) -> Records:
    """Read the samples of a request.

    Args:
        media: Content type. .npy holds an array (S, ...), for encoders of one field; JSON is
            {"samples": [...]}, or {"samples": {field: [...]}} for several fields.
        body: The request's body.
        columns: Input fields of the encoder.
        most: Samples that are taken.

    Raises:
        Refusal: 415 for another media type, 400 for a body that cannot be read, 413 for too many
            samples.
    """
    kind = media.partition(";")[0].strip().lower()
    if kind == NPY:
        found: Any = read_npy(body)
    elif kind == JSON:
        found = _read_json(body)
    else:
        raise Refusal(415, f"Content-Type must be {NPY} or {JSON}; got {media!r}.")
    if not isinstance(found, dict):
        if len(columns) != 1:
            shown = ", ".join(columns[:10])
            raise Refusal(
                400,
                f"samples must be an object of fields, since there are {len(columns)} ({shown}); "
                f'got a list. {{"samples": {{"{columns[0]}": [...], ...}}}} would do.',
            )
        found = {columns[0]: found}
    fields = {name: _column(name, values) for name, values in found.items() if name in columns}
    missing = [name for name in columns if name not in fields]
    if missing:
        raise Refusal(400, f"samples must have all fields; {missing[0]!r} is missing.")
    lengths = {len(column) for column in fields.values()}
    if len(lengths) != 1 or not 0 < min(lengths):
        raise Refusal(400, f"all fields must hold as many samples, at least 1; got {lengths}.")
    if max(lengths) > most:
        raise Refusal(413, f"a request must hold at most {most} samples; got {max(lengths)}.")
    return Records(fields, SOURCE)


def read_npy(body: bytes) -> NDArray[Any]:
    """Read an array whose header says just what the body holds.

    Raises:
        Refusal: 400 for anything else; memory is never taken on a header's word.
    """
    stream = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read(stream)
    except (ValueError, KeyError, TypeError, SyntaxError, EOFError) as error:
        raise Refusal(400, f"the body must be a .npy file; got: {str(error)[:200]}.") from error
    if dtype.kind not in "biuf" or fortran or not shape:
        raise Refusal(
            400,
            f"the array must hold plain numbers in C order, one row per sample; got {dtype} "
            f"of shape {shape}.",
        )
    there, said = len(body) - stream.tell(), math.prod(shape) * dtype.itemsize
    if there != said:
        raise Refusal(
            400, f"the .npy file must be whole; its header says {said} bytes, {there} came."
        )
    return np.frombuffer(body, dtype, offset=stream.tell()).reshape(shape)


def write_vectors(vectors: NDArray[np.float32], accept: str) -> tuple[str, bytes]:
    """Return media type and body of an answer: .npy if the client asks for it, else JSON."""
    if NPY in accept.lower():
        stream = io.BytesIO()
        np.lib.format.write_array(stream, vectors, allow_pickle=False)
        return NPY, stream.getvalue()
    return JSON, json.dumps({"vectors": vectors.tolist()}).encode()


def _read_json(body: bytes) -> Any:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body must be JSON; got: {str(error)[:200]}.") from error
    samples = found.get("samples") if isinstance(found, dict) else None
    if not isinstance(samples, list | dict):
        raise Refusal(400, 'the body must be {"samples": [...]} or {"samples": {field: [...]}}.')
    return samples


def _column(name: str, values: Any) -> NDArray[Any]:
    """A field's values as a column: numbers, or an object array of texts or of arrays."""
    if isinstance(values, np.ndarray):
        return values
    if not isinstance(values, list):
        raise Refusal(400, f"field {name!r} must be a list, one value per sample.")
    if not any(isinstance(value, str | bool) for value in values):
        try:
            # None becomes NaN: a missing value.
            return np.array(values, dtype=np.float64)
        except (ValueError, TypeError):
            pass  # samples of different lengths, or objects
    column = np.empty(len(values), dtype=object)
    try:
        column[:] = [np.array(v, dtype=np.float64) if isinstance(v, list) else v for v in values]
    except (ValueError, TypeError) as error:
        raise Refusal(
            400, f"field {name!r} must hold numbers, texts or lists of numbers; got: {error}."
        ) from error
    return column
