"""One file per masking strategy: which tokens are hidden."""

from metamae.core.registry import Registry

MASKINGS = Registry(
    __name__,
    "masking",
    {
        "random": "RandomMasking",
        "block": "BlockMasking",
        "field": "FieldMasking",
        "span": "SpanMasking",
    },
    group="metamae.maskings",
)
