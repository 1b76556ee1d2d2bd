"""LibriSpeech: read English books.

Source: Panayotov et al., *LibriSpeech: an ASR corpus based on public domain audio books*, 2015,
openslr.org/12. Files such as train-clean-100/19/198/19-198-0000.flac, which is part, speaker,
chapter and utterance, at 16 kHz; beside them 19-198.trans.txt, which is not needed here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import (
    Layout,
    Published,
    find,
    joined,
    labelled,
    sound_settings,
    sounds,
)
from metamae.data.columns.base import Index
from metamae.errors import ConfigError, DataError

PARTS = ("train-clean-100", "train-clean-360", "train-other-500")
JUDGED = "dev-clean"
SHARE = 0.8  # of each speaker's utterances that train a probe


class LibriSpeech(Layout):
    """Reads utterances, and asks who speaks in those of the part dev-clean.

    A probe learns from 80 % of the utterances of each of its 40 speakers and is judged on the
    others, exactly those of DABS and MetaMAE.

    Args:
        parts: Parts to learn from; DABS and MetaMAE take all three, 960 hours.
    """

    description: ClassVar[str] = (
        "LibriSpeech/train-clean-100/SPEAKER/CHAPTER/*.flac and other parts"
    )

    def __init__(self, *, parts: Sequence[str] = PARTS):
        if not isinstance(parts, list | tuple) or not parts or JUDGED in parts:
            raise ConfigError(
                f"LibriSpeech.parts must list parts of the data set to learn from, and not "
                f"{JUDGED!r}, which is judged; got {parts!r}. ['train-clean-100'] would do."
            )
        self.parts = tuple(parts)

    def read(self, folder: Path) -> Published:
        parts = {part: find(folder, f"LibriSpeech/{part}", part) for part in self.parts}
        judged = find(folder, f"LibriSpeech/{JUDGED}", JUDGED)
        learnt = joined({name: sounds(path) for name, path in parts.items()}, judged.parent)
        heard = sounds(judged)
        speakers = [_speaker(judged, name) for name in heard.names or ()]
        heard = labelled(heard, {"speaker": speakers})
        train, test = _halves(np.array(speakers, dtype=np.int64))
        settings = sound_settings()
        return Published(
            pretrain=learnt,
            challenges=[
                Challenge(
                    name="librispeech",
                    records=heard.subset(train),
                    test=heard.subset(test),
                    label="speaker",
                    task="classification",
                    settings=settings,
                )
            ],
            settings=settings,
        )


def _speaker(part: Path, name: str) -> int:
    speaker, _, rest = name.rpartition("/")[2].partition("-")
    if not speaker.isdecimal() or rest.count("-") != 1:
        raise DataError(
            f"{part} must hold files whose names tell speaker, chapter and utterance; got {name}. "
            "84-121123-0000.flac would do."
        )
    return int(speaker)


def _halves(speakers: Index) -> tuple[Index, Index]:
    """Divide the utterances of each speaker, drawn with one generator for all in turn."""
    rng = np.random.RandomState(42)
    train, test = [], []
    for speaker in np.unique(speakers):
        own = np.flatnonzero(speakers == speaker)
        rng.shuffle(own)
        first = int(SHARE * len(own))
        train.append(own[:first])
        test.append(own[first:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))
