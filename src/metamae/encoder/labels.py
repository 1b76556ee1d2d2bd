"""What labels are to an encoder: no input of it, and of samples that it saw or did not see."""

from metamae.core.registry import did_you_mean
from metamae.data.records import Records
from metamae.encoder.pretrained import Pretrained
from metamae.errors import DataError
from metamae.run.folder import fingerprint


def check_no_input(pretrained: Pretrained, names: list[str]) -> None:
    """Raise DataError if a label is none, or was an input of the encoder."""
    inputs = pretrained.schema.modality.columns
    for name in names:
        if name in inputs:
            raise DataError(
                f"Label {name!r} must not have been an input of the encoder; it was, so every "
                f"score would be too good. Pretrain again with --ignore {name}."
            )
    if not names or not all(names):
        raise DataError(f"Evaluate.label must name a field; got {names}.{did_you_mean('', inputs)}")


def notes_on(pretrained: Pretrained, test: Records) -> list[str]:
    """Say what a reader should know of a run that is tested on some samples."""
    notes = []
    if _seen(pretrained, test):
        notes.append(
            "the encoder saw the test samples during pretraining, without their labels; a test "
            "file of its own (--test) would be stricter"
        )
    if pretrained.adapted:
        notes.append("embeddings are those after the inner step")
    if not pretrained.finished:
        notes.append("the run was interrupted before its budget was used")
    return notes


def _seen(pretrained: Pretrained, records: Records) -> bool:
    """Whether the encoder learnt from these very samples, whatever their file is called."""
    found = fingerprint(pretrained.records(records), pretrained.schema.modality)
    return found == pretrained.config.data.get("fingerprint")
