"""One file per self-supervised method."""

from metamae.registry import Registry

METHODS = Registry(
    __name__,
    "method",
    {
        "mae": "MAE",
        "metamae": "MetaMAE",
    },
)
