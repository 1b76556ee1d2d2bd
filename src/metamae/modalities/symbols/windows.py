"""Long sequences in windows: how long each is, and how far from the next."""

from metamae.core.checks import check_at_least
from metamae.errors import ConfigError


def window_and_stride(
    max_length: int, window: int | str, stride: int | str
) -> tuple[int, int | None]:
    """Symbols of a piece, and from its start to that of the next."""
    length = check_at_least("Symbols.max_length", max_length, 2)
    if window != "auto":
        length = check_at_least("Symbols.window", window, 2)  # type: ignore[arg-type]
    if stride == "auto":
        return length, None
    step = check_at_least("Symbols.stride", stride, 1)  # type: ignore[arg-type]
    if step > length:
        raise ConfigError(
            f"Symbols.stride must be at most the window of {length} symbols, or some would be left "
            f"out; got {step}. {length} would do."
        )
    return length, step
