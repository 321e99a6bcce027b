"""`python -m {cls_train,det,seg}.export WORK_DIR --out FILE`: what the three commands share."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, DefaultScope
from torch import Tensor, nn

from contract.errors import UserError
from engine.cli import Parser, exit_status
from engine.export.finished import Finished, build, read
from engine.export.onnx_file import Network, Written, write

IMAGES = 4
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
INPUT_TYPES = {"uint8": torch.uint8, "float32": torch.float32}


class Export(ABC):
    """What one stage adds to the common command.

    Attributes:
        stage: `'cls'`, `'det'` or `'seg'`.
        package: The stage's package.
        scope: mmengine's default scope of the stage.
        changes: Keys of the model's config that only training or its metric needs, set before it is built.
    """

    stage: str
    package: str
    scope: str
    changes: ClassVar[dict[str, Any]] = {}

    @abstractmethod
    def network(self, finished: Finished, model: nn.Module) -> Network:
        """The graph with its names, its reference and what the stage says of it."""

    def load(self, finished: Finished, path: Path) -> Tensor:
        """An image `(1, 3, H, W)` uint8, RGB, resized as for the cell's test."""
        steps = finished.config.val_dataloader.dataset.dataset.pipeline
        with DefaultScope.overwrite_default_scope(self.scope):
            resize = Compose([step for step in steps if step.type in ("LoadImage", "Resize")])
            loaded = resize({"img_path": str(path)})
        assert loaded is not None
        return torch.from_numpy(loaded["img"][:, :, ::-1].copy()).permute(2, 0, 1)[None]

    def notes(self, finished: Finished) -> list[str]:
        """What a user of the file has to know, in sentences."""
        return []


def main(export: Export, arguments: Sequence[str] | None = None) -> int:
    """The command line of a stage's export; returns the exit status."""

    def work() -> None:
        options = _parse(export, arguments)
        try:
            finished, written = run(export, options)
        except OSError as error:
            raise UserError(str(error)) from error
        print(_report(export, options, finished, written))

    return exit_status(work, interrupted="interrupted; nothing was written")


def _parse(export: Export, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog=f"python -m {export.package}.export",
        description="Write the network of a finished cell as an ONNX file that agrees with torch.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "work_dir", type=Path, metavar="WORK_DIR", help="of a finished cell: runs/…/seed-N"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="as in model.onnx")
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="compare on these; the cell's test images else"
    )
    parser.add_argument(
        "--input", choices=INPUT_TYPES, default="uint8", help="type of the images (uint8)"
    )
    return parser.parse_args(arguments)


def run(export: Export, options: argparse.Namespace) -> tuple[Finished, Written]:
    """Read the cell, write the file, check it.

    Raises:
        UserError: For everything that the user can mend, a file that disagrees with torch included.
    """
    if not options.out.parent.is_dir():
        raise UserError(f"the folder {options.out.parent} of --out does not exist; make it")
    finished = read(options.work_dir, export.stage)
    model = build(finished, export.scope, **export.changes)
    network = export.network(finished, model)
    network.metadata = {**_metadata(finished, options.input), **network.metadata}
    kind = INPUT_TYPES[options.input]
    files = _image_files(finished, options.images, export.scope)
    images = [export.load(finished, path).to(kind) for path in files]
    return finished, write(network, images, options.out)


def _image_files(finished: Finished, folder: Path | None, scope: str) -> list[Path]:
    """Some images, spread evenly over the folder, or over the cell's test set."""
    if folder is not None:
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not found:
            raise UserError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
        return _spread(found)
    try:
        with DefaultScope.overwrite_default_scope(scope):
            dataset = DATASETS.build(finished.config.val_dataloader.dataset.dataset)
    except (UserError, OSError) as error:
        raise UserError(
            f"the cell's test images cannot be read ({error}); name a folder of images with --images"
        ) from error
    if len(dataset) == 0:
        raise UserError("the cell's test images are gone; name a folder of images with --images")
    return _spread([Path(dataset.get_data_info(i)["img_path"]) for i in range(len(dataset))])


def _spread(files: list[Path]) -> list[Path]:
    count = min(IMAGES, len(files))
    return [files[number * len(files) // count] for number in range(count)]


def _metadata(finished: Finished, kind: str) -> dict[str, Any]:
    result = finished.result
    return {
        "producer": "TrickBench",
        "stage": result["stage"],
        "spec": result["backbone"],
        "classes": list(finished.classes),
        "input": f"NCHW, RGB, {kind}, 0 to 255; normalised inside",
        "weights_file": finished.checkpoint.name,
        "weights_sha256": finished.sha256,
        "metrics": {metric["name"]: metric["value"] for metric in result["metrics"]},
        "recipe": result["recipe"],
        "tricks": result["tricks"],
        "budget": result["budget"],
        "seed": result["seed"],
        "identity": result["identity"],
        "git_sha": result["code"]["git_sha"],
        "test_pipeline": [
            {key: value for key, value in step.items() if key != "_scope_"}
            for step in finished.config.val_dataloader.dataset.dataset.pipeline
        ],
    }


def _report(
    export: Export, options: argparse.Namespace, finished: Finished, written: Written
) -> str:
    varies = ", ".join(written.dynamic) or "nothing"
    shapes = ", ".join("×".join(map(str, shape)) for shape in written.shapes)
    lines = [
        f"{options.out}: {finished.result['backbone']}, weights of {finished.checkpoint.name} "
        f"(sha256 {finished.sha256})",
        f"input:   images, NCHW, RGB, {options.input}, 0 to 255; normalised inside; varies: {varies}",
        f"checked: onnxruntime against torch on images of {shapes}",
        *(f"  {d.output}: {d.value:.2g}, allowed {d.allowed:g}" for d in written.differences),
        *(f"note: {note}" for note in [*written.notes, *export.notes(finished)]),
    ]
    return "\n".join(lines)
