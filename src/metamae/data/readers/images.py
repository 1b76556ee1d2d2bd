"""Images in files, decoded when they are asked for."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from metamae.core.checks import check_at_least, check_one_of
from metamae.data.bad_samples import Aside
from metamae.data.media.labels import check_labels
from metamae.data.media.pictures import decode, decode_bands, probe
from metamae.data.media.samples import SampleFiles
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.errors import ConfigError

_log = logging.getLogger("metamae")


class ImagesReader(Reader):
    """Reads every image below a folder as field "image" (C, H, W).

    Values are of uint8, of uint16 for 16-bit grey, and of the file's own type for other TIFF
    files. Class folders become field "label", a table of labels its columns.

    Args:
        resize: (H, W) in pixels to bring all images to; None keeps the size of each.
        mode: "RGB" or "L" (grey) to convert all images; "auto" demands that they agree.
        labels: Path of a CSV, TSV or Parquet table with a column that names the files; "auto"
            takes the only CSV or TSV file in the folder, "none" none.
    """

    description: ClassVar[str] = "a folder of PNG, JPEG, WebP, BMP or TIFF images, or one of them"
    extensions: ClassVar[tuple[str, ...]] = (
        ".png",
        ".jpg",
        ".jpeg",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
    )
    folders: ClassVar[bool] = True
    local: ClassVar[tuple[str, ...]] = ("labels",)

    def __init__(
        self,
        *,
        resize: Sequence[int] | None = None,
        mode: str = "auto",
        labels: str = "auto",
    ):
        if resize is not None and (not isinstance(resize, list | tuple) or len(resize) != 2):
            raise ConfigError(
                f"ImagesReader.resize must be two numbers (H, W); got {resize!r}. "
                "(64, 64) would do."
            )
        for number in resize or ():
            check_at_least("ImagesReader.resize", number, 1)
        self.resize = None if resize is None else (resize[0], resize[1])
        self.mode = check_one_of("ImagesReader.mode", mode, ["auto", "RGB", "L"])
        self.labels = check_labels("ImagesReader.labels", labels)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        files = SampleFiles.find(data, self.extensions, "image")
        files, pictures = files.probe(partial(probe, mode=self.mode), aside)
        rule = (
            "must have pixels of one kind, {usual} like most; got {got}. mode='RGB' or mode='L' "
            "would do."
        )
        files, pictures = files.agreeing(pictures, lambda picture: picture.kind, rule, aside)
        if cut := sum(picture.cut for picture in pictures):
            _log.info("%s: %d images of 16-bit colours are read as 8-bit ones", files.source, cut)
        first = pictures[0]
        column = files.column(
            [(p.shape[0], *(self.resize or p.shape[1:])) for p in pictures],
            first.dtype,
            partial(decode_bands, size=self.resize)
            if first.bands
            else partial(decode, mode=first.kind, size=self.resize),
            remedy=f"resize={first.shape[1:]} would bring them to one size.",
        )
        return files.records({"image": column}, field, self.labels)
