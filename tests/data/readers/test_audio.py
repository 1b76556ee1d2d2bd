import logging
import struct
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.data.columns.base import sizes_of, stretch_of
from metamae.data.readers import read as read_any
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read


def read(data, **options):
    return read_any(data, reader="audio", **options)


def tone(samples=3000, channels=1, period=30.0):
    phases = np.arange(samples)[:, None] / period + np.arange(channels)
    return (np.sin(phases) / 2).astype(np.float32)


def save(path, samples, rate=8000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


def first(source, **options):
    return read(source, **options)["audio"][np.array([0])][0]


@pytest.mark.parametrize(
    ("end", "options"),
    [
        ("wav", {"subtype": "PCM_16"}),
        ("flac", {"subtype": "PCM_24"}),
        ("aiff", {"subtype": "PCM_24"}),
        ("wav", {"subtype": "FLOAT"}),
    ],
)
def test_lossless_formats_give_back_the_samples(tmp_path, end, options):
    samples = tone(channels=2)
    path = save(tmp_path / f"a.{end}", samples, **options)
    records = read(path, mono=False)
    assert records["audio"].dtype == np.float32
    assert records["audio"].shape == (1, 2, 3000)
    assert records["rate"].tolist() == [8000]
    assert records["rate"].dtype == np.int64
    atol = 2**-15 if options["subtype"] == "PCM_16" else 2**-23
    np.testing.assert_allclose(records["audio"][np.array([0])][0], samples.T, rtol=0, atol=atol)


@pytest.mark.parametrize("end", ["ogg", "mp3", "opus"])
def test_lossy_formats_keep_length_and_tone(tmp_path, end):
    samples = tone(16000)
    options = {"format": "OGG", "subtype": "OPUS"} if end == "opus" else {}
    audio = first(save(tmp_path / f"a.{end}", samples, **options))
    assert audio.shape == (1, 16000)
    assert np.corrcoef(audio[0, 2000:-2000], samples[2000:-2000, 0])[0, 1] > 0.99


def test_channels_are_averaged_unless_asked_for(tmp_path):
    samples = tone(channels=2)
    path = save(tmp_path / "a.wav", samples, subtype="FLOAT")
    np.testing.assert_allclose(first(path)[0], samples.mean(axis=1), atol=1e-7)
    assert first(path, mono=False).shape == (2, 3000)


@pytest.mark.parametrize("end", ["wav", "flac", "ogg", "mp3"])
def test_stretches_equal_the_parts_of_the_whole(tmp_path, end):
    # MP3 is the one in which a plain seek lands elsewhere.
    path = save(tmp_path / f"a.{end}", tone(132_300, channels=2), rate=44100)
    for mono in (True, False):
        column = read(path, mono=mono)["audio"]
        whole = column[np.array([0])][0]
        for start, stop in (
            (0, 10),
            (50_001, 70_001),
            (132_200, 132_300),
            (132_200, 200_000),
            (7, 7),
        ):
            part = stretch_of(column, 0, start, stop)
            np.testing.assert_allclose(part, whole[:, start:stop], atol=1e-6)


def test_a_stretch_reads_no_more_than_its_part(tmp_path, monkeypatch):
    column = read(save(tmp_path / "a.wav", tone(5000)))["audio"]
    asked = []
    plain = soundfile.SoundFile.read

    def counted(self, frames=-1, *args, **kwargs):
        asked.append(frames)
        return plain(self, frames, *args, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    stretch_of(column, 0, 4000, 4100)
    assert asked == [100]


def test_recordings_of_different_lengths_and_rates(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    save(tmp_path / "dog/a.wav", tone(300))
    save(tmp_path / "cat/b.flac", tone(200, channels=2), rate=16000)
    records = read(tmp_path)
    assert records.names == ["cat/b.flac", "dog/a.wav"]
    assert records["label"].tolist() == ["cat", "dog"]
    assert records["rate"].tolist() == [16000, 8000]
    column = records["audio"]
    assert column.dtype == object and column.shape == (2,)
    assert sizes_of(column).tolist() == [[1, 200], [1, 300]]
    assert [value.shape for value in column[np.arange(2)]] == [(1, 200), (1, 300)]
    assert "from (1, 200) to (1, 300)" in caplog.text
    assert "sampling rates from 8000 to 16000 Hz" in caplog.text


def test_odd_channels_go_aside(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.wav", tone(channels=1 if number == 1 else 2))
    with pytest.raises(DataError, match=r"1\.wav: must have 2 channels .* got 1\. mono=True"):
        read(tmp_path, mono=False)
    records = read(tmp_path, mono=False, skip_bad=1)
    assert records.names == ["0.wav", "2.wav"]
    assert records["audio"].shape == (2, 2, 3000)
    assert len(records.aside) == 1
    assert len(read(tmp_path)) == 3


def test_labels_of_a_table(tmp_path):
    for name in ("1-x.wav", "2-y.wav"):
        save(tmp_path / "audio" / name, tone())
    (tmp_path / "meta.csv").write_text("filename,target\n2-y.wav,7\n1-x.wav,5\n")
    records = read(tmp_path, labels=str(tmp_path / "meta.csv"))
    assert records["target"].tolist() == [5, 7]


def test_wav_that_promises_more_than_it_holds_is_read_to_its_end(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    path = save(tmp_path / "a.wav", tone(1000), subtype="PCM_16")
    raw = path.read_bytes()
    at = raw.index(b"data") + 4
    for size in (2**31 - 2, 2**32 - 1):
        path.write_bytes(raw[:at] + struct.pack("<I", size) + raw[at + 4 :])
        assert first(path).shape == (1, 1000)
    assert "1 recordings end before their headers say: a.wav" in caplog.text
    path.write_bytes(raw[: len(raw) - 200])
    assert first(path).shape == (1, 900)


def test_flac_that_promises_terabytes_is_refused_before_any_memory_is_taken(tmp_path):
    path = save(tmp_path / "a.flac", tone(1000))
    raw = bytearray(path.read_bytes())
    # STREAMINFO: 36 bits of the number of samples end 26 bytes behind the marker and its head.
    raw[21] |= 0x0F
    raw[22:26] = b"\xff" * 4
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"a\.flac: must not expand beyond 4294967296 bytes"):
        read(path)
    raw[21] &= 0xF0
    raw[22:26] = (2**28).to_bytes(4, "big")
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"a\.flac must"):
        first(path)
    with pytest.raises(DataError, match="must not expand beyond 2000 bytes"):
        read(path, max_bytes=2000)


def test_mp3_without_a_stated_length_is_counted(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 44100)).astype(np.float32)
    path = tmp_path / "a.mp3"
    with av.open(path, "w", options={"write_xing": "0"}) as container:
        stream = container.add_stream("libmp3lame", rate=44100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="stereo")
        frame.sample_rate = 44100
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    with soundfile.SoundFile(path) as file:
        guess = file.frames
    audio = first(path)
    assert audio.shape[1] % 1152 == 0
    assert audio.shape[1] != guess


def test_mp3_that_states_its_length_is_not_decoded_to_be_counted(tmp_path, monkeypatch):
    path = save(tmp_path / "a.mp3", tone(16000), rate=16000)
    path.write_bytes(b"ID3\x04\0\0\0\0\x40\x00" + bytes(64 * 128) + path.read_bytes())
    assert first(path).shape == (1, 16000)
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    assert read(path)["audio"].shape == (1, 1, 16000)


def test_truncated_mp3_keeps_no_promise(tmp_path):
    save(tmp_path / "a.mp3", tone(160_000), rate=16000)
    path = save(tmp_path / "b.mp3", tone(160_000), rate=16000)
    path.write_bytes(path.read_bytes()[:-3000])
    column = read(tmp_path)["audio"]
    with pytest.raises(DataError, match=r"b\.mp3 must hold values of shape \(1, 160000\)") as info:
        column[np.arange(2)]
    assert info.value.sample == 1


def test_bad_files_are_listed_and_set_aside(tmp_path):
    save(tmp_path / "good.wav", tone())
    save(tmp_path / "none.wav", tone(0))
    (tmp_path / "empty.flac").touch()
    (tmp_path / "text.ogg").write_text("no audio")
    with pytest.raises(DataError, match="at most 0 bad samples") as info:
        read(tmp_path)
    for line in ("none.wav: must hold at least one sample", "empty.flac: must", "text.ogg: must"):
        assert line in str(info.value)
    assert read(tmp_path, skip_bad=3).names == ["good.wav"]
    (tmp_path / "good.wav").unlink()
    with pytest.raises(DataError, match="at least one legal recording; got none among 3"):
        read(tmp_path, skip_bad=3)


def test_folders_without_recordings_circles_and_permissions(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match=r"at least one recording .* got an empty folder"):
        read(tmp_path / "set")
    path = save(tmp_path / "set/a.wav", tone())
    (tmp_path / "set/self").symlink_to(tmp_path / "set")
    assert len(read(tmp_path / "set")) == 1

    def refuse(self, file, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(soundfile.SoundFile, "__init__", refuse)
    with pytest.raises(DataError, match=r"a\.wav: must be a complete audio file; .*Permission"):
        read(path)


def test_file_changed_after_reading(tmp_path):
    path = save(tmp_path / "a.wav", tone(100))
    column = read(path)["audio"]
    save(path, tone(90))
    with pytest.raises(DataError, match=r"shape \(1, 100\), as .*; got \(1, 90\)"):
        column[np.array([0])]
    with pytest.raises(DataError, match=r"shape \(1, 20\), as .*; got \(1, 10\)"):
        stretch_of(column, 0, 80, 100)


def test_settings_are_checked(tmp_path):
    for setting in ({"mono": 1}, {"labels": 3}, {"labels": "labels.txt"}, {"max_bytes": 0}):
        (name,) = setting
        with pytest.raises(ConfigError, match=rf"AudioReader\.{name} must"):
            read(tmp_path, **setting)


def test_threads_may_share_a_column(tmp_path):
    for number in range(4):
        save(tmp_path / f"{number}.wav", np.full(500, number / 8))
    column = read(tmp_path)["audio"]
    index = [number % 4 for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: column[np.array([n])][0], index))
    for number, audio in zip(index, found, strict=True):
        np.testing.assert_allclose(audio, number / 8, atol=1e-4)


@pytest.mark.parametrize("end", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_damage_is_refused_or_harmless(tmp_path, end):
    path = save(tmp_path / f"a.{end}", tone(2000))
    # Files of plain samples hold few bits that could be seen to be wrong.
    assert refuse_or_read(path, reader="audio") >= (1 if end in ("wav", "aiff") else 10)


@given(position=st.integers(0, 200), value=st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_any_byte_of_a_flac_header_may_be_wrong(tmp_path_factory, position, value):
    path = save(tmp_path_factory.mktemp("flac") / "a.flac", tone(1000))
    raw = bytearray(path.read_bytes())
    raw[position % len(raw)] = value
    path.write_bytes(raw)
    try:
        audio = first(path)
    except DataError as error:
        assert "a.flac" in str(error)
    else:
        assert audio.ndim == 2
