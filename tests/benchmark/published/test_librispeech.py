"""LibriSpeech: FLAC files in folders of part, speaker and chapter, with transcripts."""

import numpy as np
import pytest
import soundfile

from metamae.benchmark.published import LAYOUTS
from metamae.errors import ConfigError, DataError

# Part -> speaker -> chapters -> utterances.
TREE = {
    "train-clean-100": {19: {198: 6, 227: 4}, 26: {495: 5}},
    "train-clean-360": {14: {208: 4}},
    "train-other-500": {20: {205: 3}},
    "dev-clean": {84: {121123: 6, 121550: 4}, 174: {50561: 5}, 1272: {128104: 5}},
}


def write(root):
    rng = np.random.default_rng(0)
    for part, speakers in TREE.items():
        for speaker, chapters in speakers.items():
            for chapter, num in chapters.items():
                folder = root / part / str(speaker) / str(chapter)
                folder.mkdir(parents=True)
                words = []
                for number in range(num):
                    name = f"{speaker}-{chapter}-{number:04d}"
                    wave = 0.1 * rng.normal(size=16000 + 160 * (speaker + number))
                    soundfile.write(folder / f"{name}.flac", wave, 16000)
                    words.append(f"{name} A B C\n")
                (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(words))
    for name in ("README.TXT", "SPEAKERS.TXT", "CHAPTERS.TXT", "BOOKS.TXT", "LICENSE.TXT"):
        (root / name).write_text("; text\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("openslr")
    write(root / "LibriSpeech")
    return root


def test_utterances_and_speakers(folder):
    published = LAYOUTS.build("librispeech").read(folder)
    assert list(published.pretrain) == ["audio", "rate"]
    assert len(published.pretrain) == 22
    assert published.pretrain["rate"][:].tolist() == [16000] * 22
    (challenge,) = published.challenges
    assert sorted(challenge.records["speaker"][:].tolist()) == [84] * 8 + [174] * 4 + [1272] * 4
    assert sorted(challenge.test["speaker"][:].tolist()) == [84] * 2 + [174] + [1272]
    # The length of an utterance tells its speaker.
    for records in (challenge.records, challenge.test):
        for wave, speaker in zip(records["audio"][:], records["speaker"][:], strict=True):
            assert 0 <= (wave.shape[1] - 16000) / 160 - speaker < 10


def test_the_split_is_that_of_the_papers(folder):
    """By hand: one generator, seed 42, shuffles the positions of each speaker in turn."""
    (challenge,) = LAYOUTS.build("librispeech").read(folder).challenges
    rng, expected = np.random.RandomState(42), []
    # Positions in the order of the names' texts: 1272, 174, 84; speakers in the order of numbers.
    for first, num in ((10, 10), (5, 5), (0, 5)):
        own = np.arange(first, first + num)
        rng.shuffle(own)
        expected += own[int(0.8 * num) :].tolist()
    assert sorted(challenge.test.index.tolist()) == sorted(expected)


def test_fewer_parts(folder):
    published = LAYOUTS.build("librispeech", parts=["train-clean-360"]).read(folder / "LibriSpeech")
    assert len(published.pretrain) == 4
    with pytest.raises(ConfigError, match=r"LibriSpeech.parts must list parts"):
        LAYOUTS.build("librispeech", parts=["dev-clean"])


def test_an_encoder_learns(folder, learns):
    learns(LAYOUTS.build("librispeech").read(folder))


def test_missing_and_damaged_files(tmp_path):
    layout = LAYOUTS.build("librispeech", parts=["train-clean-100"])
    with pytest.raises(DataError, match=r"must hold LibriSpeech/train-clean-100"):
        layout.read(tmp_path)
    root = tmp_path / "LibriSpeech"
    write(root)
    with pytest.raises(DataError, match=r"must hold LibriSpeech/train-clean-x00"):
        LAYOUTS.build("librispeech", parts=["train-clean-x00"]).read(tmp_path)
    path = root / "dev-clean" / "174" / "50561" / "174-50561-0002.flac"
    whole = path.read_bytes()
    path.write_bytes(b"fLaC" + bytes(100))
    with pytest.raises(DataError, match=r"174-50561-0002.flac"):
        layout.read(tmp_path)
    path.write_bytes(whole)
    path.rename(path.with_name("other.flac"))
    with pytest.raises(DataError, match=r"tell speaker, chapter and utterance; got .*other.flac"):
        layout.read(tmp_path)
