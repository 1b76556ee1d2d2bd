"""One file per self-supervised method."""

from metamae.core.registry import Registry

METHODS = Registry(
    __name__,
    "method",
    {
        "metamae": "MetaMAE",
        "mae": "MAE",
        "masked_embedding": "MaskedEmbedding",
        "data2vec": "Data2Vec",
        "emix": "EMix",
        "shed": "ShED",
        "capri": "Capri",
        "psco": "PsCo",
        "random_teacher": "RandomTeacher",
    },
    group="metamae.methods",
)
