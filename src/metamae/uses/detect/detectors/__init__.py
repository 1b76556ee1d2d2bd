"""One file per way of telling what is not normal; the module name is the key."""

from metamae.core.registry import Registry

DETECTORS = Registry(
    __name__,
    "detector",
    {
        "flow": "Flow",
        "mahalanobis": "Mahalanobis",
        "memory": "Memory",
        "reconstruction": "ReconstructionError",
    },
)
