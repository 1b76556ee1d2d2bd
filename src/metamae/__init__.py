"""Self-supervised learning for data that nobody has a foundation model for.

    import metamae

    encoder, _ = metamae.pretrain(X, settings={"steps": 1000})
    vectors = encoder.embed(X)

Names are imported when they are first used, so that importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metamae.data.records import Records as Records
    from metamae.encoder.pretrained import Pretrained as Pretrained
    from metamae.encoder.pretrained import from_pretrained as from_pretrained
    from metamae.encoder.pretrained import load as load
    from metamae.errors import ArtifactError as ArtifactError
    from metamae.errors import ConfigError as ConfigError
    from metamae.errors import DataError as DataError
    from metamae.errors import MetaMAEError as MetaMAEError
    from metamae.errors import TrainingError as TrainingError
    from metamae.estimator import Embedder as Embedder
    from metamae.pretraining.inspect import inspect as inspect
    from metamae.pretraining.pretrain import pretrain as pretrain
    from metamae.run.plugins import register as register
    from metamae.uses.attribute.attribute import attribute_tokens as attribute_tokens
    from metamae.uses.demo import demo as demo
    from metamae.uses.detect.detect import detect as detect
    from metamae.uses.embed.embed import embed as embed
    from metamae.uses.evaluate import evaluate as evaluate
    from metamae.uses.export.export import export as export
    from metamae.uses.fewshot.fewshot import fewshot as fewshot
    from metamae.uses.finetune.finetune import finetune as finetune
    from metamae.uses.finetune.finetune import predict as predict
    from metamae.uses.finetune.finetuned import Finetuned as Finetuned
    from metamae.uses.finetune.finetuned import load_finetuned as load_finetuned
    from metamae.uses.impute.impute import impute as impute
    from metamae.uses.search.search import search as search

_HOME = {
    "ArtifactError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "MetaMAEError": "errors",
    "TrainingError": "errors",
    "Embedder": "estimator",
    "Pretrained": "encoder.pretrained",
    "from_pretrained": "encoder.pretrained",
    "load": "encoder.pretrained",
    "Records": "data.records",
    "attribute_tokens": "uses.attribute.attribute",
    "demo": "uses.demo",
    "detect": "uses.detect.detect",
    "embed": "uses.embed.embed",
    "evaluate": "uses.evaluate",
    "export": "uses.export.export",
    "fewshot": "uses.fewshot.fewshot",
    "finetune": "uses.finetune.finetune",
    "Finetuned": "uses.finetune.finetuned",
    "impute": "uses.impute.impute",
    "load_finetuned": "uses.finetune.finetuned",
    "inspect": "pretraining.inspect",
    "predict": "uses.finetune.finetune",
    "pretrain": "pretraining.pretrain",
    "register": "run.plugins",
    "search": "uses.search.search",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name from the module that it lives in."""
    if name not in _HOME:
        raise AttributeError(f"module 'metamae' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"metamae.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
