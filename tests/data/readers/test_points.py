import logging
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.data.readers import read as read_any
from metamae.data.readers.points import sample_surface
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read

RNG = np.random.default_rng(0)
BOX = trimesh.creation.box((1, 2, 3))


def read(data, **options):
    return read_any(data, reader="points", **options)


def first(source, **options):
    return read(source, **options)["points"][np.array([0])][0]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def ply(points, order="<", names=("x", "y", "z"), types=None, count=None, behind=b""):
    """A PLY file of points (P, A), written by the rules of the format."""
    types = types or ["f4"] * len(names)
    words = {"f4": "float", "f8": "double", "u1": "uchar", "i2": "short"}
    kind = {"<": "binary_little_endian", ">": "binary_big_endian", "": "ascii"}[order]
    head = f"ply\nformat {kind} 1.0\ncomment by hand\nelement vertex {count or len(points)}\n"
    for name, one in zip(names, types, strict=True):
        head += f"property {words[one]} {name}\n"
    if order:
        dtype = np.dtype([(n, order + t) for n, t in zip(names, types, strict=True)])
        body = np.array([tuple(row) for row in points], dtype=dtype).tobytes()
    else:
        body = "".join(" ".join(f"{v:.9g}" for v in row) + "\n" for row in points).encode()
    return head.encode() + b"end_header\n" + body + behind


@pytest.mark.parametrize("order", ["<", ">", ""])
def test_ply_gives_coordinates_first_then_its_features(tmp_path, order):
    points = np.hstack([RNG.integers(0, 256, (20, 1)), RNG.normal(size=(20, 3)).round(4)])
    content = ply(points, order, ("red", "z", "y", "x"), ["u1", "f8", "f4", "f4"])
    found = first(write(tmp_path / "a.ply", content))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, points[:, [3, 2, 1, 0]].astype(np.float32), rtol=1e-6)


def test_ply_of_the_library(tmp_path):
    cloud = trimesh.PointCloud(RNG.normal(size=(9, 3)), colors=RNG.integers(0, 256, (9, 4)))
    for encoding in ("binary", "ascii"):
        path = write(tmp_path / "a.ply", cloud.export(file_type="ply", encoding=encoding))
        expected = np.hstack([cloud.vertices, cloud.colors])
        np.testing.assert_allclose(first(path), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3\n4 5 6.5\n",
        "# scan\n\n1,2,3\n// more\n4, 5, 6.5",
        "2\n1 2 3\n4 5 6.5\n",
        "X;Y;Z\n1;2;3\r\n4;5;6.5\r\n",
        "\ufeff1\t2\t3\n4\t5\t6.5\n",
    ],
)
@pytest.mark.parametrize("end", ["xyz", "pts"])
def test_texts(tmp_path, text, end):
    found = first(write(tmp_path / f"a.{end}", text))
    np.testing.assert_array_equal(found, [[1, 2, 3], [4, 5, 6.5]])


def test_texts_by_other_names_if_the_reader_is_named(tmp_path):
    path = write(tmp_path / "scan.csv", "x,y,z,intensity\n1,2,3,9\n4,5,6,8\n")
    np.testing.assert_array_equal(first(path), [[1, 2, 3, 9], [4, 5, 6, 8]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n3 4\n", "got .* 2 numbers in a line"),
        ("1 2 3\n4 5\n", "number of columns changed"),
        ("3\n1 2 3\n4 5 6\n", "2 points, where the first line says 3"),
        ("1 2 3\nnan 5 6\n", r"finite numbers; got \[nan  5.  6.\]"),
        ("C 1 2 3\nH 4 5 6\n", "could not convert"),
        ("# nothing\n", "no points"),
        (" \n", "at least one point; got an empty file"),
        (b"1 2 3\n\xff\xfe 5 6\n", "can't decode"),
        ("1 2 1e39\n", "finite numbers of at most"),
    ],
)
def test_bad_texts(tmp_path, text, message):
    with pytest.raises(DataError, match=rf"a\.xyz:? must .*{message}"):
        first(write(tmp_path / "a.xyz", text))


@pytest.mark.parametrize("end", ["ply", "obj", "stl", "off"])
def test_meshes_are_sampled_on_their_surface(tmp_path, end):
    BOX.export(tmp_path / f"box.{end}")
    points = first(tmp_path / f"box.{end}", samples=3000)
    assert points.shape == (3000, 3)
    half = np.array([0.5, 1.0, 1.5])
    on_face = np.isclose(np.abs(points), half, atol=1e-6)
    assert on_face.any(axis=1).all()
    # Two faces of each direction, of areas 6, 3 and 2; five standard errors.
    for axis, share in enumerate((12 / 22, 6 / 22, 4 / 22)):
        error = np.sqrt(share * (1 - share) / 3000)
        assert abs(on_face[:, axis].mean() - share) < 5 * error


def test_points_are_uniform_within_a_triangle():
    triangle = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    points = sample_surface(triangle, 20_000, np.random.default_rng(0))
    assert (points >= 0).all() and (points.sum(axis=1) <= 1).all()
    # Mean and covariance of the uniform distribution on this triangle.
    np.testing.assert_allclose(points.mean(axis=0), [1 / 3, 1 / 3, 0], atol=0.01)
    np.testing.assert_allclose(
        np.cov(points[:, :2].T), [[1 / 18, -1 / 36], [-1 / 36, 1 / 18]], atol=0.002
    )
    # A quarter of the area lies in each of the corners cut off at half the sides.
    corner = (points[:, 0] > 0.5).mean()
    assert abs(corner - 0.25) < 0.02


def test_ascii_stl(tmp_path):
    text = trimesh.exchange.stl.export_stl_ascii(BOX)
    assert np.abs(first(write(tmp_path / "a.stl", text))).max() == 1.5


def test_draws_depend_on_seed_and_content_alone(tmp_path):
    BOX.export(tmp_path / "b.stl")
    content = (tmp_path / "b.stl").read_bytes()
    alone = first(tmp_path / "b.stl")
    np.testing.assert_array_equal(first(tmp_path / "b.stl"), alone)
    write(tmp_path / "set/a.stl", trimesh.creation.icosphere(1).export(file_type="stl"))
    write(tmp_path / "set/z.stl", content)
    both = read(tmp_path / "set")["points"][np.arange(2)]
    np.testing.assert_array_equal(both[1], alone)
    assert not np.array_equal(first(tmp_path / "b.stl", seed=1), alone)


def test_meshes_look_for_no_other_file(tmp_path, monkeypatch):
    BOX.export(tmp_path / "a.obj")
    path = tmp_path / "a.obj"
    path.write_text("mtllib box.mtl\nusemtl wood\n" + path.read_text())
    (tmp_path / "box.mtl").write_text("newmtl wood\nmap_Kd http://localhost/wood.png\n")

    def refuse(*args, **kwargs):
        raise AssertionError("a resolver was asked")

    for resolver in (trimesh.resolvers.FilePathResolver, trimesh.resolvers.WebResolver):
        monkeypatch.setattr(resolver, "get", refuse)
        monkeypatch.setattr(resolver, "__init__", refuse)
    assert first(path).shape == (2048, 3)


def test_features_that_only_some_files_have_are_left_out(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    rows = RNG.normal(size=(4, 5)).round(3)
    write(tmp_path / "a.ply", ply(rows, names=("x", "y", "z", "nx", "q")))
    write(tmp_path / "b.ply", ply(rows[:3, [3, 0, 1, 2]], names=("nx", "x", "y", "z")))
    column = read(tmp_path)["points"]
    assert column.sizes.tolist() == [[4, 4], [3, 4]]
    for found, expected in zip(column[np.arange(2)], (rows[:, :4], rows[:3, :4]), strict=True):
        np.testing.assert_allclose(found, expected.astype(np.float32))
    assert "only some files have: q" in caplog.text
    write(tmp_path / "c.xyz", "1 2 3 4\n")
    assert read(tmp_path)["points"].sizes.tolist() == [[4, 3], [3, 3], [1, 3]]


def test_equal_numbers_of_points_are_dense(tmp_path):
    for name in ("cat/a.xyz", "dog/b.xyz"):
        write(tmp_path / name, "1 2 3\n4 5 6\n")
    records = read(tmp_path)
    assert records["points"].shape == (2, 2, 3)
    assert records["label"].tolist() == ["cat", "dog"]


@pytest.mark.parametrize("order", ["<", ""])
def test_ply_that_counts_more_than_it_holds_is_refused(tmp_path, order):
    for count in (5, 10**12):
        path = write(tmp_path / "a.ply", ply(RNG.normal(size=(4, 3)), order, count=count))
        with pytest.raises(DataError, match=r"a\.ply:? must hold the vertices that its header"):
            first(path)


@pytest.mark.parametrize("count", [0, 11, 13, 2**32 - 1])
def test_stl_that_counts_wrongly_is_refused(tmp_path, count):
    raw = bytearray(BOX.export(file_type="stl"))
    struct.pack_into("<I", raw, 80, count)
    with pytest.raises(DataError, match=rf"must hold the triangles .*; got {count} of them"):
        read(write(tmp_path / "a.stl", bytes(raw)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 9\n", "complete mesh"),
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", "area is 0"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", "must"),
        ("a.obj", "v 0 0 0\nv 1e300 0 0\nv 0 1e300 0\nf 1 2 3\n", "area is inf"),
        ("a.obj", "no mesh", "must"),
        ("a.stl", "solid nothing", "triangles"),
        ("a.ply", "ply\nformat ascii 1.0\nend_header\n", "legal PLY header"),
        ("a.ply", ply(np.zeros((1, 2)), names=("x", "y")), "do not come first"),
        ("a.ply", ply([[np.nan, 0, 0]]), "finite numbers"),
        ("a.ply", "plywood", "no such header"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    with pytest.raises(DataError, match=rf"{name}:? must .*{message}|{message}"):
        first(write(tmp_path / name, content))


def test_bad_files_are_listed_and_set_aside(tmp_path):
    write(tmp_path / "good.xyz", "1 2 3\n")
    write(tmp_path / "empty.ply", "")
    write(tmp_path / "text.stl", "no mesh")
    with pytest.raises(DataError, match=r"got 2\. Repair"):
        read(tmp_path)
    assert read(tmp_path, skip_bad=2).names == ["good.xyz"]


def test_folders_without_points_circles_and_permissions(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"at least one point set .* got an empty folder"):
        read(tmp_path)
    path = write(tmp_path / "a.xyz", "1 2 3\n")
    (tmp_path / "self").symlink_to(tmp_path)
    assert len(read(tmp_path)) == 1

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(DataError, match=r"a\.xyz: must be a file that can be read; .*Permission"):
        read(path)


@pytest.mark.parametrize("setting", [{"samples": 0}, {"seed": -1}, {"labels": None}])
def test_settings_are_checked(tmp_path, setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=rf"PointsReader\.{name} must"):
        read(tmp_path, **setting)


def test_threads_may_share_a_column(tmp_path):
    BOX.export(tmp_path / "a.off")
    column = read(tmp_path, samples=50)["points"]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: column[np.array([0])][0], range(40)))
    assert all(np.array_equal(points, found[0]) for points in found)


@pytest.mark.parametrize("name", ["a.ply", "mesh.ply", "a.xyz", "a.stl", "a.obj", "a.off"])
def test_damage_is_refused_or_harmless(tmp_path, name):
    path = tmp_path / name
    if name == "a.ply":
        write(path, ply(RNG.normal(size=(20, 3))))
    elif name == "a.xyz":
        write(path, "".join(f"{x:.3f} {y:.3f} {z:.3f}\n" for x, y, z in RNG.normal(size=(30, 3))))
    else:
        BOX.export(path)
    assert refuse_or_read(path, reader="points") > 8


@given(position=st.integers(0, 400), value=st.integers(0, 255))
@settings(max_examples=80, deadline=None)
def test_any_byte_of_a_ply_header_may_be_wrong(tmp_path_factory, position, value):
    raw = bytearray(ply(np.ones((3, 4)), "", ("x", "y", "z", "w")))
    raw[position % len(raw)] = value
    path = write(tmp_path_factory.mktemp("ply") / "a.ply", bytes(raw))
    try:
        points = first(path)
    except DataError as error:
        assert "a.ply" in str(error)
    else:
        assert np.isfinite(points).all()
