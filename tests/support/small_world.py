"""A very small generated world, and edits of its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from datasets.miniworld import PRESETS
from datasets.report import Problem, VerifyReport

SMALL = replace(
    PRESETS["mini-smoke"],
    cls_train_images=20,
    cls_val_images=10,
    cls_size=32,
    det_trainval_images=4,
    det_trainval_images_2012=2,
    det_test_images=2,
    det_size=(100, 80),
    seg_train_images=3,
    seg_val_images=2,
    seg_size=(64, 48),
)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def only(report: VerifyReport) -> Problem:
    (problem,) = report.problems
    return problem


def write_annotation(path: Path, *objects: str, size: tuple[int, int] = (100, 80)) -> None:
    width, height = size
    path.write_text(
        f"<annotation><size><width>{width}</width><height>{height}</height></size>"
        + "".join(objects)
        + "</annotation>"
    )


def an_object(box: tuple[float, float, float, float], name: str = "striped_ellipse") -> str:
    corners = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    inner = "".join(f"<{corner}>{value}</{corner}>" for corner, value in corners)
    return f"<object><name>{name}</name><bndbox>{inner}</bndbox></object>"
