import logging
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from metamae.errors import ConfigError, DataError
from metamae.readers import read

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


def test_mixed_sizes_need_resize(tmp_path):
    for i in range(3):
        save(tmp_path / f"a{i}.png", picture())
    for i in range(2):
        save(tmp_path / f"b{i}.png", picture(height=6))
    with pytest.raises(
        DataError,
        match=r"one size \(H, W\); got \(5, 7\) .* b0\.png: \(6, 7\), b1.*resize=\(5, 7\)",
    ):
        read(tmp_path)
    for i in range(7):
        save(tmp_path / f"c{i}.png", picture(height=30 + i))
    with pytest.raises(DataError, match="and 4 more"):
        read(tmp_path)
    column = read(tmp_path, resize=[4, 6])["image"]
    assert column[np.arange(12)].shape == column.shape == (12, 3, 4, 6)


def test_mixed_channels_need_mode(tmp_path):
    save(tmp_path / "a.png", picture())
    save(tmp_path / "b.png", picture(channels=1))
    with pytest.raises(DataError, match=r"one kind of pixel; got .*mode='RGB'"):
        read(tmp_path)
    assert read(tmp_path, mode="RGB")["image"][np.arange(2)].shape == (2, 3, 5, 7)


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
    with pytest.raises(DataError, match=r"gone\.png must be a complete image"):
        read(tmp_path)


def test_folders_without_images(tmp_path):
    with pytest.raises(DataError, match=r"known format; got an empty folder"):
        read(tmp_path)
    (tmp_path / "a.csv").touch()
    with pytest.raises(DataError, match=r"known format; got 1 \.csv"):
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
    with pytest.raises(DataError, match=r"b\.png must be a complete image"):
        read(tmp_path)


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
            assert "a.png must" in str(error)


def test_image_changed_after_reading(tmp_path):
    path = save(tmp_path / "a.png", picture())
    column = read(tmp_path)["image"]
    save(path, picture(height=9))
    with pytest.raises(DataError, match="as when the folder was read"):
        column[np.array([0])]


def test_bombs_several_frames_and_floats_are_refused(tmp_path, monkeypatch):
    save(
        tmp_path / "stack/a.tif", picture(), save_all=True, append_images=[Image.new("RGB", (7, 5))]
    )
    with pytest.raises(DataError, match=r"one image .*; got 2 images in one file.*\.npy"):
        read(tmp_path / "stack")
    save(tmp_path / "float/a.tif", np.zeros((5, 7), np.float32))
    with pytest.raises(DataError, match="got mode 'F'"):
        read(tmp_path / "float")
    save(tmp_path / "big/a.png", picture())
    for most in (30, 10):  # Pillow only warns of the first, and refuses the second.
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(DataError, match=r"a\.png must"):
            read(tmp_path / "big")


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
    assert refuse_or_read(path) > (40 if end == "png" else 15)
