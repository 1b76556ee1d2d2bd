"""Where bfloat16 pays: matrix products at several times the speed, memory of activations halved.

Weights, optimiser state, norms of gradients and losses stay in float32.
"""

import torch

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
