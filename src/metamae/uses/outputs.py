"""What the files that uses write have in common: where they may stand, and what made them."""

import platform
from collections.abc import Sequence
from importlib.metadata import version as version_of
from pathlib import Path

from metamae.core.registry import did_you_mean
from metamae.core.version import VERSION
from metamae.encoder.pretrained import Pretrained
from metamae.errors import ArtifactError, ConfigError

PAGE_KINDS = (".html", ".htm")  # of files that a page can be written to
LIBRARIES = ("torch", "numpy", "scikit-learn", "matplotlib")  # whose versions a page names


def check_out(
    path: Path, kinds: Sequence[str], overwrite: bool, owner: str, option: str = "out"
) -> Path:
    """Return the path of a file that may be written.

    Args:
        path: Where to.
        kinds: Endings of files that can be written.
        overwrite: Whether a file that is there may be replaced.
        owner: The use, for messages.
        option: Its option that named the file.

    Raises:
        ConfigError: If it ends in an unknown way.
        ArtifactError: If it is there already, or its folder is not.
    """
    if path.suffix.lower() not in kinds:
        raise ConfigError(
            f"{owner}.{option} must end in a known kind of file; got {str(path)!r}."
            f"{did_you_mean(path.suffix, kinds)}"
        )
    if path.is_dir():
        raise ArtifactError(f"{path} must be a file; got a folder. Choose another --{option}.")
    if path.exists() and not overwrite:
        raise ArtifactError(
            f"{path} must not exist yet; it does. --overwrite replaces it, another --{option} "
            f"keeps it."
        )
    if not path.parent.is_dir():
        raise ArtifactError(f"{path} must lie in a folder; {path.parent} is none. Make it first.")
    return path


def versions(pretrained: Pretrained) -> dict[str, str]:
    """Return the versions of what made the run and the page."""
    return {
        "metamae, of the run": pretrained.config.version,
        "metamae, of this page": VERSION,
        "Python": platform.python_version(),
        **{name: version_of(name) for name in LIBRARIES},
    }
