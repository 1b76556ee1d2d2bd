"""Write an encoder in a form that other programs run, and check it against its source first."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from operator import mul
from pathlib import Path
from typing import Any

from metamae.core.checks import check_one_of
from metamae.core.extras import require
from metamae.core.version import VERSION
from metamae.encoder.portable import check_free, write_folder
from metamae.encoder.pretrained import Pretrained, take
from metamae.errors import ConfigError
from metamae.uses.export.archive import pickled_entries
from metamae.uses.export.inputs import Samples, look_at
from metamae.uses.export.program import check, described, trace

log = logging.getLogger("metamae")

FORMATS = ("huggingface", "torch", "onnx")
PROGRAMS = {"torch": "program.pt2", "onnx": "model.onnx"}
FACTS, SCHEMA = "export.json", "schema.json"
FORMAT = 2
"""Version of `export.json`."""


def export(
    run: str | Path | Pretrained, out: str | Path, *, format: str = "torch", data: Any = None
) -> dict[str, Any]:
    """Write an encoder to a folder.

    "huggingface" writes what `metamae.from_pretrained` reads, with a model card. "torch" (a program
    of torch.export) and "onnx" write a program from scaled samples to vectors, open in the number
    of samples and, where samples differ in it, of tokens; what scales them is `schema.json`, read
    by metamae. A program is run on samples and compared with its source; if it differs nothing is
    written. Neither kind of file holds a pickle: torch.export.load has nothing to unpickle in one
    that was written here, which is made sure of. In a file of unknown origin it would unpickle
    whatever is there.

    A program of a mixture takes the entries of all its fields, "field/entry"; a field that a
    sample lacks is told by a "field/weight" of 0.

    Args:
        run: Folder of a run or of `save_pretrained`, or what `load` returned.
        out: New or empty folder.
        format: One of `FORMATS`.
        data: Samples like those of the training, to check a program on; None for the very ones.

    Returns:
        What `export.json` says: arguments, output, and the largest difference. For "huggingface"
        only the format.

    Raises:
        ConfigError: If the format is unknown, a library is missing, or the encoder has no fixed
            arguments.
        DataError: If the data cannot be read.
        ArtifactError: If the run cannot be loaded, the folder cannot be written, or the program
            gives other vectors than its source.
    """
    check_one_of("Export.format", format, FORMATS)
    folder = Path(out)
    check_free(folder)
    if format == "onnx":
        for module in ("onnx", "onnxscript", "onnxruntime"):
            require(module, "onnx", "Export.format 'onnx'")
    pretrained = take(run, device="cpu")
    if format == "huggingface":
        pretrained.save_pretrained(folder)
        return {"format": format}
    if pretrained.adapted:
        raise ConfigError(
            "Export.run must not be adapted; got one that embeds after the inner step, which needs "
            "a gradient. metamae.load(run) without adapted would do."
        )
    return _write_program(pretrained, folder, format, data)


def _write_program(pretrained: Pretrained, folder: Path, format: str, data: Any) -> dict[str, Any]:
    spec, backbone = pretrained.schema.modality, pretrained.module.backbone.cpu()
    source = pretrained.config.data["source"] if data is None else data
    samples = look_at(spec, pretrained.records(source))
    exported = trace(backbone, spec, samples)
    facts: dict[str, Any] = {}

    def write(new: Path) -> None:
        path = new / PROGRAMS[format]
        if format == "torch":
            run = _torch(exported, path)
        else:
            run = _onnx(exported, path, samples)
        found = check(run, backbone, spec, samples)
        facts.update(
            {
                "format": FORMAT,
                "kind": format,
                "metamae_version": VERSION,
                **described(spec, samples, backbone),
                "check": found,
            }
        )
        (new / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        (new / SCHEMA).write_text(pretrained.schema.to_json() + "\n", encoding="utf-8")

    write_folder(folder, write)
    found = facts["check"]
    log.info(
        "%s gives the vectors of its source on %d samples: largest difference %.1e (limit %.0e)",
        *(PROGRAMS[format], found["samples"], found["largest_difference"], found["tolerance"]),
    )
    return facts


def _torch(exported: Any, path: Path) -> Callable[..., Any]:
    """Write a program of torch.export; return what the file computes.

    Raises:
        ConfigError: If this version of torch pickles any of it.
    """
    import torch

    # The samples that it was made with would be pickled too, and they are the user's own.
    exported.example_inputs = None
    torch.export.save(exported, path)
    if pickled := pickled_entries(path):
        raise ConfigError(
            f"Export.format 'torch' must give a file without pickles; got {', '.join(pickled[:3])} "
            f"from torch {torch.__version__}. A newer torch, or --format onnx, would do."
        )
    # Nothing is unpickled here: the file, which is our own, holds nothing that could be.
    module = torch.export.load(path).module()
    return lambda *tensors: module(*tensors).detach().numpy()


def _onnx(exported: Any, path: Path, samples: Samples) -> Callable[..., Any]:
    """Write an ONNX model; return what the file computes in onnxruntime."""
    import torch

    names = [one.name for one in samples.inputs]
    aten = torch.ops.aten
    own = {aten.prod.dim_int: _product, aten.cumprod.default: _running_product}
    try:
        with _quiet():
            program = torch.onnx.export(
                exported.run_decompositions(own),
                input_names=names,
                output_names=["vectors"],
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            program.save(path, external_data=False)
    except torch.onnx.errors.OnnxExporterError as error:
        reason = " ".join(str(error).split())[-300:]
        raise ConfigError(
            f"Export.run must be an encoder that ONNX has operations for; got: {reason}. --format "
            f"torch would do."
        ) from error
    onnxruntime = require("onnxruntime", "onnx", "Export.format 'onnx'")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    there = {one.name for one in session.get_inputs()}

    def run(*tensors: Any) -> Any:
        given = dict(zip(names, tensors, strict=True))
        return session.run(None, {k: v.numpy() for k, v in given.items() if k in there})[0]

    return run


def _product(x: Any, dim: int, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Product along an axis of a few numbers, as products of two: ONNX lacks that of integers."""
    found = _running_product(x, dim, dtype=dtype).select(dim, -1)
    return found.unsqueeze(dim) if keepdim else found


def _running_product(x: Any, dim: int, *, dtype: Any = None) -> Any:
    """Products of the first one, two, ... numbers along an axis, as products of two."""
    import torch

    parts = (x if dtype is None else x.to(dtype)).unbind(dim)
    return torch.stack(list(accumulate(parts, mul)), dim=dim)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what PyTorch says to itself: functions that are going away, libraries not used."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
