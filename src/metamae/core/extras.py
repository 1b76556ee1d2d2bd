"""Optional libraries: imported where they are used, and named where they are missing."""

import importlib
from typing import Any

from metamae.errors import ConfigError


def require(module: str, extra: str, purpose: str) -> Any:
    """Import an optional library.

    Args:
        module: Dotted name of the module, e.g. "soundfile".
        extra: The extra of this package that installs it, e.g. "audio".
        purpose: What needs it, to open the message: "Reading audio files".

    Raises:
        ConfigError: If it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{purpose} needs the library {module.partition('.')[0]!r}, which cannot be imported "
            f"({error}). pip install 'metamae[{extra}]' would do."
        ) from error
