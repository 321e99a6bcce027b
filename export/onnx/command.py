"""The command `python -m export onnx RUN --out FILE`, also `python -m {cls_train,det,seg}.export`."""

from __future__ import annotations

import argparse
import importlib
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
from export.onnx.file import ExportResult, ExportSpec, write
from export.onnx.run import TrainedRun, build, read, task_of

IMAGES = 4
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
INPUT_TYPES = {"uint8": torch.uint8, "float32": torch.float32}


class Export(ABC):
    """The parts of an ONNX export that differ by task.

    Attributes:
        task: A key of `contract.tasks.TASKS`.
        scope: mmengine's default scope of the task.
        changes: Keys of the model's config that the export overrides before it builds the model.
    """

    task: str
    scope: str
    changes: ClassVar[dict[str, Any]] = {}

    @abstractmethod
    def spec(self, run: TrainedRun, model: nn.Module) -> ExportSpec:
        """Return the graph with its outputs, its reference and its metadata."""

    def load(self, run: TrainedRun, path: Path) -> Tensor:
        """Return an image `(1, 3, H, W)` uint8, RGB, resized as in the run's test."""
        steps = run.config.val_dataloader.dataset.dataset.pipeline
        with DefaultScope.overwrite_default_scope(self.scope):
            resize = Compose([step for step in steps if step.type in ("LoadImage", "Resize")])
            loaded = resize({"img_path": str(path)})
        assert loaded is not None
        return torch.from_numpy(loaded["img"][:, :, ::-1].copy()).permute(2, 0, 1)[None]

    def notes(self, run: TrainedRun) -> list[str]:
        """Return notes for users of the file."""
        return []


def main(arguments: Sequence[str] | None = None, export: Export | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Arguments after the command; None takes those of the process.
        export: The task's export; None finds it from the run's `result.json`.

    Returns:
        The exit status.
    """

    def work() -> None:
        options = _parse(export, arguments)
        chosen = export or _export_of(options.work_dir)
        try:
            run, result = export_run(chosen, options)
        except OSError as error:
            raise UserError(str(error)) from error
        print(_report(chosen, options, run, result))

    return exit_status(work, interrupted="interrupted; nothing was written")


def _export_of(work_dir: Path) -> Export:
    """Return the export of a run's task.

    Raises:
        UserError: The task trains no network.
    """
    task = task_of(work_dir)
    if not task.trains:
        raise UserError(f"{work_dir} is a run of the task {task.name}, which trains no network")
    return importlib.import_module(f"export.onnx.{task.name}").EXPORT


def _parse(export: Export | None, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m export onnx",
        description="Write the network of a finished run as an ONNX file that agrees with torch.",
        allow_abbrev=False,
    )
    kind = "" if export is None else f"{export.task} "
    parser.add_argument(
        "work_dir", type=Path, metavar="RUN", help=f"work dir of a finished {kind}run"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="as in model.onnx")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="compare on these images; default: the run's test images",
    )
    parser.add_argument(
        "--input", choices=INPUT_TYPES, default="uint8", help="type of the images (uint8)"
    )
    return parser.parse_args(arguments)


def export_run(export: Export, options: argparse.Namespace) -> tuple[TrainedRun, ExportResult]:
    """Read the run, write the file and check it.

    Raises:
        UserError: The user can fix the problem, or the file disagrees with torch.
    """
    if not options.out.parent.is_dir():
        raise UserError(f"the folder {options.out.parent} of --out does not exist; make it")
    run = read(options.work_dir, export.task)
    spec = export.spec(run, build(run, export.scope, **export.changes))
    spec.metadata = {**_metadata(run, options.input), **spec.metadata}
    kind = INPUT_TYPES[options.input]
    files = _image_files(run, options.images, export.scope)
    return run, write(spec, [export.load(run, path).to(kind) for path in files], options.out)


def _image_files(run: TrainedRun, folder: Path | None, scope: str) -> list[Path]:
    """Return some images, spread evenly over the folder or over the run's test set."""
    if folder is not None:
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not found:
            raise UserError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
        return _spread(found)
    try:
        with DefaultScope.overwrite_default_scope(scope):
            dataset = DATASETS.build(run.config.val_dataloader.dataset.dataset)
    except (UserError, OSError) as error:
        raise UserError(
            f"the run's test images cannot be read ({error}); name a folder of images with --images"
        ) from error
    if len(dataset) == 0:
        raise UserError("the run's test images are gone; name a folder of images with --images")
    return _spread([Path(dataset.get_data_info(i)["img_path"]) for i in range(len(dataset))])


def _spread(files: list[Path]) -> list[Path]:
    count = min(IMAGES, len(files))
    return [files[number * len(files) // count] for number in range(count)]


def _metadata(run: TrainedRun, kind: str) -> dict[str, Any]:
    result = run.result
    return {
        "producer": "TrickBench",
        "stage": result["stage"],
        "spec": result["backbone"],
        "classes": list(run.classes),
        "input": f"NCHW, RGB, {kind}, 0 to 255; normalised inside",
        "weights_file": run.checkpoint.name,
        "weights_sha256": run.sha256,
        "metrics": {metric["name"]: metric["value"] for metric in result["metrics"]},
        "recipe": result["recipe"],
        "tricks": result["tricks"],
        "budget": result["budget"],
        "seed": result["seed"],
        "identity": result["identity"],
        "git_sha": result["code"]["git_sha"],
        "test_pipeline": [
            {key: value for key, value in step.items() if key != "_scope_"}
            for step in run.config.val_dataloader.dataset.dataset.pipeline
        ],
    }


def _report(
    export: Export, options: argparse.Namespace, run: TrainedRun, result: ExportResult
) -> str:
    varies = ", ".join(result.dynamic) or "nothing"
    shapes = ", ".join("×".join(map(str, shape)) for shape in result.shapes)
    lines = [
        f"{options.out}: {run.result['backbone']}, weights of {run.checkpoint.name} (sha256 {run.sha256})",
        f"input:   images, NCHW, RGB, {options.input}, 0 to 255; normalised inside; varies: {varies}",
        f"checked: onnxruntime against torch on images of {shapes}",
        *(f"  {d.output}: {d.value:.2g}, allowed {d.allowed:g}" for d in result.differences),
        *(f"note: {note}" for note in [*result.notes, *export.notes(run)]),
    ]
    return "\n".join(lines)
