"""The files of a packed data set, and the index of its samples.

    ROOT/packed.json                     classes, and the number of images and shards of each split
    ROOT/train/shard-000000.tar, …       KEY.jpg and KEY.cls of each sample, as WebDataset reads them
    ROOT/train/index-DIGEST.npz          shard, offset, size, label and path of each sample
    ROOT/val/…                           the same
    ROOT/rest.tar                        the files of the folder that are no images of it
    ROOT/made.json                       how `data shrink` made the images, if it did

The index lists the samples in the order of the folder that was packed, so a sample has the same number in both. The
digest in its name covers labels and paths. It makes the fingerprint of the data follow both, even of large data, whose
fingerprint covers names and sizes only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.errors import UserError
from contract.files import read_json
from datasets.texts import Texts, read_arrays, write_arrays

MARKER = "packed.json"
REST = "rest.tar"
FORMAT = 1
_COLUMNS = ("shard", "offset", "size", "label", "names", "name_ends", "shard_bytes")


@dataclass(frozen=True, eq=False)
class Index:
    """The samples of one split.

    Attributes:
        shard: The number of each sample's shard, int32.
        offset: Where its image starts in the shard, int64.
        size: The image's bytes, int64.
        label: The index of its class, int32.
        names: Its path in the folder that was packed, `CLASS/…/NAME.jpg`.
        shard_bytes: The size of each shard, int64.
    """

    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    label: np.ndarray
    names: Texts
    shard_bytes: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def save(self, folder: Path) -> str:
        """Write the index into the folder of its split.

        Returns:
            The file's name.
        """
        columns = (self.shard, self.offset, self.size, self.label)
        texts = (self.names.text, self.names.ends)
        arrays: dict[str, np.ndarray] = dict(
            zip(_COLUMNS, (*columns, *texts, self.shard_bytes), strict=True)
        )
        digest = hashlib.sha256()
        for array in arrays.values():
            digest.update(np.ascontiguousarray(array).tobytes())
        name = f"index-{digest.hexdigest()[:16]}.npz"
        write_arrays(folder / name, arrays)
        return name


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{number:06d}.tar"


def is_packed(root: Path) -> bool:
    """Return whether a folder is a packed data set."""
    return (root / MARKER).is_file()


def read_marker(root: Path) -> dict[str, object]:
    """Return the content of `packed.json`.

    Raises:
        UserError: It is damaged, or of a later version.
    """
    content = read_json(root / MARKER)
    if content is None or content.get("format") != FORMAT:
        found = "cannot be read" if content is None else f"has the format {content.get('format')}"
        raise UserError(
            f"{root / MARKER} {found}; expected format {FORMAT}. Pack the data again with "
            "`python -m benchmarks data pack SRC DST`."
        )
    return content


def read_index(folder: Path) -> Index:
    """Return the index of a split.

    Args:
        folder: The split's folder, such as `ROOT/train`.

    Raises:
        UserError: The index is missing or damaged, or a shard is missing or has another size.
    """
    splits = read_marker(folder.parent)["splits"]
    entry = splits.get(folder.name) if isinstance(splits, dict) else None
    if entry is None:
        raise UserError(
            f"{folder.parent / MARKER} lists no split {folder.name}; pack the data again."
        )
    arrays = read_arrays(folder / entry["index"])
    if arrays is None or any(name not in arrays for name in _COLUMNS):
        raise UserError(
            f"the index {folder / entry['index']} is missing or damaged; copy it again, or pack the data again"
        )
    shard, offset, size, label, names, name_ends, shard_bytes = (arrays[n] for n in _COLUMNS)
    index = Index(shard, offset, size, label, Texts(names, name_ends), shard_bytes)
    for number, expected in enumerate(index.shard_bytes.tolist()):
        shard = folder / shard_name(number)
        found = shard.stat().st_size if shard.is_file() else None
        if found != expected:
            state = "is missing" if found is None else f"has {found} bytes"
            raise UserError(
                f"the shard {shard} {state}; expected {expected} bytes: copy it again, or pack the data again"
            )
    return index


def packed_files(root: Path) -> list[Path]:
    """Return the files of a packed data set that make up its samples.

    Raises:
        UserError: `packed.json` is damaged.
    """
    splits = read_marker(root)["splits"]
    files = [root / MARKER]
    for name, entry in splits.items() if isinstance(splits, dict) else ():
        files.append(root / name / entry["index"])
        files += [root / name / shard_name(number) for number in range(entry["shards"])]
    return files
