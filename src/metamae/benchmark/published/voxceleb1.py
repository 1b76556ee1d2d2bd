"""VoxCeleb1: celebrities speaking in videos.

Source: Nagrani, Chung and Zisserman, *VoxCeleb: a large-scale speaker identification dataset*,
2017, arXiv:1706.08612. Files such as wav/id10001/1zcIwhmdeo4/00001.wav: speaker, video and turn;
iden_split.txt has a line such as "1 id10001/1zcIwhmdeo4/00001.wav" for each, where 1 is training, 2
validation and 3 test.
"""

from pathlib import Path
from typing import ClassVar

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
from metamae.data.records import Records
from metamae.errors import DataError


class VoxCeleb1(Layout):
    """Reads recordings, and asks which of 1,251 people speaks, by the published split.

    As in DABS and MetaMAE, training and validation files train a probe.
    """

    description: ClassVar[str] = "wav/SPEAKER/VIDEO/*.wav and iden_split.txt"

    def read(self, folder: Path) -> Published:
        path = find(folder, "iden_split.txt")
        heard = sounds(find(folder, "wav"))
        parts: dict[str, list[str]] = {"1": [], "2": [], "3": []}
        for number, line in enumerate(lines(path), 1):
            part, _, name = line.partition(" ")
            if part not in parts or not name:
                raise DataError(
                    f"{path}, line {number} must be 1, 2 or 3, a space and a file; got "
                    f"{line[:80]!r}. Fetch the file again."
                )
            parts[part].append(name)

        def speakers(names: list[str]) -> Records:
            found = chosen(heard, names, path)
            return labelled(found, {"speaker": [name.partition("/")[0] for name in names]})

        challenge = Challenge(
            name="voxceleb1",
            records=speakers(parts["1"] + parts["2"]),
            test=speakers(parts["3"]),
            label="speaker",
            task="classification",
            settings=sound_settings(),
        )
        return asking(challenge, "audio", "rate")
