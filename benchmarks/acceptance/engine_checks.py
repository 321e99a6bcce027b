"""The checks that need torch, in `engine.acceptance`: the device, the bridged ops, memory and speed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.acceptance.perform import Check
from benchmarks.acceptance.session import Case, Session
from contract.acceptance import Line
from datasets.miniworld.spec import MiniworldSpec
from datasets.miniworld.world import generate

_CASE = Case("cls", "mini")
# The area of a usual photo in ImageNet, 500 x 375 pixels.
_PHOTO_SIDE = 433
_PHOTOS = 64
_MOST_WORKERS = 16


def checks(session: Session) -> list[Check]:
    """Return the checks of ops and memory; `speed` must run alone."""
    options = ("--device", session.device)
    data = ("--data", str(session.task_data(_CASE)))
    return [
        Check("ops", partial(session.ask_engine, "ops", *options)),
        Check("memory", partial(session.ask_engine, "memory", *options, *data)),
    ]


def speed(session: Session) -> list[Check]:
    """Return the check of images per second."""
    return [Check("speed", partial(_speed, session), alone=True)]


def _speed(session: Session) -> Iterator[Line]:
    """Measure the classifier: it takes the most images per second of all tasks."""
    if session.device == "cpu":
        folder = session.place("many")
        _repeat(session.task_data(_CASE), folder, 8)
        settings = ("--config", "mini", "--batch-size", "16", "--workers", "1")
        backbone, cores = "resnet10_b-w24", session.cores
    else:
        spec = MiniworldSpec(
            cls_train_images=_PHOTOS,
            cls_val_images=10,
            cls_large_images=_PHOTOS,
            cls_large_size=_PHOTO_SIDE,
            det_trainval_images=2,
            det_trainval_images_2012=2,
            det_test_images=2,
            seg_train_images=2,
            seg_val_images=2,
        )
        world = generate(spec, session.place("photos"), session.cores)
        folder = session.place("many")
        _repeat(world / "cls", folder, 100)
        cores = max(1, session.cores // max(1, session.gpus))
        workers = min(cores, _MOST_WORKERS)
        settings = ("--config", "imagenet", "--batch-size", "64", "--workers", str(workers))
        backbone = "resnet50_d"
    yield from session.ask_engine(
        "speed",
        *("--device", session.device, "--data", str(folder), "--backbone", backbone),
        *("--cores", str(cores), *settings),
    )


def _repeat(source: Path, target: Path, times: int) -> None:
    """Make an image folder with each image of another one many times, as hard links."""
    for path in sorted(source.rglob("*.jpg")):
        folder = target / path.parent.relative_to(source)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(times):
            os.link(path, folder / f"{path.stem}-{number}{path.suffix}")
