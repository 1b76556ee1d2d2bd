"""Every error a user can meet, one class per kind of mistake.

A message has four parts: who owns the setting or the value, the rule, the value received, and
what would work.
"""


class MetaMAEError(Exception):
    """Base of all errors that this package raises on purpose."""


class ConfigError(MetaMAEError, ValueError):
    """A setting has a wrong name or a wrong value, or settings do not go together."""


class DataError(MetaMAEError, ValueError):
    """A file or a value cannot be read, or does not fit the schema.

    Attributes:
        sample: Position in its source of the one sample that is to blame; None if it is not one.
    """

    def __init__(self, message: str, *, sample: int | None = None):
        super().__init__(message)
        self.sample = sample


class ArtifactError(MetaMAEError):
    """A run folder is missing, unfinished, corrupted, in the way, or cannot be written."""


class TrainingError(MetaMAEError):
    """Training cannot go on, although the settings and the data are legal."""
