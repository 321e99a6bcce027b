"""ImageNet (ILSVRC 2012) from the user's archives.

There are two numberings of the 1000 classes. The usual class index is the position among the sorted wnids, as in
ImageFolder and published weights. The devkit's ids (`ILSVRC2012_ID`) have another order, and the validation labels
are such ids. Therefore labels are mapped from id to wnid with the devkit's `meta.mat`; images are in folders named by
wnid, and `devkit_classes.tsv` records the devkit's order (id, wnid, words).
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scipy.io import loadmat

from contract.errors import UserError
from datasets.prepare.extract import Advance, Staging, Unpack, read_files
from datasets.prepare.space import on_disk

META = "ILSVRC2012_devkit_t12/data/meta.mat"
VAL_LABELS = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
CLASS_LIST = "devkit_classes.tsv"


@dataclass(frozen=True)
class Devkit:
    """The content of the devkit.

    Attributes:
        classes: Wnid and words by the devkit's id.
        val_wnids: The class of each validation image, in the order of their numbers from 1.
    """

    classes: dict[int, tuple[str, str]]
    val_wnids: tuple[str, ...]


@dataclass(frozen=True)
class _ClassList:
    """The step that writes the devkit's order of the classes."""

    text: str
    title: str = "Writing the devkit's class order"

    def measure(self) -> int:
        return on_disk(len(self.text.encode()))

    def write(self, staging: Staging, advance: Advance) -> None:
        content = self.text.encode()
        staging.put(CLASS_LIST, len(content), lambda: io.BytesIO(content))
        advance(on_disk(len(content)))


def read_devkit(archive: Path) -> Devkit:
    """Read class ids and validation labels.

    Args:
        archive: `ILSVRC2012_devkit_t12.tar.gz`.

    Raises:
        UserError: A file is missing in it, or class ids and labels are inconsistent.
    """
    files = read_files(archive, (META, VAL_LABELS))
    for name in (META, VAL_LABELS):
        if name not in files:
            raise UserError(
                f"{archive} does not contain {name}; it is not the devkit of tasks 1 and 2."
            )
    classes: dict[int, tuple[str, str]] = {}
    # Rows are (id, wnid, words, gloss, num_children, …); inner nodes of the tree are not classes.
    for row in loadmat(io.BytesIO(files[META]), squeeze_me=True)["synsets"]:
        if int(row[4]) == 0:
            classes[int(row[0])] = (str(row[1]), str(row[2]))
    wrong = [wnid for wnid, _ in classes.values() if not re.fullmatch(r"n\d{8}", wnid)]
    labels = [int(line) for line in files[VAL_LABELS].split()]
    strange = sorted(set(labels).difference(classes))
    if wrong or strange or not classes:
        raise UserError(
            f"{archive} has labels that are no class ids ({strange[:3]}) or names that are no "
            f"wnids ({wrong[:3]}): it is not the devkit of tasks 1 and 2."
        )
    return Devkit(classes, tuple(classes[label][0] for label in labels))


def steps(archives: Mapping[str, Path]) -> list[Unpack | _ClassList]:
    """Return the steps that sort both splits into folders named by wnid.

    Args:
        archives: By the roles `devkit`, `val` and `train`.

    Raises:
        UserError: The devkit cannot be read.
    """
    devkit = read_devkit(archives["devkit"])
    wnids = {wnid for wnid, _ in devkit.classes.values()}

    def place_val(name: str) -> str:
        file_name = name.rpartition("/")[2]
        number = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.JPEG", file_name)
        if number is None or not 1 <= int(number[1]) <= len(devkit.val_wnids):
            raise UserError(
                f"{archives['val']} holds {name}; expected ILSVRC2012_val_00000001.JPEG to "
                f"{len(devkit.val_wnids):08d}, as many as the devkit has labels."
            )
        return f"val/{devkit.val_wnids[int(number[1]) - 1]}/{file_name}"

    def place_train(name: str) -> str:
        wnid, _, file_name = name.partition("/")
        if wnid not in wnids or not file_name:
            raise UserError(
                f"{archives['train']} holds {name}; expected a tar for each of the devkit's "
                f"{len(wnids)} classes and nothing else."
            )
        return f"train/{wnid}/{file_name.rpartition('/')[2]}"

    lines = (
        f"{number}\t{wnid}\t{words}" for number, (wnid, words) in sorted(devkit.classes.items())
    )
    return [
        _ClassList("\n".join(lines) + "\n"),
        Unpack(archives["val"], place_val),
        Unpack(archives["train"], place_train, nested=True),
    ]
