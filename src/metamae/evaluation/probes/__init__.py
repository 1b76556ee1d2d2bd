"""One file per way of judging features; the module name is the key."""

from metamae.core.registry import Registry

EVALUATIONS = Registry(
    __name__,
    "evaluation",
    {
        "knn": "KNN",
        "linear_probe": "LinearProbe",
        "boosted_trees": "BoostedTrees",
        "dabs_probe": "DabsProbe",
    },
    group="metamae.evaluations",
)
