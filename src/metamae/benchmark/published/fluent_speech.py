"""Fluent Speech Commands: commands to a house, as a sentence.

Source: Lugosch et al., *Speech Model Pre-training for End-to-End Spoken Language Understanding*,
2019, arXiv:1904.03670. data/train_data.csv, valid_data.csv and test_data.csv have a row for each
recording: a number, path (as in wavs/speakers/2BqVo8kVB2Skwgyb/0a3129c0.wav), speakerId,
transcription, action, object and location.
"""

from pathlib import Path
from typing import ClassVar

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import (
    Layout,
    Published,
    chosen,
    find,
    labelled,
    sound_settings,
    sounds,
    table,
)
from metamae.data.records import Records

LABELS = ("action", "object", "location")


class FluentSpeech(Layout):
    """Reads recordings, and asks for action, object and location, each by itself.

    As in DABS and MetaMAE, training and validation files train a probe.
    """

    description: ClassVar[str] = "data/train_data.csv, valid_data.csv, test_data.csv, wavs"

    def read(self, folder: Path) -> Published:
        names = ("fluent_speech_commands_dataset/data", "data")
        root = find(folder, *names).parent
        heard = sounds(find(root, "wavs"))
        train = _listed(root, heard, "train", "valid")
        test = _listed(root, heard, "test")
        settings = sound_settings()
        challenges = []
        for label in LABELS:
            others = [other for other in LABELS if other != label]
            challenges.append(
                Challenge(
                    name=f"fluent_{label}",
                    records=train.without(others),
                    test=test.without(others),
                    label=label,
                    group="speaker",
                    task="classification",
                    settings=settings,
                )
            )
        return Published(
            pretrain=train.only(["audio", "rate"]), challenges=challenges, settings=settings
        )


def _listed(root: Path, heard: Records, *parts: str) -> Records:
    """Return the recordings of some parts with their labels and speakers."""
    columns: dict[str, list[str]] = {name: [] for name in ("path", "speakerId", *LABELS)}
    for part in parts:
        path = find(root, f"data/{part}_data.csv")
        for name, cells in table(path, list(columns)).items():
            columns[name] += cells
    names = [name.removeprefix("wavs/") for name in columns.pop("path")]
    columns["speaker"] = columns.pop("speakerId")
    return labelled(chosen(heard, names, path), columns)
