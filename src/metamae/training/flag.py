"""A yes or no that a device computes, read without waiting for what it was given to do since."""

import torch
from torch import Tensor


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
