"""The encoder's blocks, compiled by PyTorch.

The decoder's are not: what is compiled cannot be derived twice (pytorch/pytorch#91469), as the
inner step asks of it; of the encoder it asks that once.
"""

import torch
from torch import Tensor

from metamae.errors import ConfigError
from metamae.model.transformer import Transformer


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
