"""One file per data set of the pocket benchmark: real data inside ordinary packages."""

from metamae.core.registry import Registry

POCKET = Registry(
    __name__,
    "pocket data set",
    {
        "digits": "Digits",
        "mnist": "Mnist",
        "emoji": "Emoji",
        "gun_point": "GunPoint",
        "urban_spectra": "UrbanSpectra",
        "drums": "Drums",
        "breast_cancer": "BreastCancer",
        "segment": "Segment",
        "penguins": "Penguins",
        "yeast": "Yeast",
        "pbmc68k": "Pbmc68k",
        "peptides": "Peptides",
        "solubility": "Solubility",
        "reviews": "Reviews",
    },
)
