import logging
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from metamae.data.columns.base import sizes_of
from metamae.data.readers import read
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read

RNG = np.random.default_rng(0)


def picture(height=5, width=7, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def first(source, **settings):
    return read(source, **settings)["image"][np.array([0])][0]


@given(
    pixels=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]), hnp.array_shapes(min_dims=2, max_dims=2)
    ),
    end=st.sampled_from(["png", "tiff"]),
)
@settings(max_examples=50, deadline=None)
def test_round_trip_of_grey(tmp_path_factory, pixels, end):
    folder = tmp_path_factory.mktemp("grey")
    save(folder / f"a.{end}", pixels)
    column = read(folder)["image"]
    assert column.dtype == pixels.dtype
    np.testing.assert_array_equal(column[np.array([0])], pixels[None, None])


# BMP files of Pillow hold no transparency.
@pytest.mark.parametrize(
    ("end", "channels"),
    [("bmp", 3), *((end, channels) for end in ("png", "tif", "webp") for channels in (3, 4))],
)
def test_round_trip_of_colour(tmp_path, end, channels):
    pixels = picture(channels=channels)
    options = {"lossless": True, "exact": True} if end == "webp" else {}
    save(tmp_path / f"a.{end}", pixels, **options)
    np.testing.assert_array_equal(first(tmp_path), pixels.transpose(2, 0, 1))


def test_column_answers_like_an_array(tmp_path):
    pixels = [picture() for _ in range(4)]
    for i, values in enumerate(pixels):
        save(tmp_path / f"{i}.png", values)
    column = read(f"{tmp_path}/")["image"]
    expected = np.stack(pixels).transpose(0, 3, 1, 2)
    assert column.shape == expected.shape
    assert column.dtype == np.uint8
    assert len(column) == 4
    for index in (np.array([3, 0]), slice(1, 3), np.array([True, False, True, False]), 2, []):
        index = np.array(index, dtype=int) if isinstance(index, list) else index
        np.testing.assert_array_equal(column[index], expected[index])
    with pytest.raises(IndexError):
        column[np.array([4])]


def test_names_order_and_labels(tmp_path):
    for name in ("dog/b.png", "cat/x/a.png", "cat/c.png"):
        save(tmp_path / name, picture())
    records = read(tmp_path)
    assert records.names == ["cat/c.png", "cat/x/a.png", "dog/b.png"]
    assert records["label"].tolist() == ["cat", "cat", "dog"]
    assert records.where(2) == f"{tmp_path}, dog/b.png"
    assert list(read(tmp_path, field="image")) == ["image"]
    save(tmp_path / "top.png", picture())
    assert list(read(tmp_path)) == ["image"]


def test_one_sub_folder_is_no_label(tmp_path):
    save(tmp_path / "all/a.png", picture())
    assert list(read(tmp_path)) == ["image"]


def test_one_file_is_a_set_of_one(tmp_path):
    records = read(save(tmp_path / "a.png", picture()))
    assert records.names == ["a.png"]
    assert records["image"].shape == (1, 3, 5, 7)


def test_modes(tmp_path):
    palette = Image.fromarray(picture()).quantize(4)
    palette.info["transparency"] = bytes([100, 0, 50])
    cases = {
        "palette": (palette, 3),
        "bits": (Image.fromarray(picture(channels=1)).convert("1"), 1),
        "greyalpha": (Image.fromarray(picture(channels=1)).convert("LA"), 2),
        "alpha": (picture(channels=4), 4),
    }
    for name, (pixels, channels) in cases.items():
        save(tmp_path / name / "a.png", pixels)
        assert first(tmp_path / name).shape == (channels, 5, 7)
        assert first(tmp_path / name, mode="RGB").shape == (3, 5, 7)
        assert first(tmp_path / name, mode="L").shape == (1, 5, 7)
    save(tmp_path / "print/a.jpg", Image.fromarray(picture()).convert("CMYK"))
    assert first(tmp_path / "print").shape == (3, 5, 7)


def test_deep_grey_is_scaled_and_not_cut_off(tmp_path):
    deep = (np.arange(35).reshape(5, 7) * 1800).astype(np.uint16)
    save(tmp_path / "a.png", deep)
    np.testing.assert_array_equal(first(tmp_path, mode="L")[0], deep // 256)
    small = first(tmp_path, resize=(5, 14))
    assert small.dtype == np.uint16
    assert small.max() > 50_000


def test_images_of_different_sizes_keep_them_unless_resized(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    pixels = [picture(), picture(height=6), picture(width=9)]
    for i, values in enumerate(pixels):
        save(tmp_path / f"{i}.png", values)
    column = read(tmp_path)["image"]
    assert column.dtype == object and column.shape == (3,)
    assert sizes_of(column).tolist() == [[3, 5, 7], [3, 6, 7], [3, 5, 9]]
    for found, values in zip(column[np.arange(3)], pixels, strict=True):
        np.testing.assert_array_equal(found, values.transpose(2, 0, 1))
    assert "from (3, 5, 7) to (3, 6, 9), and each keeps its own. resize=(5, 7)" in caplog.text
    caplog.clear()
    column = read(tmp_path, resize=[4, 6])["image"]
    assert column[np.arange(3)].shape == column.shape == (3, 3, 4, 6)
    assert "different shapes" not in caplog.text


def test_odd_channels_go_aside_unless_converted(tmp_path):
    for i in range(3):
        save(tmp_path / f"{i}.png", picture(channels=1 if i == 1 else 3))
    with pytest.raises(DataError, match=r"1\.png: must have .* RGB like most; got L\. mode='RGB'"):
        read(tmp_path)
    records = read(tmp_path, skip_bad=1)
    assert records.names == ["0.png", "2.png"]
    assert [bad.where for bad in records.aside] == [str(tmp_path / "1.png")]
    assert records["image"].shape == (2, 3, 5, 7)
    assert read(tmp_path, mode="RGB")["image"][np.arange(3)].shape == (3, 3, 5, 7)


def bands(dtype, count=5):
    high = 256 if dtype == np.uint8 else 30_000
    return RNG.integers(0, high, (count, 5, 7)).astype(dtype)


@pytest.mark.parametrize("dtype", [">u2", "u1", "i2", "u4", "f4", "f8"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("layout", ["contig", "separate"])
def test_round_trip_of_bands(tmp_path, dtype, count, layout):
    values = bands(np.dtype(dtype), count)
    stored = values.transpose(1, 2, 0) if layout == "contig" else values
    stored = stored.squeeze() if count == 1 else stored
    options = {"planarconfig": layout} if count > 1 else {}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", **options)
    column = read(tmp_path)["image"]
    assert column.dtype == np.dtype(dtype).newbyteorder("=")
    assert column.shape == (1, count, 5, 7)
    np.testing.assert_array_equal(column[np.array([0])][0], values)


def test_no_band_and_no_bit_is_dropped_where_there_are_three_or_four(tmp_path):
    deep = RNG.integers(0, 2**16, (5, 7, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    infrared = picture(channels=4)
    path = tmp_path / "infrared.tif"
    tifffile.imwrite(path, infrared, photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_array_equal(first(path), infrared.transpose(2, 0, 1))
    np.testing.assert_array_equal(first(tmp_path / "deep.tif"), deep.transpose(2, 0, 1))
    assert first(path, mode="RGB").shape == (3, 5, 7)


def test_sixteen_bit_colours_of_png_are_said_to_lose_bits(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    path = tmp_path / "a.png"
    rows = b"".join(
        b"\0" + RNG.integers(0, 256, 2 * 3 * 4, dtype=np.uint8).tobytes() for _ in range(5)
    )
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 4, 5, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
    ]
    raw = b"\x89PNG\r\n\x1a\n"
    for kind, body in [*chunks, (b"IEND", b"")]:
        raw += (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )
    path.write_bytes(raw)
    high = np.frombuffer(rows, np.uint8).reshape(5, 25)[:, 1::2].reshape(5, 4, 3)
    np.testing.assert_array_equal(first(path), high.transpose(2, 0, 1))
    assert "1 images of 16-bit colours are read as 8-bit ones" in caplog.text


def test_bands_are_resized(tmp_path):
    values = np.zeros((5, 8, 8), np.uint16)
    values[:, :, 4:] = 60_000
    tifffile.imwrite(tmp_path / "a.tif", values, planarconfig="separate", photometric="minisblack")
    image = first(tmp_path, resize=(4, 2))
    assert image.shape == (5, 4, 2) and image.dtype == np.uint16
    assert image[..., 0].max() < 20_000 < 40_000 < image[..., 1].min()
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), -2.5), photometric="minisblack")
    np.testing.assert_array_equal(first(tmp_path, resize=(2, 2)), np.full((1, 2, 2), -2.5))


def test_bands_need_to_agree_and_cannot_be_converted(tmp_path):
    for i, dtype in enumerate(("u2", "u2", "f4")):
        tifffile.imwrite(tmp_path / f"{i}.tif", bands(dtype), planarconfig="separate")
    with pytest.raises(DataError, match=r"5 bands of uint16 like most; got 5 bands of float32"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"convertible to mode='RGB'; got 5 bands"):
        read(tmp_path, mode="RGB")


def test_smaller_copies_within_a_tiff_are_no_images(tmp_path):
    for name, count in (("few", 3), ("many", 6)):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as file:
            for side, kind in ((8, 0), (4, 1)):
                pixels = np.zeros((side, side, count), np.uint8)
                file.write(
                    pixels,
                    photometric="rgb" if count == 3 else "minisblack",
                    planarconfig="contig",
                    subfiletype=kind,
                )
        assert first(tmp_path / f"{name}.tif").shape == (count, 8, 8)


def test_large_photographs_are_decoded_small(tmp_path):
    grey = np.zeros((800, 1600), np.uint8)
    grey[:, :800] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a.jpg", grey)
    save(tmp_path / "b.jpg", grey, exif=exif)
    plain, turned = read(tmp_path, resize=(20, 10))["image"][np.arange(2)]
    assert plain[0, :, :4].min() > 250 and plain[0, :, 6:].max() < 5
    assert turned[0, :9].min() > 250 and turned[0, 11:].max() < 5
    # Stripes that would be lost if less than the target was decoded.
    grey = np.tile(np.repeat(np.array([0, 255], np.uint8), 8), (160, 20))
    save(tmp_path / "c.jpg", grey, quality=95)
    for size in ((80, 160), (40, 160), (20, 40)):
        exact = Image.fromarray(grey).resize(size[::-1], Image.Resampling.BILINEAR)
        found = first(tmp_path / "c.jpg", resize=size)[0]
        assert np.abs(found.astype(int) - np.asarray(exact)).mean() < 2


def test_photographs_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = np.zeros((8, 16), np.uint8)
    grey[:, :8] = 255
    save(tmp_path / "a.jpg", grey, exif=exif)
    image = first(tmp_path)
    assert image.shape == (1, 16, 8)
    assert image[0, 1, 4] > 200 > 50 > image[0, 14, 4]


def test_other_and_hidden_files_are_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    save(tmp_path / "A.PNG", picture())
    save(tmp_path / ".thumb.png", picture(height=2))
    save(tmp_path / ".cache/b.png", picture(height=2))
    (tmp_path / "notes.txt").touch()
    assert len(read(tmp_path)) == 1
    assert "left out 2 files" in caplog.text
    assert "1 hidden" in caplog.text and "1 .txt" in caplog.text


def test_circle_of_links_ends_and_links_are_followed(tmp_path):
    save(tmp_path / "real/a.png", picture())
    (tmp_path / "set").mkdir()
    (tmp_path / "set/link").symlink_to(tmp_path / "real")
    (tmp_path / "set/self").symlink_to(tmp_path / "set")
    (tmp_path / "real/up").symlink_to(tmp_path)
    assert len(read(tmp_path / "set")) == 1


def test_dangling_link_is_named_and_pipe_is_left_out(tmp_path):
    save(tmp_path / "a.png", picture())
    os.mkfifo(tmp_path / "p.png")
    assert len(read(tmp_path)) == 1
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing.png")
    with pytest.raises(DataError, match=r"gone\.png: must be a complete image"):
        read(tmp_path)


def test_folders_without_images(tmp_path):
    with pytest.raises(DataError, match=r"known format; got an empty folder"):
        read(tmp_path)
    (tmp_path / "a.docx").touch()
    with pytest.raises(DataError, match=r"known format; got 1 \.docx"):
        read(tmp_path)


def test_folder_without_permission(tmp_path, monkeypatch):
    save(tmp_path / "a.png", picture())

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"folder that can be read; got .*Permission denied"):
        read(tmp_path)


def test_corrupted_header_and_content_are_named(tmp_path):
    path = save(tmp_path / "b.png", picture(60, 60))
    save(tmp_path / "a.png", picture(60, 60))
    raw = bytearray(path.read_bytes())
    path.write_bytes(raw[:-100])
    with pytest.raises(DataError, match=r"b\.png must be a complete image"):
        read(tmp_path)["image"][np.arange(2)]
    raw[2000] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"b\.png must be a complete image"):
        read(tmp_path)["image"][np.arange(2)]
    path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.png: must be a complete image"):
        read(tmp_path)
    assert read(tmp_path, skip_bad=1).names == ["a.png"]
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="at least one legal image; got none among 2 files"):
        read(tmp_path, skip_bad=2)


def test_no_flipped_bit_of_a_smooth_png_changes_its_pixels(tmp_path):
    # Loading alone lets a fifth of these through, most of them with wrong pixels.
    pixels = np.tile(np.arange(64, dtype=np.uint8)[:, None], (1, 64))
    path = save(tmp_path / "a.png", pixels)
    raw = path.read_bytes()
    for position in range(8, len(raw)):
        flipped = bytearray(raw)
        flipped[position] ^= 4
        path.write_bytes(flipped)
        try:
            np.testing.assert_array_equal(first(tmp_path)[0], pixels)
        except DataError as error:
            assert "a.png" in str(error)


def test_image_changed_after_reading(tmp_path):
    path = save(tmp_path / "a.png", picture())
    column = read(tmp_path)["image"]
    save(path, picture(height=9))
    with pytest.raises(DataError, match=r"shape \(3, 5, 7\), .*; got \(3, 9, 7\)"):
        column[np.array([0])]


def test_stacks_are_refused_with_advice(tmp_path):
    more = [Image.new("RGB", (7, 5))]
    save(tmp_path / "a.tif", picture(), save_all=True, append_images=more)
    tifffile.imwrite(tmp_path / "b.tif", bands("f4"), photometric="minisblack")
    with pytest.raises(DataError) as info:
        read(tmp_path)
    for name, count in (("a", 2), ("b", 5)):
        assert f"{name}.tif: must hold one image" in str(info.value)
        assert f"got {count} images in one file. reader='volumes'" in str(info.value)


def test_other_values_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 7), np.complex64))
    with pytest.raises(DataError, match=r"a\.tif: must hold images of real .*got complex64"):
        read(tmp_path)
    save(tmp_path / "b/a.webp", picture(), save_all=True, append_images=[Image.new("RGB", (7, 5))])
    with pytest.raises(DataError, match=r"got 2 images in one file\. .*\.npy"):
        read(tmp_path / "b")


def test_tiff_headers_that_lie_are_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, bands("u2"), planarconfig="separate", photometric="minisblack")
    raw = path.read_bytes()
    path.write_bytes(raw[:-100])
    with pytest.raises(DataError, match=r"a\.tif:? must"):
        first(path)
    with tifffile.TiffFile(path) as file:
        places = {tag.name: tag.valueoffset for tag in file.pages[0].tags}
    for side, message in ((100, "must hold"), (50_000, "must have at most|must not expand")):
        lie = bytearray(raw)
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            struct.pack_into("<H", lie, places[name], side)
        path.write_bytes(lie)
        with pytest.raises(DataError, match=message):
            read(path)


def test_a_circle_of_tiff_images_ends(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, bands("f4", 2), photometric="minisblack")
    raw = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        start, last = (page.offset for page in file.pages)
    (num,) = struct.unpack_from("<H", raw, last)
    struct.pack_into("<I", raw, last + 2 + 12 * num, start)
    path.write_bytes(raw)
    with pytest.raises(DataError, match="must list each image once; got a circle"):
        read(path)


def test_bombs_are_refused(tmp_path, monkeypatch):
    save(tmp_path / "big/a.png", picture())
    for most in (30, 10):  # Pillow only warns of the first, and refuses the second.
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(DataError, match=r"a\.png: must"):
            read(tmp_path / "big")


def test_bombs_of_bands_are_refused(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((6, 5, 7), np.float32), planarconfig="separate")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    with pytest.raises(DataError, match="at most 30 pixels; got 7 x 5"):
        read(tmp_path)


@pytest.mark.filterwarnings("default")
def test_bombs_are_refused_although_warnings_are_not_errors(tmp_path, monkeypatch, recwarn):
    save(tmp_path / "a.png", picture())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    with pytest.raises(DataError, match="at most 30 pixels; got 7 x 5"):
        read(tmp_path)


@pytest.mark.parametrize(
    "setting", [{"resize": 5}, {"resize": (5,)}, {"resize": 5.0}, {"resize": (0, 5)}]
)
def test_settings_are_checked(tmp_path, setting):
    with pytest.raises(ConfigError, match=r"ImagesReader\.resize must"):
        read(tmp_path, reader="images", **setting)
    with pytest.raises(ConfigError, match=r"ImagesReader\.mode must"):
        read(tmp_path, reader="images", mode="rgb")


def test_threads_may_share_a_column(tmp_path):
    pixels = [picture() for _ in range(8)]
    for i, values in enumerate(pixels):
        save(tmp_path / f"{i}.png", values)
    column = read(tmp_path)["image"]
    index = [np.array([i % 8]) for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(column.__getitem__, index))
    for i, image in zip(index, images, strict=True):
        np.testing.assert_array_equal(image[0], pixels[i[0]].transpose(2, 0, 1))


@pytest.mark.parametrize("end", ["png", "jpg", "webp", "bmp", "tif"])
def test_damage_is_refused_or_harmless(tmp_path, end):
    path = save(tmp_path / f"a.{end}", picture(12, 12))
    assert refuse_or_read(path, reader="images") > (40 if end == "png" else 15)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_damage_of_bands_is_refused_or_harmless(tmp_path, compression):
    path = tmp_path / "a.tif"
    pixels = bands("u2", 6)
    tifffile.imwrite(path, pixels, planarconfig="separate", compression=compression)
    assert refuse_or_read(path, reader="images") > 10


def test_a_table_beside_the_images_labels_them(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    for name in ("cat/a.png", "dog/b.png"):
        save(tmp_path / name, picture())
    (tmp_path / "labels.csv").write_text("file,age\nb.png,7\na.png,5\n")
    records = read(tmp_path)
    assert list(records) == ["image", "age", "label"]
    assert records["age"].tolist() == [5, 7]
    assert "'age' from labels.csv, whose column 'file' names the files" in caplog.text
    assert list(read(tmp_path, labels="none")) == ["image", "label"]
    assert list(read(tmp_path, field="age")) == ["age"]
