"""One file per data set of the pocket benchmark: real data inside ordinary packages."""

from metamae.registry import Registry

POCKET = Registry(
    __name__,
    "pocket data set",
    {
        "digits": "Digits",
    },
)
