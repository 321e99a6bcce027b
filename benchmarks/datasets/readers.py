"""Which module reads which layout."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from benchmarks.datasets import ade20k, coco, imagefolder, voc
from benchmarks.datasets.decoding import Progress
from benchmarks.datasets.layout import KINDS, Kind
from benchmarks.datasets.report import VerifyReport
from contract.errors import unknown


class Reader(Protocol):
    """What the module of a layout offers."""

    def class_names(self, root: Path) -> tuple[str, ...]:
        """Returns the class names in the order of their indices."""
        ...

    def data_paths(self, root: Path) -> list[Path]:
        """Returns the folders and files that make up the set; some may not exist."""
        ...

    def splits(self, root: Path) -> tuple[list[Path], list[Path]]:
        """Returns the images that are trained on and those that are tested on."""
        ...

    def check(
        self, root: Path, decode: bool = True, progress: Progress | None = None
    ) -> VerifyReport:
        """Looks at every file of the set."""
        ...


def kind_of(root: Path, usual: Kind) -> Kind:
    """Returns the layout of a folder that the user named without it: the stage's usual one, or COCO's form."""
    return "coco" if usual == "voc" and coco.json_files(root) else usual


_READERS: dict[str, Reader] = {
    "imagefolder": imagefolder,
    "voc": voc,
    "coco": coco,
    "ade20k": ade20k,
}


def reader(kind: str) -> Reader:
    """Returns the module that reads a layout.

    Raises:
        UserError: There is no layout of that name.
    """
    if kind not in _READERS:
        raise unknown("data layout", kind, KINDS)
    return _READERS[kind]
