"""One package per modality: what a sample is, how it becomes tokens, how a token is scored."""

from metamae.core.registry import Registry

MODALITIES = Registry(
    __name__,
    "modality",
    {
        "grid": "Grid",
        "mixture": "Mixture",
        "points": "Points",
        "symbols": "Symbols",
        "table": "Table",
    },
    group="metamae.modalities",
)
