"""What a file of torch.export holds, seen without loading it.

`torch.export.save` writes numbers as plain bytes, but has two places for pickles: the samples that
a program was made with, and weights or constants that are no plain tensors. A file in which both
are empty is loaded by `torch.export.load` without unpickling anything. Older versions of torch
pickle all weights.
"""

import json
import zipfile
from pathlib import Path

MOST = 2**26  # bytes of a list of entries


def pickled_entries(path: Path) -> list[str]:
    """Return the names of what would be unpickled if a file of torch.export were loaded.

    Raises:
        ValueError: If the file is none of that kind, or damaged; zipfile.BadZipFile included.
    """
    found = []
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                top, slash, below = entry.filename.partition("/")
                name = below if slash else top  # the older form has no folder around all
                if name.endswith("_config.json"):
                    if entry.file_size > MOST:
                        raise ValueError(f"{name} is too long")
                    listed = json.loads(archive.read(entry))["config"]
                    found += [key for key, one in listed.items() if one["use_pickle"] is not False]
                elif not _is_plain(name) and entry.file_size > 0:
                    found.append(name)
    except (zipfile.BadZipFile, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} must be a file of torch.export; got: {error}") from error
    return found


def _is_plain(name: str) -> bool:
    """Whether an entry is one that torch reads as text or as raw numbers."""
    plain = ("data/weights/weight_", "data/constants/tensor_", "models/", ".data/", "extra/")
    return name.startswith(plain) or name in ("archive_format", "archive_version", "byteorder")
