"""How a step suits the machine: precision, memory, compilation, values that are not waited for.

- bfloat16 pays where matrix products run at several times the speed; the memory of activations is
  halved. Weights, optimiser state, norms of gradients and losses stay in float32.
- The encoder's blocks may be compiled by PyTorch. The decoder's are not: what is compiled cannot be
  derived twice (pytorch/pytorch#91469), as the inner step asks of it; of the encoder it asks that
  once.
- glibc gives large blocks back to the system when they are freed and gets them again page by page
  when the next tensor of that size is made. On a CPU that is up to a quarter of a training step.
"""

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from metamae.errors import ConfigError
from metamae.model.transformer import Transformer

PRECISIONS = ("auto", "float32", "bfloat16")
# A narrower network's products are so small that conversions cost as much as they save.
WIDE = 128


def choose_precision(precision: str, device: str, width: int) -> str:
    """Return what to compute in, "float32" or "bfloat16".

    Args:
        precision: "float32", "bfloat16", or "auto" for the faster.
        device: Type of the device, "cpu" or "cuda".
        width: Of the network, or the smaller side of the matrices that are multiplied.
    """
    if precision != "auto":
        return precision
    pays = device == "cuda" or (device == "cpu" and width >= WIDE and has_matrix_unit())
    return "bfloat16" if pays else "float32"


def has_matrix_unit() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 in a unit of its own (Intel's AMX).

    False where PyTorch is too old to tell.
    """
    tell = getattr(torch.cpu, "get_capabilities", None)
    return tell is not None and bool(tell().get("amx_bf16", False))


def autocast(precision: str, device: str, width: int) -> torch.autocast:
    """Compute what is inside in the precision that `choose_precision` returns."""
    enabled = choose_precision(precision, device, width) == "bfloat16"
    return torch.autocast(device, dtype=torch.bfloat16, enabled=enabled)


class Flag:
    """Holds a boolean, (), until somebody asks.

    To ask a tensor on a GPU for its value waits for all that was begun on the GPU until then, later
    steps included. This one sends its value to the host at once and waits for that alone.
    """

    def __init__(self, value: Tensor):
        self.value, self.sent = value, None
        if value.is_cuda:
            self.value = torch.empty((), dtype=torch.bool, pin_memory=True)
            self.value.copy_(value, non_blocking=True)
            self.sent = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self.sent.record()

    def __bool__(self) -> bool:
        if self.sent is not None:
            self.sent.synchronize()
        return bool(self.value)


def compile_blocks(encoder: Transformer, backend: str = "inductor") -> None:
    """Compile the blocks of an encoder in place; they are alike, so that one is compiled for all.

    Names of weights stay as they are.

    Args:
        encoder: On the device where it will learn.
        backend: Of `torch.compile`.

    Raises:
        ConfigError: If nothing can be compiled here.
    """
    try:
        torch.compile(_doubled, backend=backend)(encoder.norm.weight.detach())
    # Whatever is missing, from a C++ compiler to Triton, has an error of its own.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"Train.compile must find a compiler for {encoder.norm.weight.device.type}; got "
            f"{type(error).__name__}: {reason}. A C++ compiler would do, or compile=false."
        ) from error
    for block in encoder.blocks:
        block.compile(backend=backend)


def _doubled(x: Tensor) -> Tensor:
    return 2 * x


# Numbers of two settings in glibc's malloc.h, and "never".
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
NEVER = 2**31 - 1
# Afterwards blocks from so many bytes on are given back, and twice as many that lie free: up to
# this glibc raises its threshold by itself until somebody sets it.
LARGE = 32 * 2**20


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the C library of this process keep what is freed, and give it back in the end.

    Only glibc knows how; elsewhere nothing happens.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    # Older ones take nothing above LARGE.
    if not libc.mallopt(M_MMAP_THRESHOLD, NEVER):
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
    libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
        libc.mallopt(M_TRIM_THRESHOLD, 2 * LARGE)
        libc.malloc_trim(0)


def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
