"""Point sets: scans in files of points, and meshes of which the surface is sampled."""

import io
import logging
import re
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least
from metamae.core.extras import require
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Array
from metamae.data.files import legible
from metamae.data.media.labels import check_labels
from metamae.data.media.samples import SampleFiles
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.errors import DataError

_log = logging.getLogger("metamae")

_MESHES = (".obj", ".stl", ".off")
_HEADER_MOST = 2**16  # Bytes in which the header of a PLY file has to end.
# PLY's names of the types.
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class _Ply:
    """The header of a PLY file.

    Attributes:
        order: "<" or ">", or "" for text.
        start: Bytes of the header.
        count: Number of vertices; they come first.
        properties: Name and numpy type of each number of a vertex.
        faces: Number of faces.
    """

    order: str
    start: int
    count: int
    properties: tuple[tuple[str, str], ...]
    faces: int


@dataclass(frozen=True)
class _Cloud:
    """What a file holds: number of points, and the names of their numbers beyond x, y, z."""

    points: int
    features: tuple[str, ...]


class PointsReader(Reader):
    """Reads every point set below a folder as field "points" (P, 3 + F) of float32.

    x, y and z come first, then the other numbers of each point, such as normals or colours, if
    all files have them. Meshes (OBJ, STL, OFF, and PLY with faces) become points that are drawn
    uniformly on their surface. The draw depends on `seed` and on the file's content alone, and so
    neither on its name nor on the files beside it.

    Class folders become field "label", a table of labels its columns.

    Args:
        samples: Number of points to draw on the surface of a mesh.
        seed: Of that draw.
        labels: Path of a CSV, TSV or Parquet table with a column that names the files; "auto"
            takes the only CSV or TSV file in the folder, "none" none.
    """

    description: ClassVar[str] = "a folder of PLY, XYZ, PTS, OBJ, STL or OFF files, or one of them"
    extensions: ClassVar[tuple[str, ...]] = (".ply", ".xyz", ".pts", *_MESHES)
    folders: ClassVar[bool] = True
    local: ClassVar[tuple[str, ...]] = ("labels",)

    def __init__(self, *, samples: int = 2048, seed: int = 0, labels: str = "auto"):
        self.samples = check_at_least("PointsReader.samples", samples, 1)
        self.seed = check_at_least("PointsReader.seed", seed, 0)
        self.labels = check_labels("PointsReader.labels", labels)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        files = SampleFiles.find(data, self.extensions, "point set")
        files, clouds = files.probe(self._probe, aside)
        shared = set.intersection(*(set(cloud.features) for cloud in clouds))
        features = tuple(name for name in clouds[0].features if name in shared)
        if odd := {name for cloud in clouds for name in cloud.features} - shared:
            few = ", ".join(sorted(odd)[:10])
            _log.info("%s: left out numbers that only some files have: %s", files.source, few)
        points = files.column(
            [(cloud.points, 3 + len(features)) for cloud in clouds],
            np.float32,
            partial(self._decode, features=features),
        )
        return files.records({"points": points}, field, self.labels)

    def _probe(self, path: Path) -> _Cloud:
        raw, kind = _raw(path)
        if kind == "ply":
            header = _ply(path, raw)
            if not header.faces:
                names = (name for name, _ in header.properties)
                return _Cloud(header.count, tuple(name for name in names if name not in "xyz"))
        if kind == "text":
            points = _text(path, raw)
            return _Cloud(len(points), tuple(map(str, range(3, points.shape[1]))))
        if kind == "stl":
            _check_stl(path, raw)
        return _Cloud(self.samples, ())

    def _decode(self, path: Path, features: tuple[str, ...]) -> Array:
        raw, kind = _raw(path)
        header = _ply(path, raw) if kind == "ply" else None
        if kind == "text":
            points = _text(path, raw)[:, [0, 1, 2, *map(int, features)]]
        elif header is not None and not header.faces:
            points = _vertices(path, raw, header, ("x", "y", "z", *features))
        else:
            rng = np.random.default_rng([self.seed, zlib.crc32(raw)])
            with legible(str(path), "must hold a surface to sample", "Repair or remove it."):
                points = sample_surface(_triangles(path, raw, kind), self.samples, rng)
        with np.errstate(over="ignore"):
            points = np.ascontiguousarray(points, dtype=np.float32)
        if not np.isfinite(points).all():
            raise DataError(
                f"{path} must hold finite numbers of at most {np.finfo(np.float32).max:.0e}; got "
                "others for some points. Leave those points out."
            )
        return points


def sample_surface(triangles: Array, num: int, rng: np.random.Generator) -> Array:
    """Draw points uniformly on a surface.

    Args:
        triangles: (T, 3 corners, 3 coordinates).
        num: Number of points.
        rng: The generator of the draw.

    Returns:
        The points, (num, 3).

    Raises:
        ValueError: If the surface has no area, or none that is finite.

    Source: Osada et al., Shape Distributions, ACM Transactions on Graphics 2002, section 4.1.
    """
    first, second, third = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    with np.errstate(all="ignore"):
        areas = np.linalg.norm(np.cross(second - first, third - first), axis=1)
        total = areas.sum()
        if not (np.isfinite(total) and total > 0):
            raise ValueError(f"its area is {total / 2}")
    chosen = rng.choice(len(triangles), num, p=areas / total)
    root, share = np.sqrt(rng.random((num, 1))), rng.random((num, 1))
    return np.asarray(
        (1 - root) * first[chosen]
        + root * (1 - share) * second[chosen]
        + root * share * third[chosen]
    )


def _raw(path: Path) -> tuple[bytes, str]:
    # The content, and what it is by the end of the name: "ply", "obj", "stl", "off" or "text".
    with legible(str(path), "must be a file that can be read", "Check its permissions."):
        raw = path.read_bytes()
    if not raw.strip():
        raise DataError(f"{path} must hold at least one point; got an empty file. Remove it.")
    end = path.suffix.lower()
    return raw, end[1:] if end in (".ply", *_MESHES) else "text"


def _ply(path: Path, raw: bytes) -> _Ply:
    end = re.search(rb"\nend_header[ \t]*\r?\n", raw[:_HEADER_MOST])
    if not raw.startswith(b"ply") or end is None:
        raise DataError(f"{path} must be a PLY file; got no such header. Repair or remove it.")
    with legible(str(path), "must have a legal PLY header", "Repair or remove it."):
        lines = [line.split() for line in raw[: end.start()].decode("latin-1").splitlines()]
        (order,) = (_ORDERS[line[1]] for line in lines if line[:1] == ["format"])
        elements: dict[str, int] = {}
        properties = []
        for line in lines:
            if line[:1] == ["element"]:
                elements[line[1]] = int(line[2])
            elif line[:1] == ["property"] and list(elements) == ["vertex"]:
                properties.append((line[2], order + _TYPES[line[1]]))
        names = [name for name, _ in properties]
        if next(iter(elements)) != "vertex" or not {"x", "y", "z"} <= set(names):
            raise ValueError("x, y and z of the vertices do not come first")
        size, count = np.dtype(properties).itemsize, elements["vertex"]
    # A number in a text takes a digit and a space at least.
    least = count * (size if order else 2 * len(names))
    if not 0 < count or least > len(raw) - end.end() + 1:
        raise DataError(
            f"{path} must hold the vertices that its header counts, and at least one; got "
            f"{count} of them in {len(raw)} bytes. Copy or write it again."
        )
    return _Ply(order, end.end(), count, tuple(properties), elements.get("face", 0))


def _vertices(path: Path, raw: bytes, header: _Ply, names: tuple[str, ...]) -> Array:
    with legible(str(path), "must hold the vertices that its header counts", "Write it again."):
        if header.order:
            dtype = np.dtype(list(header.properties))
            every = np.frombuffer(raw, dtype, header.count, header.start)
            return np.stack([every[name].astype(np.float64) for name in names], axis=1)
        lines = raw[header.start :].decode("ascii").splitlines()[: header.count]
        if len(lines) < header.count:
            raise ValueError(f"{len(lines)} of {header.count} lines")
        order = [name for name, _ in header.properties]
        return np.loadtxt(lines, comments=None, ndmin=2, usecols=[order.index(n) for n in names])


def _text(path: Path, raw: bytes) -> Array:
    # Points of a text with a line per point, (P, 3 + F).
    rule = "must be a text with a point per line: x, y, z and further numbers"
    with legible(str(path), rule, "Leave other lines out, or begin them with '#'."):
        text = raw.decode("utf-8-sig").replace(",", " ").replace(";", " ")
        lines = [line for line in map(str.strip, text.splitlines()) if line]
        lines = [line for line in lines if not line.startswith(("#", "//"))]
        if lines and lines[0].isdecimal():
            # A line of its own that counts the points is a habit of .pts files.
            count, lines = int(lines[0]), lines[1:]
            if count != len(lines):
                raise ValueError(f"{len(lines)} points, where the first line says {count}")
        if lines and not _is_numbers(lines[0]):
            lines = lines[1:]
        if not lines:
            raise ValueError("no points")
        points = np.loadtxt(lines, comments=None, ndmin=2)
        if points.shape[1] < 3:
            raise ValueError(f"{points.shape[1]} numbers in a line")
    if not np.isfinite(points).all():
        row = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise DataError(
            f"{path} must hold finite numbers; got {points[row]}. Leave such points out."
        )
    return points


def _is_numbers(line: str) -> bool:
    try:
        return bool([float(word) for word in line.split()])
    except ValueError:
        return False


def _check_stl(path: Path, raw: bytes) -> None:
    # A binary file has 80 free bytes, a count, and 50 bytes per triangle.
    count = int.from_bytes(raw[80:84], "little")
    text = raw[:80].lstrip().lower().startswith(b"solid") and b"facet" in raw.lower()
    if not text and (not count or len(raw) != 84 + 50 * count):
        raise DataError(
            f"{path} must hold the triangles that its header counts, and at least one; got "
            f"{count} of them in {len(raw)} bytes. Copy or write it again."
        )


def _triangles(path: Path, raw: bytes, kind: str) -> Array:
    # (T, 3 corners, 3 coordinates). From memory and without a resolver, so that neither
    # materials nor textures are looked for.
    trimesh = require("trimesh", "points", "Reading meshes")
    with legible(str(path), "must be a complete mesh of triangles", "Repair or remove it."):
        mesh = trimesh.load(
            io.BytesIO(raw), file_type=kind, process=False, force="mesh", skip_materials=True
        )
        return np.asarray(mesh.triangles, dtype=np.float64)
