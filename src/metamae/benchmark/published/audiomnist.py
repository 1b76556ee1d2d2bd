"""AudioMNIST: spoken digits.

Source: Becker et al., *AudioMNIST: Exploring Explainable Artificial Intelligence for Audio
Analysis on a Simple Benchmark*, 2018, arXiv:1807.03418; github.com/soerenab/AudioMNIST. Files such
as data/01/0_01_0.wav: digit, speaker from 1 to 60, and turn; at 48 kHz.
"""

import re
from pathlib import Path
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import (
    Layout,
    Published,
    asking,
    find,
    labelled,
    sound_settings,
    sounds,
)
from metamae.errors import DataError

# Of the first fold of the authors; their validation speakers train a probe too.
TEST_SPEAKERS = (5, 13, 18, 22, 26, 32, 33, 42, 45, 51, 52, 60)
_NAME = re.compile(r"(?:.*/)?([0-9])_([0-9]{2})_[0-9]+\.wav")


class AudioMnist(Layout):
    """Reads recordings of a digit; as in DABS, 48 speakers train a probe and 12 judge it."""

    description: ClassVar[str] = "data/01/0_01_0.wav and so on, a folder for each speaker"

    def read(self, folder: Path) -> Published:
        root = find(folder, "AudioMNIST/data", "data")
        heard = sounds(root)
        digits, speakers = [], []
        for name in heard.names or ():
            match = _NAME.fullmatch(name)
            if match is None:
                raise DataError(
                    f"{root} must hold files whose names tell digit, speaker and turn; got {name}. "
                    "01/0_01_0.wav would do."
                )
            digits.append(int(match[1]))
            speakers.append(int(match[2]))
        records = labelled(heard, {"digit": digits, "speaker": speakers})
        test = np.isin(speakers, TEST_SPEAKERS)
        if test.all() or not test.any():
            raise DataError(
                f"{root} must hold speakers of both parts; got speakers "
                f"{', '.join(map(str, sorted(set(speakers))))}. Fetch the data set again."
            )
        challenge = Challenge(
            name="audiomnist",
            records=records.subset(np.flatnonzero(~test)),
            test=records.subset(np.flatnonzero(test)),
            label="digit",
            group="speaker",
            task="classification",
            settings=sound_settings(),
        )
        return asking(challenge, "audio", "rate")
