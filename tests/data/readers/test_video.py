import logging
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.data.readers import read as read_any
from metamae.data.readers.video import pick_frames
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read

# End of the name -> codec and layout of its pixels; FFV1 loses nothing.
CODECS = {
    "mp4": ("mpeg4", "yuv420p"),
    "avi": ("ffv1", "bgr0"),
    "mkv": ("ffv1", "bgr0"),
    "webm": ("libvpx", "yuv420p"),
    "mov": ("mjpeg", "yuvj420p"),
    "mpg": ("mpeg1video", "yuv420p"),
    "gif": ("gif", "rgb8"),
}


def read(data, **options):
    return read_any(data, reader="video", **options)


def first(source, **options):
    return read(source, **options)["video"][np.array([0])][0]


def film(frames=10, height=16, width=32):
    """Frames (T, H, W, 3) that get lighter, with a white column that wanders."""
    pixels = np.zeros((frames, height, width, 3), dtype=np.uint8)
    pixels += np.arange(frames, dtype=np.uint8)[:, None, None, None] * 12
    for position in range(frames):
        pixels[position, :, position % width] = 255
    return pixels


def save(path, pixels, rate=25):
    path.parent.mkdir(parents=True, exist_ok=True)
    codec, layout = CODECS[path.suffix[1:]]
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = layout
        for image in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("end", CODECS)
def test_every_format_gives_all_frames(tmp_path, end):
    pixels = film()
    video = first(save(tmp_path / f"a.{end}", pixels))
    assert video.dtype == np.uint8
    assert video.shape == (3, 10, 16, 32)
    if CODECS[end][0] == "ffv1":
        np.testing.assert_array_equal(video, pixels.transpose(3, 0, 1, 2))
    elif end != "gif":
        grey = video.mean(axis=0)
        assert np.abs(grey[:, :, 20:] - pixels[:, :, 20:, 0]).mean() < 8


@given(total=st.integers(1, 60), num=st.integers(1, 80), step=st.floats(0.01, 20) | st.none())
@settings(max_examples=200, deadline=None)
def test_picked_frames_exist_ascend_and_are_centred(total, num, step):
    picked = pick_frames(total, num, step)
    assert len(picked) == num
    assert picked.min() >= 0 and picked.max() < total
    assert (np.diff(picked) >= 0).all()
    middle = (picked[0] + picked[-1]) / 2
    assert abs(middle - (total - 1) / 2) <= 0.5
    if step is None and num >= total:
        assert set(picked.tolist()) == set(range(total))


def test_picked_frames_by_hand():
    assert pick_frames(10, 5, None).tolist() == [1, 3, 5, 7, 9]
    assert pick_frames(10, 10, None).tolist() == list(range(10))
    assert pick_frames(2, 4, None).tolist() == [0, 0, 1, 1]
    assert pick_frames(100, 3, 10.0).tolist() == [40, 50, 60]
    assert pick_frames(3, 5, 1.0).tolist() == [0, 0, 1, 2, 2]


def test_frames_and_fps_pick(tmp_path):
    pixels = film(20)
    path = save(tmp_path / "a.mkv", pixels, rate=10)
    expected = pixels.transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(first(path, frames=4), expected[:, [2, 7, 12, 17]])
    np.testing.assert_array_equal(first(path, fps=5), expected[:, 1::2])
    np.testing.assert_array_equal(first(path, fps=5, frames=2), expected[:, [9, 11]])
    np.testing.assert_array_equal(first(path, frames=40), np.repeat(expected, 2, axis=1))


def test_size(tmp_path):
    path = save(tmp_path / "a.mkv", np.full((3, 16, 32, 3), 90, dtype=np.uint8))
    video = first(path, size=[8, 10])
    assert video.shape == (3, 3, 8, 10)
    np.testing.assert_allclose(video, 90, atol=2)


def test_a_video_of_a_turned_camera_is_turned_upright(tmp_path):
    pixels = np.zeros((2, 16, 32, 3), dtype=np.uint8)
    pixels[:, :, 16:] = 250
    path = save(tmp_path / "a.mp4", pixels)
    raw = path.read_bytes()
    one = (1 << 16).to_bytes(4, "big")
    upright = one + bytes(12) + one
    # The matrix of a camera held upright: the right side of its sensor is the lower side.
    turned = bytes(4) + one + bytes(4) + (-(1 << 16)).to_bytes(4, "big", signed=True) + bytes(4)
    at = raw.index(b"tkhd") + 44
    assert raw[at : at + 20] == upright
    path.write_bytes(raw[:at] + turned + raw[at + 20 :])
    video = first(path)
    assert video.shape == (3, 2, 32, 16)
    assert video[:, :, 24:].mean() > 200 > 50 > video[:, :, :8].mean()
    assert first(path, size=(20, 10)).shape == (3, 2, 20, 10)


def test_videos_of_different_shapes(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    save(tmp_path / "run/a.mkv", film(5))
    save(tmp_path / "sit/b.mkv", film(7, height=24))
    records = read(tmp_path)
    assert records["label"].tolist() == ["run", "sit"]
    column = records["video"]
    assert column.sizes.tolist() == [[3, 5, 16, 32], [3, 7, 24, 32]]
    assert [v.shape for v in column[np.arange(2)]] == [(3, 5, 16, 32), (3, 7, 24, 32)]
    assert "size=(64, 64) and frames=16 would" in caplog.text
    assert read(tmp_path, size=(8, 8), frames=2)["video"].shape == (2, 3, 2, 8, 8)


def test_videos_that_would_fill_the_memory_are_refused(tmp_path):
    path = save(tmp_path / "a.mkv", film())
    with pytest.raises(DataError, match=r"beyond 1000 bytes; got 15360 bytes for 10 frames"):
        read(path, max_bytes=1000)
    with pytest.raises(DataError, match=r"bytes for \d+ frames"):
        read(path, fps=1e12)
    assert first(path, max_bytes=1000, frames=2, size=(4, 4)).shape == (3, 2, 4, 4)


def test_a_playlist_under_the_name_of_a_video_opens_nothing(tmp_path):
    save(tmp_path / "other.mpg", film())
    for text in (
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nother.mpg\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile other.mpg\n",
    ):
        path = tmp_path / "a.mp4"
        path.write_text(text)
        with pytest.raises(DataError, match=r"a\.mp4: must be a complete video"):
            read(path)


def test_bad_files_are_listed_and_set_aside(tmp_path):
    save(tmp_path / "good.mkv", film())
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.avi").write_text("no video")
    with av.open(tmp_path / "sound.mp4", "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(DataError, match="at most 0 bad samples") as info:
        read(tmp_path)
    for line in ("empty.mp4: must", "text.avi: must", "sound.mp4: must hold a video stream"):
        assert line in str(info.value)
    assert read(tmp_path, skip_bad=3).names == ["good.mkv"]


def test_folders_without_videos_and_circles(tmp_path):
    with pytest.raises(DataError, match=r"at least one video .* got an empty folder"):
        read(tmp_path)
    save(tmp_path / "a.gif", film())
    (tmp_path / "self").symlink_to(tmp_path)
    assert len(read(tmp_path)) == 1


def test_unreadable_file(tmp_path, monkeypatch):
    path = save(tmp_path / "a.gif", film())

    def refuse(file, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(DataError, match=r"a\.gif: must be a complete video; .*Permission"):
        read(path)


def test_file_cut_after_reading(tmp_path):
    path = save(tmp_path / "a.mkv", film())
    column = read(path)["video"]
    save(path, film(4))
    with pytest.raises(DataError, match=r"must hold 10 frames, as many as packets") as info:
        column[np.array([0])]
    assert info.value.sample == 0


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("size", value) for value in (5, (5,), (0, 5), 1.5)),
        *(("frames", value) for value in (0, 1.5, True)),
        *(("fps", value) for value in (0, -1, "5")),
        ("labels", 3),
        ("max_bytes", 0),
    ],
)
def test_settings_are_checked(tmp_path, setting, value):
    with pytest.raises(ConfigError, match=rf"VideoReader\.{setting} must"):
        read(tmp_path, **{setting: value})


def test_threads_may_share_a_column(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.mkv", film(3) + np.uint8(number * 40))
    column = read(tmp_path)["video"]
    whole = column[np.arange(3)]
    index = [number % 3 for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: column[np.array([n])][0], index))
    for number, video in zip(index, found, strict=True):
        np.testing.assert_array_equal(video, whole[number])


@pytest.mark.parametrize("end", ["mp4", "mkv", "gif", "avi"])
def test_damage_is_refused_or_harmless(tmp_path, end):
    path = save(tmp_path / f"a.{end}", film(4))
    assert refuse_or_read(path, reader="video") > 5
