"""Data sets that encoders of sound are judged on."""

import numpy as np
import pytest
import soundfile

from metamae.benchmark.published import LAYOUTS
from metamae.errors import DataError

WORDS = ("bed", "go", "yes")


def sound(path, hertz, rate=16000, seconds=1.1):
    """A note that tells which file it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, wave, rate)


def hertz(wave, rate=16000):
    return round(np.abs(np.fft.rfft(wave[0])).argmax() * rate / wave.shape[-1])


def write_audiomnist(root):
    for speaker in (1, 5, 28, 60):
        for digit in range(3):
            for turn in range(2):
                name = f"{speaker:02d}/{digit}_{speaker:02d}_{turn}.wav"
                sound(root / "data" / name, 100 * (digit + 1) + speaker, 48000, 0.7)
    (root / "data" / "audioMNIST_meta.txt").write_text("{}")


def write_commands(root):
    for place, word in enumerate(WORDS):
        for speaker in range(4):
            for turn in range(2):
                name = f"{word}/{speaker:08x}_nohash_{turn}.wav"
                sound(root / name, 200 * (place + 1) + 10 * speaker)
    sound(root / "_background_noise_" / "doing_the_dishes.wav", 50, seconds=3)
    for name, speaker in (("validation_list", 2), ("testing_list", 3)):
        rows = [f"{w}/{speaker:08x}_nohash_{turn}.wav" for w in WORDS for turn in range(2)]
        (root / f"{name}.txt").write_text("\n".join(rows) + "\n")


def write_voxceleb(root):
    rows = []
    for place, speaker in enumerate(("id10001", "id10270", "id11251")):
        for video in ("1zcIwhmdeo4", "J9lHsKG98U8"):
            for turn in range(1, 4):
                name = f"{speaker}/{video}/{turn:05d}.wav"
                sound(root / "wav" / name, 300 + 50 * place)
                rows.append(f"{turn} {name}")
    (root / "iden_split.txt").write_text("\n".join(rows) + "\n")


def write_fluent(root):
    head = ",path,speakerId,transcription,action,object,location"
    for part, speakers in (("train", "ab"), ("valid", "c"), ("test", "d")):
        rows = [head]
        for speaker in speakers:
            for number in range(4):
                name = f"wavs/speakers/{speaker * 16}/{part}{number}-4f5e.wav"
                sound(root / name, 400 + 50 * number)
                action, thing = ("bring", "juice") if number % 2 else ("activate", "lights")
                place = "kitchen" if number > 1 else "none"
                words = '"Turn, please, on"' if number else "Bring juice"
                rows.append(f"{len(rows)},{name},{speaker * 16},{words},{action},{thing},{place}")
        (root / "data").mkdir(parents=True, exist_ok=True)
        (root / "data" / f"{part}_data.csv").write_text("\n".join(rows) + "\n")


def test_audiomnist(tmp_path, learns):
    write_audiomnist(tmp_path)
    published = LAYOUTS.build("audiomnist").read(tmp_path)
    (challenge,) = published.challenges
    assert set(challenge.records["speaker"][:]) == {1, 28}
    assert set(challenge.test["speaker"][:]) == {5, 60}
    assert challenge.group == "speaker"
    columns = (challenge.test[name][:] for name in ("audio", "digit", "speaker", "rate"))
    for wave, digit, speaker, rate in zip(*columns, strict=True):
        assert hertz(wave, rate) == pytest.approx(100 * (digit + 1) + speaker, abs=2)
    learns(published)


def test_damaged_audiomnist(tmp_path):
    layout = LAYOUTS.build("audiomnist")
    with pytest.raises(DataError, match=r"must hold AudioMNIST/data"):
        layout.read(tmp_path)
    write_audiomnist(tmp_path)
    path = tmp_path / "data" / "01" / "2_01_1.wav"
    path.rename(path.with_name("two.wav"))
    with pytest.raises(DataError, match=r"tell digit, speaker and turn; got 01/two.wav"):
        layout.read(tmp_path)
    path.with_name("two.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"two.wav"):
        layout.read(tmp_path)


def test_speech_commands(tmp_path, learns):
    write_commands(tmp_path)
    published = LAYOUTS.build("speech_commands").read(tmp_path)
    (challenge,) = published.challenges
    assert (len(challenge.records), len(challenge.test)) == (18, 6)
    assert set(challenge.test["speaker"][:]) == {"00000003"}
    assert "00000003" not in set(challenge.records["speaker"][:])
    for records in (challenge.records, challenge.test):
        for wave, word in zip(records["audio"][:], records["word"][:], strict=True):
            assert hertz(wave) // 200 == WORDS.index(word) + 1
    learns(published)


def test_damaged_speech_commands(tmp_path):
    layout = LAYOUTS.build("speech_commands")
    with pytest.raises(DataError, match=r"must hold testing_list.txt"):
        layout.read(tmp_path)
    write_commands(tmp_path)
    (tmp_path / "go" / "00000003_nohash_1.wav").unlink()
    with pytest.raises(DataError, match=r"testing_list.txt names; go/00000003_nohash_1.wav is not"):
        layout.read(tmp_path)
    sound(tmp_path / "stray.wav", 100)
    with pytest.raises(DataError, match=r"in a folder for each word; got stray.wav"):
        layout.read(tmp_path)


def test_voxceleb1(tmp_path, learns):
    write_voxceleb(tmp_path)
    published = LAYOUTS.build("voxceleb1").read(tmp_path)
    (challenge,) = published.challenges
    assert (len(challenge.records), len(challenge.test)) == (12, 6)
    for records in (challenge.records, challenge.test):
        for wave, speaker in zip(records["audio"][:], records["speaker"][:], strict=True):
            place = ["id10001", "id10270", "id11251"].index(speaker)
            assert hertz(wave) == pytest.approx(300 + 50 * place, abs=2)
    learns(published)


def test_damaged_voxceleb1(tmp_path):
    layout = LAYOUTS.build("voxceleb1")
    with pytest.raises(DataError, match=r"must hold iden_split.txt"):
        layout.read(tmp_path)
    write_voxceleb(tmp_path)
    path = tmp_path / "iden_split.txt"
    path.write_text(path.read_text() + "4 id10001/x/00001.wav\n")
    with pytest.raises(DataError, match=r"iden_split.txt, line 19 must be 1, 2 or 3"):
        layout.read(tmp_path)
    path.write_text("1 id10001/x/00001.wav\n")
    with pytest.raises(DataError, match=r"id10001/x/00001.wav is not there"):
        layout.read(tmp_path)


def test_fluent_speech(tmp_path, learns):
    write_fluent(tmp_path / "fluent_speech_commands_dataset")
    published = LAYOUTS.build("fluent_speech").read(tmp_path)
    names = [challenge.name for challenge in published.challenges]
    assert names == ["fluent_action", "fluent_object", "fluent_location"]
    for challenge in published.challenges:
        assert (len(challenge.records), len(challenge.test)) == (12, 4)
        assert challenge.not_input == [challenge.label, "speaker"]
        assert set(challenge.records) == {"audio", "rate", *challenge.not_input}
    location = published.challenges[2].test
    assert location["location"][:].tolist() == ["none", "none", "kitchen", "kitchen"]
    assert [hertz(wave) for wave in location["audio"][:]] == [400, 450, 500, 550]
    learns(published)


def test_damaged_fluent_speech(tmp_path):
    layout = LAYOUTS.build("fluent_speech")
    with pytest.raises(DataError, match=r"must hold fluent_speech_commands_dataset/data"):
        layout.read(tmp_path)
    write_fluent(tmp_path)
    path = tmp_path / "data" / "valid_data.csv"
    whole = path.read_text()
    path.write_text(whole.replace("object", "thing", 1))
    with pytest.raises(DataError, match=r"valid_data.csv must have the columns .*'object' is not"):
        layout.read(tmp_path)
    path.write_text(whole.replace("valid2", "valid9"))
    with pytest.raises(DataError, match=r"valid9-4f5e.wav is not there"):
        layout.read(tmp_path)
