"""The words that a user has for modalities, as the modalities themselves state them."""

from typing import Any

from metamae.core.registry import did_you_mean
from metamae.errors import ConfigError
from metamae.modalities import MODALITIES
from metamae.modalities.base import Modality


def kinds() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return word -> registered name of its modality, and the settings that the word implies."""
    return {
        word: (name, dict(implied))
        for name in MODALITIES.entries
        for word, implied in MODALITIES.get(name).words.items()
    }


def modality_of(word: str) -> type[Modality]:
    """Return the modality that a word stands for.

    Raises:
        ConfigError: If there is no such word.
    """
    known = kinds()
    if word not in known:
        raise ConfigError(f"Unknown modality {word!r}.{did_you_mean(word, known)}")
    found: type[Modality] = MODALITIES.get(known[word][0])
    return found


def modality_settings(kind: str) -> dict[str, Any]:
    """Return the settings of a registered modality and their defaults."""
    defaults = MODALITIES.get(kind).infer.__func__.__kwdefaults__
    return dict(defaults or {})
