"""The layouts of datasets, one module each.

The check of the harness and the tasks use the same module, so they cannot disagree.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, cast

from contract.errors import unknown
from contract.tasks import TASKS
from datasets.images import Progress
from datasets.kinds import KINDS, Kind
from datasets.layouts import ade20k, coco, imagefolder, voc
from datasets.records import Splits
from datasets.report import VerifyReport


class Layout(Protocol):
    """The interface of a layout's module. The parts of its splits have `samples`, records of `datasets.records`."""

    def find(self, root: Path) -> bool:
        """Return whether a folder looks like this layout."""
        ...

    def classes(self, root: Path) -> tuple[str, ...]:
        """Return the class names in the order of their indices."""
        ...

    def splits(self, root: Path) -> Splits[Any]:
        """Return the images to train on and to test on."""
        ...

    def data_paths(self, root: Path) -> list[Path]:
        """Return the folders and files that make up the dataset, without reading one; some may not exist."""
        ...

    def check(
        self, root: Path, decode: bool = True, progress: Progress | None = None
    ) -> VerifyReport:
        """Check every file of the dataset."""
        ...


_LAYOUTS: dict[str, Layout] = {
    "imagefolder": imagefolder,
    "voc": voc,
    "coco": coco,
    "ade20k": ade20k,
}


def layout_of(kind: str) -> Layout:
    """Return the module of a layout.

    Raises:
        UserError: There is no layout of this name.
    """
    if kind not in _LAYOUTS:
        raise unknown("data layout", kind, KINDS)
    return _LAYOUTS[kind]


def kind_of(root: Path, task: str) -> Kind:
    """Return the layout of a folder for a task: the detected one, or the task's usual one.

    Args:
        root: The folder.
        task: A key of `contract.tasks.TASKS`.
    """
    usual, *others = TASKS[task].layouts
    return cast(Kind, next((kind for kind in others if layout_of(kind).find(root)), usual))
