import gzip
import logging
import struct
from concurrent.futures import ThreadPoolExecutor

import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.data.columns.base import stretch_of
from metamae.data.readers import read as read_any
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read

RNG = np.random.default_rng(0)


def read(data, **options):
    return read_any(data, reader="volumes", **options)


def first(source, **options):
    return read(source, **options)["volume"][np.array([0])][0]


def brain(*shape, dtype=np.int16):
    return RNG.integers(0, 100, shape or (5, 6, 7)).astype(dtype)


def save(path, values, kind=nibabel.Nifti1Image):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind(values, np.eye(4)).to_filename(path)
    return path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.nii", nibabel.Nifti1Image),
        ("a.nii.gz", nibabel.Nifti2Image),
        ("a.mgz", nibabel.MGHImage),
        ("a.mgh", nibabel.MGHImage),
        ("a.img", nibabel.Nifti1Pair),
        ("a.img", nibabel.Spm2AnalyzeImage),
    ],
)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
# nibabel leaves it to the collector to close an .mgh file.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_format_gives_its_values(tmp_path, name, kind, dtype):
    values = brain(dtype=dtype)
    volume = first(save(tmp_path / name, values, kind))
    assert volume.dtype == np.float32
    np.testing.assert_array_equal(volume, values)


def test_scaled_values(tmp_path):
    values = RNG.normal(size=(4, 5, 6))
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header.set_data_dtype(np.int16)
    image.to_filename(tmp_path / "a.nii")
    np.testing.assert_allclose(first(tmp_path / "a.nii"), values, atol=1e-3)


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ((3, 4, 5), (3, 4, 5)),
        ((3, 4, 5, 1), (3, 4, 5)),
        ((3, 4, 5, 2), (2, 3, 4, 5)),
        ((3, 4, 5, 1, 2), (2, 3, 4, 5)),
        ((3, 1, 5), (3, 1, 5)),
    ],
)
def test_a_fourth_axis_comes_first(tmp_path, stored, given):
    values = brain(*stored)
    column = read(save(tmp_path / "a.nii.gz", values))["volume"]
    expected = np.moveaxis(values.reshape(3, -1, 5, 2), 3, 0) if len(given) == 4 else values
    assert column.shape == (1, *given)
    np.testing.assert_array_equal(column[np.array([0])][0], expected.reshape(given))
    np.testing.assert_array_equal(stretch_of(column, 0, 1, 4), expected.reshape(given)[..., 1:4])


def test_minc_has_time_first(tmp_path):
    # A classic netCDF file: its format needs no library but SciPy.
    from scipy.io import netcdf_file

    values = brain(2, 3, 4, 5)
    with netcdf_file(tmp_path / "a.mnc", "w") as file:
        for name, size in zip(("time", "zspace", "yspace", "xspace"), values.shape, strict=True):
            file.createDimension(name, size)
            axis = file.createVariable(name, "d", ())
            axis.step, axis.start, axis.spacing = 1.0, 0.0, b"regular__"
        image = file.createVariable("image", "h", ("time", "zspace", "yspace", "xspace"))
        image[:] = values
        image.valid_range = np.array([0.0, 100.0])
        image.signtype = b"signed__"
        for name, bound in (("image-max", 100.0), ("image-min", 0.0)):
            file.createVariable(name, "d", ("time", "zspace"))[:] = bound
    column = read(tmp_path / "a.mnc")["volume"]
    np.testing.assert_allclose(column[np.array([0])][0], values, rtol=1e-6)
    np.testing.assert_allclose(stretch_of(column, 0, 2, 4), values[..., 2:4], rtol=1e-6)


def test_volumes_of_different_shapes(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    save(tmp_path / "ill/a.nii", brain(3, 4, 5))
    save(tmp_path / "well/b.nii.gz", brain(4, 4, 6))
    records = read(tmp_path)
    assert records["label"].tolist() == ["ill", "well"]
    assert records["volume"].sizes.tolist() == [[3, 4, 5], [4, 4, 6]]
    assert records["volume"][np.arange(2)][1].shape == (4, 4, 6)
    assert "from (3, 4, 5) to (4, 4, 6)" in caplog.text


def test_other_axes_and_channels_go_aside(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.nii", brain(3, 4, 5, 2))
    save(tmp_path / "flat.nii", brain(3, 4, 5))
    save(tmp_path / "long.nii", brain(3, 4, 5, 9))
    save(tmp_path / "deep.nii", brain(3, 4, 5, 2, 2))
    with pytest.raises(DataError) as info:
        read(tmp_path)
    for line in (
        "flat.nii: must have 4 axes like most; got 3",
        "long.nii: must have 2 channels like most; got 9",
        "deep.nii: must hold real numbers with axes X, Y, Z and at most one",
    ):
        assert line in str(info.value)
    assert read(tmp_path, skip_bad=3)["volume"].shape == (3, 2, 3, 4, 5)


def test_complex_values_are_refused(tmp_path):
    path = save(tmp_path / "a.nii", brain().astype(np.complex64))
    with pytest.raises(DataError, match=r"real numbers .*; got complex64 of shape \(5, 6, 7\)"):
        read(path)


@pytest.mark.parametrize("bands", [1, 3])
def test_stacks_of_tiff_pages(tmp_path, bands):
    stack = brain(4, 5, 6, bands, dtype=np.uint16)
    kind = "minisblack" if bands == 1 else "rgb"
    tifffile.imwrite(tmp_path / "a.tif", stack.squeeze(), photometric=kind)
    column = read(tmp_path / "a.tif")["volume"]
    expected = np.moveaxis(stack, 3, 0).squeeze()
    assert column.shape == (1, *expected.shape)
    np.testing.assert_array_equal(column[np.array([0])][0], expected)
    np.testing.assert_array_equal(stretch_of(column, 0, 2, 5), expected[..., 2:5])


def test_stack_of_unequal_pages_is_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(brain(5, 6))
        file.write(brain(5, 7))
    with pytest.raises(DataError, match="images of one shape and type; got 2 kinds in 2 images"):
        read(tmp_path / "a.tif")


def lying(raw, *sizes):
    """A NIfTI-1 file with other sizes in its header."""
    raw = bytearray(raw)
    for axis, size in enumerate(sizes):
        struct.pack_into("<h", raw, 42 + 2 * axis, size)
    return bytes(raw)


def test_headers_that_lie_are_refused_before_memory_is_taken(tmp_path):
    path = save(tmp_path / "a.nii", brain())
    raw = path.read_bytes()
    path.write_bytes(lying(raw, 50, 60, 70))
    with pytest.raises(DataError, match=r"must hold 420000 bytes .*; got a file of 772 bytes"):
        read(path)
    path.write_bytes(lying(raw, 30000, 30000, 30000))
    with pytest.raises(DataError, match="must not expand beyond 4294967296 bytes"):
        read(path)
    packed = tmp_path / "b.nii.gz"
    packed.write_bytes(gzip.compress(lying(raw, 500, 600, 700)))
    with pytest.raises(DataError, match="must hold 420000000 bytes"):
        read(packed)


def test_bombs_are_refused(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.zeros((60, 60, 60), np.int16))
    assert first(path).shape == (60, 60, 60)
    with pytest.raises(DataError, match=r"must not expand beyond 100000 bytes; got 864000"):
        read(path, max_bytes=100_000)


def test_truncated_content_is_found_on_decoding(tmp_path):
    save(tmp_path / "a.nii.gz", brain(30, 30, 30))
    path = save(tmp_path / "b.nii.gz", brain(30, 30, 30))
    path.write_bytes(path.read_bytes()[:-4000])
    column = read(tmp_path)["volume"]
    with pytest.raises(DataError, match=r"b\.nii\.gz must be a complete volume") as info:
        column[np.arange(2)]
    assert info.value.sample == 1


def test_bad_files_are_listed_and_set_aside(tmp_path):
    save(tmp_path / "good.nii", brain())
    (tmp_path / "empty.nii").touch()
    (tmp_path / "text.nii.gz").write_text("no volume")
    (tmp_path / "alone.img").write_bytes(bytes(420))
    (tmp_path / "other.mgz").write_bytes((tmp_path / "good.nii").read_bytes())
    with pytest.raises(DataError, match=r"got 4\. Repair"):
        read(tmp_path)
    records = read(tmp_path, skip_bad=4)
    assert records.names == ["good.nii"]
    assert all(": must be a complete volume" in f"{b.where}: {b.reason}" for b in records.aside)


def test_folders_without_volumes_circles_and_permissions(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"at least one volume .* got an empty folder"):
        read(tmp_path)
    path = save(tmp_path / "a.nii", brain())
    (tmp_path / "self").symlink_to(tmp_path)
    assert len(read(tmp_path)) == 1

    def refuse(file, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(nibabel, "load", refuse)
    with pytest.raises(DataError, match=r"a\.nii: must be a complete volume; .*Permission"):
        read(path)


def test_settings_are_checked(tmp_path):
    for setting in ({"labels": ""}, {"max_bytes": 1.5}):
        (name,) = setting
        with pytest.raises(ConfigError, match=rf"VolumesReader\.{name} must"):
            read(tmp_path, **setting)


def test_threads_may_share_a_column(tmp_path):
    values = [brain() for _ in range(4)]
    for number, one in enumerate(values):
        save(tmp_path / f"{number}.nii.gz", one)
    column = read(tmp_path)["volume"]
    index = [number % 4 for number in range(80)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: column[np.array([n])][0], index))
    for number, volume in zip(index, found, strict=True):
        np.testing.assert_array_equal(volume, values[number])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mgz", "a.tif"])
def test_damage_is_refused_or_harmless(tmp_path, name):
    path = tmp_path / name
    if name == "a.tif":
        tifffile.imwrite(path, brain(dtype=np.uint8), photometric="minisblack", compression="zlib")
    else:
        save(path, brain(), nibabel.MGHImage if name == "a.mgz" else nibabel.Nifti1Image)
    assert refuse_or_read(path, reader="volumes") > 20


@given(position=st.integers(0, 351), value=st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_any_byte_of_a_nifti_header_may_be_wrong(tmp_path_factory, position, value):
    path = save(tmp_path_factory.mktemp("nifti") / "a.nii", brain())
    raw = bytearray(path.read_bytes())
    raw[position] = value
    path.write_bytes(raw)
    try:
        volume = first(path)
    except DataError as error:
        assert "a.nii" in str(error)
    else:
        assert volume.dtype == np.float32
