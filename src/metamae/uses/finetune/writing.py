"""Predictions as a table: one row per sample."""

from pathlib import Path
from typing import Any

from metamae.errors import ConfigError
from metamae.uses.finetune.finetuned import Predicted

KINDS = (".csv", ".parquet")


def write_predictions(path: Path, kind: str, names: list[Any], found: Predicted) -> None:
    """Write a column "sample", the predictions, and the probability of each class or label.

    Args:
        path: The file to make.
        kind: How it is to end: one of `KINDS`.
        names: What each sample is called, S of them.
        found: The predictions. One label has a column "predicted"; several have one each,
            "predicted <label>". Probabilities are called "p <class>".

    Raises:
        ConfigError: If two columns would have the same name.
    """
    import pyarrow as pa

    task = found.task
    columns: list[tuple[str, Any]] = [("sample", pa.array(names))]
    if task.kind == "multilabel":
        pairs = zip(task.classes, found.values.T, strict=True)
        columns += [(f"predicted {name}", pa.array(values)) for name, values in pairs]
    else:
        columns.append(("predicted", pa.array(found.values.tolist())))
    if found.probabilities is not None:
        pairs = zip(task.classes, found.probabilities.T, strict=True)
        columns += [(f"p {name}", pa.array(values)) for name, values in pairs]
    titles = [title for title, _ in columns]
    if len(set(titles)) < len(titles):
        raise ConfigError(
            f"Predict.out must have a name for each column; classes of label {task.name!r} are "
            f"called alike. Rename them and fine-tune again."
        )
    table = pa.Table.from_arrays([values for _, values in columns], names=titles)
    if kind == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, path)
    else:
        from pyarrow import csv

        csv.write_csv(table, path)
