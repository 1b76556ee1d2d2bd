"""VQA, version 1: questions on the photographs of MSCOCO, with answers to choose from.

Source: Antol et al., *VQA: Visual Question Answering*, 2015, arXiv:1505.00468. Images such as
train2014/COCO_train2014_000000487025.jpg; MultipleChoice_mscoco_train2014_questions.json with 18
answers to each question, mscoco_train2014_annotations.json with the right one.
"""

import random
from pathlib import Path
from typing import Any, ClassVar

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import (
    Layout,
    Published,
    asking,
    caption_settings,
    chosen,
    entries,
    find,
    images,
    labelled,
)
from metamae.core.checks import check_at_least
from metamae.data.records import Records
from metamae.errors import DataError

SEED = 42


class Vqa(Layout):
    """Reads an image and, as its caption, a question with an answer: is the answer right?

    As in DABS and MetaMAE, the right answer gives way to a wrong one of the choices in half of the
    cases, and questions whose right answer is not among the choices are left out. They draw anew
    in every run, here the draw is fixed.

    Args:
        size: Pixels along both axes that images are brought to.
    """

    description: ClassVar[str] = "train2014/*.jpg, val2014/*.jpg, questions and annotations in JSON"

    def __init__(self, *, size: int = 224):
        self.size = check_at_least("Vqa.size", size, 1)

    def read(self, folder: Path) -> Published:
        train, test = self._asked(folder, "train2014"), self._asked(folder, "val2014")
        settings = caption_settings()
        challenge = Challenge(
            name="vqa",
            records=train,
            test=test,
            label="right",
            group="picture",
            task="classification",
            settings=settings,
        )
        return asking(challenge, "image", "caption")

    def _asked(self, folder: Path, part: str) -> Records:
        """Return image, question with answer, whether it is right, and number of the image."""
        asked = find(folder, f"MultipleChoice_mscoco_{part}_questions.json")
        answered = find(folder, f"mscoco_{part}_annotations.json")
        pictures = images(find(folder, part), size=self.size)
        names = ["question_id", "question", "multiple_choices"]
        questions = {key: rest for key, *rest in entries(asked, "questions", names)}
        rng = random.Random(SEED)
        columns: dict[str, list[Any]] = {"caption": [], "right": [], "picture": []}
        names = ["question_id", "image_id", "multiple_choice_answer"]
        for key, picture, answer in entries(answered, "annotations", names):
            if key not in questions:
                raise DataError(
                    f"{asked} must hold every question that {answered.name} answers; question "
                    f"{key} is not there. Unpack both again."
                )
            question, choices = questions[key]
            wrong = [choice for choice in choices if choice != answer]
            if len(wrong) == len(choices) or not wrong:
                continue
            right = rng.random() >= 0.5
            columns["caption"].append(f"{question} {answer if right else rng.choice(wrong)}")
            columns["right"].append(int(right))
            columns["picture"].append(int(picture))
        files = [f"COCO_{part}_{number:012d}.jpg" for number in columns["picture"]]
        return labelled(chosen(pictures, files, answered), columns)
