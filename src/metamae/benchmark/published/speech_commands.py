"""Google Speech Commands, version 2: a spoken word of 35.

Source: Warden, *Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition*, 2018,
arXiv:1804.03209. Files such as bed/00176480_nohash_0.wav: word, speaker, and turn;
validation_list.txt and testing_list.txt name files by such paths, all others are for training.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import (
    Layout,
    Published,
    asking,
    chosen,
    find,
    labelled,
    lines,
    sound_settings,
    sounds,
)
from metamae.errors import DataError

_NOISE = "_background_noise_"


class SpeechCommands(Layout):
    """Reads recordings of a word; all but those of testing_list.txt train a probe.

    DABS and MetaMAE mean the same, but lose the comparison of the lists to line ends, so that their
    training files include those that are judged; and they take the noises for a word.
    """

    description: ClassVar[str] = "a folder of WAV files for each word, testing_list.txt"

    def read(self, folder: Path) -> Published:
        path = find(folder, "testing_list.txt", "speech_commands_v0.02/testing_list.txt")
        judged = lines(path)
        heard = sounds(path.parent)
        names = [name for name in heard.names or () if not name.startswith(f"{_NOISE}/")]
        if odd := [name for name in names if name.count("/") != 1]:
            raise DataError(
                f"{path.parent} must hold recordings in a folder for each word; got {odd[0]}. "
                "bed/00176480_nohash_0.wav would do."
            )
        heard = chosen(heard, names, path)
        columns = {
            "word": [name.partition("/")[0] for name in names],
            "speaker": [name.partition("/")[2].partition("_")[0] for name in names],
        }
        records = labelled(heard, columns)
        places = {name: place for place, name in enumerate(names)}
        if missing := [name for name in judged if name not in places]:
            raise DataError(
                f"{path.parent} must hold every file that {path.name} names; {missing[0]} is not "
                "there. Unpack the data set again."
            )
        test = np.zeros(len(names), dtype=bool)
        test[[places[name] for name in judged]] = True
        challenge = Challenge(
            name="speech_commands",
            records=records.subset(np.flatnonzero(~test)),
            test=records.subset(np.flatnonzero(test)),
            label="word",
            group="speaker",
            task="classification",
            settings=sound_settings(),
        )
        return asking(challenge, "audio", "rate")
