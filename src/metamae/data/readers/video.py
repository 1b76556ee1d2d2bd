"""Videos, decoded when they are asked for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least, check_between
from metamae.core.extras import require
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Array, Index
from metamae.data.files import UNPACKED_MOST, legible
from metamae.data.media.labels import check_labels
from metamae.data.media.samples import SampleFiles, Shape
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError

# A playlist under the name of a video must not make the decoder open other files or addresses.
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,gif,mpeg",
}


@dataclass(frozen=True)
class _Clip:
    """What a file holds: frames, frames per second, and (H, W) of each as it is given out."""

    frames: int
    rate: Fraction | None
    size: tuple[int, int]


class VideoReader(Reader):
    """Reads every video below a folder as field "video" (C, T, H, W) of uint8, C = 3 (RGB).

    Class folders become field "label", a table of labels its columns.

    Args:
        size: (H, W) in pixels to bring all frames to; None keeps the size of each video.
        frames: Number of frames to pick, evenly over each video; with `fps`, from its middle. A
            video with fewer repeats some. None keeps all.
        fps: Frames to pick per second; None keeps the rate of each video.
        labels: Path of a CSV, TSV or Parquet table with a column that names the files; "auto"
            takes the only CSV or TSV file in the folder, "none" none.
        max_bytes: Size in memory above which a decoded video is refused.
    """

    description: ClassVar[str] = "a folder of MP4, AVI, MKV, WebM, MOV, MPEG or GIF videos, or one"
    extensions: ClassVar[tuple[str, ...]] = (
        ".mp4",
        ".m4v",
        ".avi",
        ".mkv",
        ".webm",
        ".mov",
        ".mpg",
        ".mpeg",
        ".gif",
    )
    folders: ClassVar[bool] = True
    local: ClassVar[tuple[str, ...]] = ("labels", "max_bytes")

    def __init__(
        self,
        *,
        size: Sequence[int] | None = None,
        frames: int | None = None,
        fps: float | None = None,
        labels: str = "auto",
        max_bytes: int = UNPACKED_MOST,
    ):
        if size is not None and (not isinstance(size, list | tuple) or len(size) != 2):
            raise ConfigError(
                f"VideoReader.size must be two numbers (H, W); got {size!r}. (64, 64) would do."
            )
        for number in size or ():
            check_at_least("VideoReader.size", number, 1)
        self.size = None if size is None else (size[0], size[1])
        self.frames = None if frames is None else check_at_least("VideoReader.frames", frames, 1)
        self.fps = None if fps is None else check_between("VideoReader.fps", fps, 0, float("inf"))
        self.labels = check_labels("VideoReader.labels", labels)
        self.max_bytes = check_at_least("VideoReader.max_bytes", max_bytes, 1)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        files = SampleFiles.find(data, self.extensions, "video")
        files, plans = files.probe(self._plan, aside)
        shapes: list[Shape] = [(3, len(picked), *size) for picked, size in plans]
        column = files.column(
            shapes,
            np.uint8,
            partial(_decode, plans=dict(zip(files.paths, plans, strict=True))),
            remedy="size=(64, 64) and frames=16 would bring them to one shape.",
        )
        return files.records({"video": column}, field, self.labels)

    def _plan(self, path: Path) -> tuple[Index, tuple[int, int]]:
        # Positions of the frames to give out, and their (H, W).
        clip = _probe(path)
        size = self.size or clip.size
        step = Fraction(1)  # Frames of the file per frame that is given out.
        if self.fps is not None:
            if not clip.rate:
                raise DataError(
                    f"{path} must tell its frames per second for fps={self.fps}; got none. "
                    "frames=16 would do."
                )
            step = clip.rate / Fraction(self.fps)
        num = self.frames or max(1, round(clip.frames / step))
        need = 3 * num * size[0] * size[1]
        if need > self.max_bytes:
            raise DataError(
                f"{path} must not expand beyond {self.max_bytes} bytes; got {need} bytes for "
                f"{num} frames of {size}. frames=16 and size=(64, 64) would do, or "
                f"max_bytes={need}."
            )
        return pick_frames(clip.frames, num, None if self.fps is None else float(step)), size


def pick_frames(total: int, num: int, step: float | None) -> Index:
    """Return the ascending positions of `num` frames out of `total`.

    Args:
        total: Frames that there are.
        num: Frames to pick; those beyond the first or last one repeat it.
        step: Distance between two of them, around the middle; None spreads them evenly.
    """
    if step is None:
        step = total / num
    first = (total - num * step) / 2
    middles = first + (np.arange(num) + 0.5) * step
    return np.asarray(np.floor(middles).clip(0, total - 1), dtype=np.int64)


def _probe(path: Path) -> _Clip:
    # Headers often lack the number of frames, or state it wrongly: packets are counted, not
    # decoded. The first frame tells the size and whether the file is to be turned.
    with _opened(path) as (container, stream):
        rate = stream.average_rate
        num = sum(1 for packet in container.demux(stream) if packet.size and not packet.is_discard)
    with _opened(path) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None or not num:
            raise DataError(f"{path} must hold at least one frame; got none. Remove it.")
        size = (first.height, first.width)
        return _Clip(num, rate, size[::-1] if _turns(first) % 2 else size)


def _decode(path: Path, plans: dict[Path, tuple[Index, tuple[int, int]]]) -> Array:
    picked, (height, width) = plans[path]
    wanted = picked.tolist()
    video = np.empty((3, len(wanted), height, width), dtype=np.uint8)
    done = 0
    with _opened(path) as (container, stream):
        for position, frame in enumerate(container.decode(stream)):
            if position == wanted[done]:
                pixels = _pixels(path, frame, (height, width))
            while done < len(wanted) and position == wanted[done]:
                video[:, done] = pixels
                done += 1
            if done == len(wanted):
                return video
    raise DataError(
        f"{path} must hold {wanted[-1] + 1} frames, as many as packets were counted; got fewer. "
        "Repair it, or convert it to another format."
    )


def _pixels(path: Path, frame: Any, size: tuple[int, int]) -> Array:
    # (C, H, W), upright.
    if frame.is_corrupt:
        raise DataError(f"{path} must be a complete video; got a damaged frame. Repair it.")
    turns = _turns(frame)
    height, width = size[::-1] if turns % 2 else size
    pixels: Array = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
    return np.rot90(pixels, turns).transpose(2, 0, 1)


def _turns(frame: Any) -> int:
    # Quarter turns, against the clock, that bring a frame upright; older versions tell none.
    return round(getattr(frame, "rotation", 0) / 90) % 4


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    av = require("av", "video", "Reading videos")
    with legible(str(path), "must be a complete video", "Repair or remove it."):
        # An absolute path cannot be mistaken for an address.
        with av.open(str(path.absolute()), options=dict(_OPTIONS)) as container:
            if not container.streams.video:
                raise DataError(f"{path} must hold a video stream; got none. Remove it.")
            stream = container.streams.video[0]
            # Samples are decoded side by side already.
            stream.codec_context.thread_count = 1
            yield container, stream
