"""A folder of images, decoded when they are asked for."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metamae.aside import Aside
from metamae.checks import check_at_least, check_one_of
from metamae.columns import Array, Column
from metamae.errors import ConfigError, DataError
from metamae.files import check_field, class_folders, find_in_folder, find_path, legible
from metamae.readers.base import Reader
from metamae.records import Records

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
# Pillow's mode of a file -> mode in which it is given out; 16-bit grey stays 16-bit.
_MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "P": "RGB",
    "PA": "RGB",
    "RGB": "RGB",
    "RGBX": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "I;16": "I;16",
    "I;16B": "I;16",
    "I;16L": "I;16",
    "I;16N": "I;16",
}
_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}
_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 mean that width and height are exchanged.


class ImageFiles:
    """A column of images: (S, C, H, W) of uint8, or of uint16 for 16-bit grey.

    Decoding keeps no state, so that threads may share a column.

    Args:
        paths: One file per sample.
        mode: "L", "LA", "RGB", "RGBA" or "I;16" (16-bit grey).
        size: (H, W) in pixels of every image.
        resize: Whether to bring images to `size`; else they have to have it.
    """

    def __init__(self, paths: Sequence[Path], mode: str, size: tuple[int, int], resize: bool):
        self.paths, self.mode, self.size, self.resize = list(paths), mode, size, resize

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint16 if self.mode == "I;16" else np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.paths), _CHANNELS[self.mode], *self.size)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Array:
        chosen = np.arange(len(self.paths))[index]
        images = np.empty((chosen.size, *self.shape[1:]), dtype=self.dtype)
        for row, position in enumerate(chosen.ravel()):
            images[row] = self._decode(self.paths[position])
        return images.reshape(*chosen.shape, *self.shape[1:])

    def _decode(self, path: Path) -> Array:
        with _opened(path, verify=True) as image:
            pixels = self._pixels(_upright(image))
        if pixels.shape[:2] != self.size:
            raise DataError(
                f"{path} must have {self.size} pixels (H, W) as when the folder was read; got "
                f"{pixels.shape[:2]}. Read the folder again."
            )
        return pixels.reshape(*self.size, -1).transpose(2, 0, 1)

    def _pixels(self, image: Any) -> Array:
        from PIL import Image

        if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
            deep = np.asarray(image).astype(np.int32)
            if self.mode == "I;16":
                if not self.resize:
                    return deep.astype(np.uint16)
                deep = np.asarray(self._resized(Image.fromarray(deep)))
                return deep.clip(0, 2**16 - 1).astype(np.uint16)
            # Pillow has cut off instead of scaled here in some versions.
            image = Image.fromarray((deep >> 8).astype(np.uint8))
        if image.mode in ("P", "PA"):
            # By way of RGBA, because Pillow warns where a palette has transparent entries.
            image = image.convert("RGBA")
        image = image.convert(self.mode)
        return np.asarray(self._resized(image) if self.resize else image)

    def _resized(self, image: Any) -> Any:
        from PIL import Image

        height, width = self.size
        return image.resize((width, height), Image.Resampling.BILINEAR)


class ImagesReader(Reader):
    """Reads every image below a folder as field "image", and class folders as field "label".

    Args:
        resize: (H, W) in pixels to bring all images to; None demands that they agree.
        mode: "RGB" or "L" (grey) to convert all images; "auto" demands that they agree.
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

    def __init__(self, *, resize: Sequence[int] | None = None, mode: str = "auto"):
        if resize is not None and (not isinstance(resize, list | tuple) or len(resize) != 2):
            raise ConfigError(
                f"ImagesReader.resize must be two numbers (H, W); got {resize!r}. "
                "(64, 64) would do."
            )
        for number in resize or ():
            check_at_least("ImagesReader.resize", number, 1)
        self.resize = None if resize is None else (resize[0], resize[1])
        self.mode = check_one_of("ImagesReader.mode", mode, ["auto", "RGB", "L"])

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        root, source = find_path(data), str(data)
        if root.is_dir():
            paths = find_in_folder(root, source, self.extensions, "image")
        elif root.is_file():
            root, paths = root.parent, [root]
        else:
            raise DataError(f"{source} must be a folder of images; got a device. Give a folder.")
        names = [path.relative_to(root).as_posix() for path in paths]
        columns: dict[str, Column] = {"image": self._column(source, paths, names)}
        labels = class_folders(names)
        if labels is not None:
            columns["label"] = np.array(labels, dtype=object)
        check_field(source, field, columns)
        records = Records(columns, source, row_word="image", names=names)
        return records if field is None else records.only([field])

    def _column(self, source: str, paths: list[Path], names: list[str]) -> ImageFiles:
        headers = [_header(path) for path in paths]
        modes = [mode if self.mode == "auto" else self.mode for mode, _ in headers]
        _check_same(source, names, modes, "one kind of pixel", "mode='RGB' or mode='L'")
        sizes = [size if self.resize is None else self.resize for _, size in headers]
        _check_same(source, names, sizes, "one size (H, W)", f"resize={sizes[0]}")
        return ImageFiles(paths, modes[0], sizes[0], self.resize is not None)


def _check_same(
    source: str, names: Sequence[str], values: Sequence[Any], what: str, remedy: str
) -> None:
    (usual, _), *_ = Counter(values).most_common(1)
    odd = [f"{name}: {value}" for name, value in zip(names, values, strict=True) if value != usual]
    if odd:
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        raise DataError(
            f"{source} must hold images of {what}; got {usual} for most, but "
            f"{', '.join(odd[:5])}{more}. {remedy} would do."
        )


@contextmanager
def _opened(path: Path, verify: bool = False) -> Iterator[Any]:
    from PIL import Image

    remedy = "Repair or remove it."
    with legible(str(path), "must be a complete image", remedy), path.open("rb") as file:
        with Image.open(file, formats=_FORMATS) as image:
            _check_pixels(path, image)
            # Only PNG keeps sums of its content, and loading does not compare them.
            if verify and image.format == "PNG":
                image.verify()
                file.seek(0)
                with Image.open(file, formats=_FORMATS) as again:
                    yield again
            else:
                yield image


def _check_pixels(path: Path, image: Any) -> None:
    from PIL import Image

    most = Image.MAX_IMAGE_PIXELS
    if most is not None and image.width * image.height > most:
        raise DataError(
            f"{path} must have at most {most} pixels; got {image.width} x {image.height}. "
            "Cut it into tiles."
        )


def _header(path: Path) -> tuple[str, tuple[int, int]]:
    # Mode and (H, W) of an image as it will be given out, without decoding it.
    with _opened(path) as image:
        mode = "I;16" if (image.mode, image.format) == ("I", "PNG") else _MODES.get(image.mode)
        # A JPEG may carry previews and depth maps, and its first image is the photograph.
        frames = 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
        size = (image.height, image.width)
        if _orientation(image) >= 5:
            size = size[::-1]
    if mode is None or frames > 1:
        got = f"{frames} images in one file" if frames > 1 else f"mode {image.mode!r}"
        raise DataError(
            f"{path} must hold one image of 8-bit channels or of 16-bit grey; got {got}. "
            "Save such data as an array in a .npy file."
        )
    return mode, size


def _orientation(image: Any) -> int:
    # Pillow turns TIFF files by itself, and would have to decode a PNG to find the tag.
    if image.format not in ("JPEG", "MPO", "WEBP"):
        return 1
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def _upright(image: Any) -> Any:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image) if _orientation(image) > 1 else image
