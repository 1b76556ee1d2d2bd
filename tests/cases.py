"""Small data sets of every kind and small networks on them, for tests that hold for all."""

from functools import cache
from typing import Any

import numpy as np
import torch

from metamae.data.records import Records
from metamae.methods import METHODS
from metamae.methods.base import Method
from metamae.modalities import MODALITIES
from metamae.modalities.base import Modality
from metamae.modalities.mixture.mixture import Mixture
from metamae.model.tokens import Batch
from metamae.run.build import Network, build_method
from metamae.schema.schema import parts_of

NETWORK = Network(
    width=16, depth=1, heads=2, decoder_width=8, decoder_depth=1, decoder_heads=2, dropout=0.0
)
NUM = 8  # samples of a case


def objects(rows: list[Any]) -> np.ndarray:
    column = np.empty(len(rows), dtype=object)
    column[:] = rows
    return column


def _gappy() -> np.ndarray:
    """Series of which some miss a whole token, some a part of one, and some nothing."""
    x = _normal(NUM, 2, 20)
    x[0, :, 4:8] = np.nan
    x[1, 1, :3] = np.nan
    x[2, 0] = np.nan
    return x


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(3.0, 2.0, shape)


def _holes(*shape: int) -> np.ndarray:
    """Numbers of which some are missing, and once all of a group."""
    x = _normal(*shape)
    x[np.random.default_rng(1).random(shape) < 0.3] = np.nan
    x[0, ::4] = np.nan
    return x


def _days(num: int) -> np.ndarray:
    days = np.datetime64("2024-01-30T09", "h") + 31 * np.arange(num)
    days[3] = np.datetime64("NaT")
    return days


def _lattices(*shapes: tuple[int, ...]) -> np.ndarray:
    """Samples of different sizes, one of them with gaps."""
    rng = np.random.default_rng(0)
    rows = [rng.normal(3.0, 2.0, shape) for shape in shapes]
    rows[2].flat[1::3] = np.nan
    return objects(rows)


def _sound(*lengths: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return objects([rng.integers(-3000, 3000, length).astype(np.int16) for length in lengths])


def _codes(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(10, 15, length) for length in lengths]


def _gappy_points() -> np.ndarray:
    """Sets in the plane with a feature, of which some miss points or hold one many times."""
    x = _normal(NUM, 24, 3)
    x[0, 3:, 1] = np.nan
    x[1, 5:] = x[1, 4]
    return x


def _texts() -> np.ndarray:
    return objects([f"a {'cat' * (1 + n % 3)} näps{n % 2}" for n in range(NUM)])


def _padded_codes() -> np.ndarray:
    codes = np.stack(_codes(*[9] * NUM))
    codes[0, 5:] = 0
    codes[1, 8:] = 0
    return codes


def _gappy_fields() -> dict[str, Any]:
    """Rows of a table and texts; some samples have one of the two only."""
    count, size = _normal(2, NUM)
    count[::4], size[::4] = np.nan, np.nan
    words = ["ab", None, "", "abcabcabca", "b", "cab", None, "ca"]
    return {"count": count, "size": size, "text": objects(words)}


# Name -> kind, columns and the modality's settings.
DATA: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "series": ("grid", {"X": _normal(NUM, 3, 20)}, {"axes": 1, "cell": 4}),
    "series, cell does not divide": ("grid", {"X": _normal(NUM, 2, 22)}, {"axes": 1, "cell": 4}),
    "series with gaps": ("grid", {"X": _gappy()}, {"axes": 1, "cell": 4}),
    "images": ("grid", {"X": _normal(NUM, 3, 8, 8)}, {"cell": 4}),
    "images, channels last": ("grid", {"X": _normal(NUM, 9, 7, 3)}, {"cell": [4, 3]}),
    "grey images": ("grid", {"X": np.arange(NUM * 64).reshape(NUM, 8, 8) % 251}, {"cell": 2}),
    "volumes": ("grid", {"X": _normal(NUM, 1, 4, 6, 5)}, {"axes": 3, "cell": [2, 3, 2]}),
    "series of unequal length": (
        "grid",
        {"X": _lattices(*((2, 7 + 3 * n) for n in range(NUM)))},
        {"axes": 1, "cell": 4},
    ),
    "images of unequal size": (
        "grid",
        {"X": _lattices(*((9 - n % 3, 4 + n, 3) for n in range(NUM)))},
        {"axes": 2, "cell": [3, 4]},
    ),
    "volumes of unequal size": (
        "grid",
        {"X": _lattices(*((1, 2 + n % 2, 6, 4 + n) for n in range(NUM)))},
        {"axes": 3, "cell": [2, 3, 2]},
    ),
    "spectrograms": (
        "grid",
        {"X": _sound(*(300 + 60 * n for n in range(NUM)))},
        {"prepare": {"name": "log_mel", "mels": 8}, "rate": 2000, "cell": [4, 9]},
    ),
    "waves of sound": (
        "grid",
        {"X": _sound(*(60 + 9 * n for n in range(NUM)))},
        {"prepare": "waveform", "rate": 2000, "cell": 16},
    ),
    "codes": ("symbols", {"X": np.stack(_codes(*[9] * NUM))}, {}),
    "codes of unequal length": ("symbols", {"X": objects(_codes(*range(2, 2 + NUM)))}, {}),
    "padded codes": ("symbols", {"X": _padded_codes()}, {"padding_code": 0}),
    "bytes": ("symbols", {"X": _texts()}, {"unit": "byte"}),
    "k-mers that overlap": ("symbols", {"X": _texts()}, {"unit": "kmer", "kmer_stride": 2}),
    "subwords": ("symbols", {"X": _texts()}, {"unit": "bpe", "max_symbols": 20}),
    "points": ("points", {"X": _normal(NUM, 40, 3)}, {}),
    "flat points with gaps": ("points", {"X": _gappy_points()}, {"dims": 2, "normalise": "data"}),
    "numbers": ("table", {"X": _normal(NUM, 5)}, {}),
    "numbers in groups": ("table", {"X": _normal(NUM, 11)}, {"group": 3}),
    "numbers in groups with gaps": ("table", {"X": _holes(NUM, 11)}, {"group": 3}),
    "dates": ("table", {"when": _days(NUM), "x": _normal(NUM)}, {"scaling": {"x": "quantile"}}),
    "series of two rates": (
        "mixture",
        {"slow": _normal(NUM, 2, 20), "fast": _normal(NUM, 1, 80)},
        {"weights": {"fast": 2.0}},
    ),
    "image and text": (
        "mixture",
        {
            "image": _normal(NUM, 3, 8, 8),
            "text": objects(["abcabcab"[n % 3 : 2 + n] for n in range(NUM)]),
        },
        {},
    ),
    "table and text, some missing": ("mixture", _gappy_fields(), {}),
}
EXAMPLES = {f"example of {kind}": kind for kind in MODALITIES.entries}
CASES = [*DATA, *EXAMPLES]


@cache
def case(name: str) -> tuple[Modality, Records]:
    """Return the spec of a case and its samples."""
    rng = np.random.default_rng(0)
    if name in EXAMPLES:
        kind = MODALITIES.get(EXAMPLES[name])
        records, settings = kind.example(NUM, rng), {}
    else:
        registered, columns, settings = DATA[name]
        kind, records = MODALITIES.get(registered), Records(columns, "array")
    if kind is Mixture:
        settings = {"parts": parts_of(records), **settings}
    spec, _ = kind.infer(records, rng, **settings)
    return spec, records


def read(name: str) -> tuple[Modality, Batch]:
    """Return the spec of a case and all its samples as a batch that may be written to."""
    spec, records = case(name)
    return spec, spec.batch(records, np.arange(len(records)))


def hides(method: str) -> bool:
    """Whether a method is built with a masking."""
    return "masking" in METHODS.parts(method)


def build(
    spec: Modality,
    method: str = "metamae",
    masking: str = "random",
    *,
    ratio: float = 0.5,
    seed: int = 0,
    network: Network = NETWORK,
    **settings: Any,
) -> Method:
    """Build a small method, in training mode."""
    return build_method(
        spec,
        network,
        method=method,
        method_settings=settings,
        masking=masking if hides(method) else None,
        masking_settings={"ratio": ratio} if hides(method) else {},
        seed=seed,
    )


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
