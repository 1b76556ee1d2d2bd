"""Small data sets of every kind and small networks on them, for tests that hold for all."""

from functools import cache
from typing import Any

import numpy as np
import torch

from metamae.build import Network, build_method
from metamae.methods.base import Method
from metamae.modalities import MODALITIES
from metamae.modalities.base import Modality
from metamae.records import Records
from metamae.types import Batch

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


def _codes(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(10, 15, length) for length in lengths]


def _padded_codes() -> np.ndarray:
    codes = np.stack(_codes(*[9] * NUM))
    codes[0, 5:] = 0
    codes[1, 8:] = 0
    return codes


# Name -> kind, columns and the modality's settings.
DATA: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "series": ("grid", {"X": _normal(NUM, 3, 20)}, {"axes": 1, "cell": 4}),
    "series, cell does not divide": ("grid", {"X": _normal(NUM, 2, 22)}, {"axes": 1, "cell": 4}),
    "series with gaps": ("grid", {"X": _gappy()}, {"axes": 1, "cell": 4}),
    "images": ("grid", {"X": _normal(NUM, 3, 8, 8)}, {"cell": 4}),
    "images, channels last": ("grid", {"X": _normal(NUM, 9, 7, 3)}, {"cell": [4, 3]}),
    "grey images": ("grid", {"X": np.arange(NUM * 64).reshape(NUM, 8, 8) % 251}, {"cell": 2}),
    "volumes": ("grid", {"X": _normal(NUM, 1, 4, 6, 5)}, {"axes": 3, "cell": [2, 3, 2]}),
    "codes": ("symbols", {"X": np.stack(_codes(*[9] * NUM))}, {}),
    "codes of unequal length": ("symbols", {"X": objects(_codes(*range(2, 2 + NUM)))}, {}),
    "padded codes": ("symbols", {"X": _padded_codes()}, {"padding_code": 0}),
    "numbers": ("table", {"X": _normal(NUM, 5)}, {}),
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
    spec, _ = kind.infer(records, rng, **settings)
    return spec, records


def read(name: str) -> tuple[Modality, Batch]:
    """Return the spec of a case and all its samples as a batch that may be written to."""
    spec, records = case(name)
    return spec, spec.batch(records, np.arange(len(records)))


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
        masking=masking,
        masking_settings={"ratio": ratio},
        seed=seed,
    )


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
