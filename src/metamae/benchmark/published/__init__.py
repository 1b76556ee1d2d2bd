"""One file per published data set: its files as their authors distribute them."""

from metamae.core.registry import Registry

LAYOUTS = Registry(
    __name__,
    "layout",
    {
        "aircraft": "Aircraft",
        "audiomnist": "AudioMnist",
        "chestxray8": "ChestXray8",
        "chexpert": "CheXpert",
        "cifar10": "Cifar10",
        "cub": "Cub",
        "dtd": "Dtd",
        "eurosat": "EuroSat",
        "fluent_speech": "FluentSpeech",
        "genomics": "Genomics",
        "higgs": "Higgs",
        "imagenet32": "ImageNet32",
        "librispeech": "LibriSpeech",
        "mscoco": "MsCoco",
        "pamap2": "Pamap2",
        "pfam": "Pfam",
        "speech_commands": "SpeechCommands",
        "trafficsign": "TrafficSign",
        "vggflower": "VggFlower",
        "voxceleb1": "VoxCeleb1",
        "vqa": "Vqa",
        "wafer": "Wafer",
    },
)
