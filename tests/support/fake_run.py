"""A run folder as the harness and the tasks write it, with numbers that are easy to check."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from contract.result import (
    COMPLETED,
    CURVES_FILE,
    EVALUATION_FILE,
    RECALLS,
    RESULT_FILE,
    SCHEMA_VERSION,
    Result,
)
from contract.tasks import TASKS

FAKED = ("cls", "det", "seg")
SHA = "4f1c09aa5b6e77d2c3b1908f6d5e4c3b2a190807"
# Means by row and task; None if the row does not have the task.
Means = Mapping[str, Mapping[str, Mapping[str, float] | None]]
MEANS: Means = {
    "scratch": {"cls": None, "det": {"map": 31.5}, "seg": {"pixacc": 70.2, "miou": 33.4}},
    "standard": {
        "cls": {"top1": 64.1, "top5": 90.3},
        "det": {"map": 43.8},
        "seg": {"pixacc": 77.9, "miou": 41.6},
    },
    "tricks": {
        "cls": {"top1": 68.9, "top5": 92.0},
        "det": {"map": 46.9},
        "seg": {"pixacc": 78.6, "miou": 42.0},
    },
}
OFFSETS = {0: -0.6, 1: 0.1, 2: 0.5}  # of each seed from the row's mean; they sum to zero
COUNTS = {"scratch": 1.0, "standard": 1.0, "tricks": 1.25}  # multiply-adds of the backbone
INFERENCE = {
    "input": "64x64", "precision": "float32", "threads": 1,
    "runs": 50, "batch": 8, "batch_runs": 9, "notes": [],
}  # fmt: skip
PROTOCOLS = {
    "cls": {"metric": "top-1 accuracy", "test": "single crop", "crop": 64},
    "det": {"metric": "VOC07 11-point AP50, strict", "test": "single-scale"},
    "seg": {"metric": "mean IoU without 0 = other", "test": "single-scale"},
}


def write_run(
    folder: Path,
    *,
    seeds: tuple[int, ...] = (0, 1, 2),
    budget: str = "full",
    means: Means | None = None,
    references: dict[str, dict[str, float]] | None = None,
    pictures: int = 0,
    picture_size: tuple[int, int] = (64, 24),
) -> Path:
    """Write a finished run folder; tests then damage parts of it.

    Args:
        folder: Where to.
        seeds: Of each row and task.
        budget: Of the plan and of each result.
        means: `MEANS` if None.
        references: Published figures by row and column.
        pictures: Example pictures of each task but classification.
        picture_size: Width and height of them.
    """
    means = means or MEANS
    runs = []
    for row, tasks in means.items():
        for task, scores in tasks.items():
            if scores is None:
                continue
            for seed in seeds:
                path = f"cells/{row}/{task}/seed-{seed}"
                identity = hashlib.sha256(f"{path} {budget}".encode()).hexdigest()
                starts_from_own = task != "cls" and tasks["cls"]
                runs.append(
                    {
                        "row": row,
                        "stage": task,
                        "seed": seed,
                        "path": path,
                        "identity": identity,
                        "needs": f"cells/{row}/cls/seed-{seed}" if starts_from_own else None,
                    }
                )
                result = make_result(means, row, task, seed, budget, identity)
                work_dir = folder / path
                # The report shows the first seed; drawing more would only cost time.
                names = [f"examples/{i}.png" for i in range(pictures if seed == seeds[0] else 0)]
                if task != "cls":
                    result["artifacts"]["examples"] = names
                    for index, name in enumerate(names):
                        draw_example(work_dir / name, task, index, picture_size)
                write_json(work_dir / RESULT_FILE, result)
                write_json(work_dir / CURVES_FILE, make_curves(result))
                command = ["python", "-m", f"{task}.train", f"{task}/configs/mini.py"]
                command += ["--seed", str(seed), "--set", "note=a b"]
                write_json(work_dir / "cell.json", {"identity": identity, "command": command})
    plan = {
        "schema_version": 2,
        "suite": "mini",
        "title": "Do classification tricks transfer? (mini)",
        "description": "A small ResNet on generated images, three rows, three tasks.",
        "budget": budget,
        "seeds": list(seeds),
        "columns": ["top1", "map", "pixacc", "miou"],
        "intended": {},
        "teachers": [],
        "stages": {
            task: {"config": f"{task}/configs/mini.py"}
            for task in TASKS
            if any(task in tasks for tasks in means.values())
        },
        "rows": [make_row(row, tasks, references or {}) for row, tasks in means.items()],
        "cells": runs,
    }
    write_json(folder / "plan.json", plan)
    return folder


def make_row(
    row: str,
    tasks: Mapping[str, Mapping[str, float] | None],
    references: dict[str, dict[str, float]],
) -> dict[str, Any]:
    """Make one row of `plan.json`."""
    with_tricks = row not in ("scratch", "standard")
    return {
        "name": row,
        "backbone": "resnet10_d-w32" if with_tricks else "resnet10_b-w32",
        "recipe": None if tasks["cls"] is None else ("efficient" if with_tricks else "standard"),
        "tricks": ["cosine", "label_smoothing", "mixup"] if with_tricks else [],
        "teacher": None,
        "pretrain": tasks["cls"] is not None,
        "reference": references.get(row),
        "note": None,
        "unavailable": None,
        "parameters": 1_234_567,
    }


def make_result(
    means: Means,
    row: str,
    task: str,
    seed: int,
    budget: str,
    identity: str,
) -> dict[str, Any]:
    """Make the content of one `result.json` by the schema that the tasks write it with."""
    offset = OFFSETS.get(seed, 0.0)
    pretrained = means[row]["cls"] is not None
    digest = hashlib.sha256(f"{row} {seed}".encode()).hexdigest()
    report = {"sha256": digest, "matched": 62, "total": 62, "source": {"top1": 64.1 + offset}}
    fields = {
        "schema_version": SCHEMA_VERSION,
        "status": COMPLETED,
        "stage": task,
        "identity": identity,
        "config": f"{task}/configs/mini.py",
        "backbone": "resnet10_d-w32",
        "recipe": "efficient",
        "tricks": [],
        "budget": budget,
        "seed": seed,
        "metrics": [
            {"name": name, "value": mean + offset}
            for name, mean in (means[row][task] or {}).items()
        ],
        "costs": make_costs(row, task, seed),
        "inference": dict(INFERENCE),
        "protocol": PROTOCOLS.get(task, {"metric": "any", "test": "single-scale"}),
        "data": {
            "fingerprint": hashlib.sha256(task.encode()).hexdigest(),
            "classes": 10,
            "train_images_total": 300,
            "train_images_used": 300,
            "test_images_total": 150,
            "test_images_used": 150,
        },
        "model": {"backbone_parameters": 1_234_567, "parameters": 2_345_678},
        "checkpoint": report if task != "cls" and pretrained else None,
        "code": {"git_sha": SHA, "dirty": False},
        "packages": {"torch": "2.14.1", "torchvision": "0.29.1", "mmdet": "3.3.0"},
        "python": "3.11.7",
        "device": {"type": "cpu", "name": "Xeon 8488C", "count": 1},
        "precision": {"dtype": "bfloat16", "reason": "the CPU has AMX tiles"},
        "wall_seconds": 51.2,
        "train_images_per_second": 44.1,
        "train_images_per_cpu_second": 1.5,
        "peak_memory_mib": 1310.0,
        "artifacts": {"curves": CURVES_FILE, "examples": [], "backbone": None},
    }
    return Result.model_validate(fields, strict=False).model_dump(mode="json", by_alias=True)


def make_costs(row: str, task: str, seed: int) -> list[dict[str, Any]]:
    """Make costs as measured without a GPU; `standard` is slower than `tricks`, which computes more."""
    slower = {"scratch": 0.0, "standard": 4.0, "tricks": 2.0}.get(row, 6.0)
    heavier = 1 + (FAKED.index(task) if task in FAKED else len(FAKED))
    figures = {
        "multiply_adds": (COUNTS.get(row, 1.5) * heavier, "G", False),
        "backbone_multiply_adds": (COUNTS.get(row, 1.5), "G", False),
        "latency": (20.0 + slower + OFFSETS.get(seed, 0.0), "ms", False),
        "latency_iqr": (0.5, "ms", False),
        "inference_images_per_second": (60.0 - slower, "images/s", True),
    }
    return [
        {"name": name, "value": value, "unit": unit, "higher_is_better": higher}
        for name, (value, unit, higher) in figures.items()
    ]


def make_curves(result: dict[str, Any]) -> dict[str, list[dict[str, float]]]:
    """Make curves that end at the result's own metrics."""
    noise = random.Random(f"{result['stage']} {result['identity']}")
    train, val = [], []
    for step in range(1, 81):
        loss = 0.4 + 2 * math.exp(-step / 22) + noise.gauss(0, 0.04)
        train.append({"step": step * 10, "epoch": step / 10, "loss": loss, "lr": 0.1})
    for epoch in range(1, 9):
        reached = 1 - math.exp(-epoch / 2.2) + math.exp(-8 / 2.2)
        values = {metric["name"]: metric["value"] * reached for metric in result["metrics"]}
        val.append({"step": epoch * 100, "epoch": epoch, **values})
    return {"train": train, "val": val}


def draw_example(path: Path, task: str, index: int, size: tuple[int, int]) -> None:
    """Draw a prediction beside its ground truth: two halves of one picture."""
    noise = random.Random(f"{task} {index}")
    half = (size[0] // 2, size[1])
    sheet = Image.new("RGB", size)
    texture = Image.effect_noise(half, 60).convert("RGB")
    tint = Image.new("RGB", half, tuple(noise.randrange(60, 200) for _ in range(3)))
    base = Image.blend(texture, tint, 0.6)
    boxes = [
        (noise.random() * 0.6, noise.random() * 0.6, noise.random() * 0.3 + 0.1) for _ in "abc"
    ]
    for column, shift in ((0, 0.03), (1, 0.0)):
        picture = base.copy()
        pen = ImageDraw.Draw(picture)
        for number, (left, top, extent) in enumerate(boxes):
            corner = ((left + shift) * half[0], (top + shift) * half[1])
            end = (corner[0] + extent * half[0], corner[1] + extent * half[1])
            colour = ((230, 60, 60), (70, 160, 240), (250, 210, 60))[number]
            if task == "det":
                pen.rectangle((*corner, *end), outline=colour, width=max(1, half[0] // 100))
            else:
                pen.ellipse((*corner, *end), fill=colour)
        sheet.paste(picture, (column * half[0], 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    write_json(path, content)


def work_dir(run_dir: Path, row: str, task: str, seed: int) -> Path:
    """Return the work dir of a run."""
    return run_dir / "cells" / row / task / f"seed-{seed}"


def result_file(run_dir: Path, row: str, task: str, seed: int) -> Path:
    """Return the `result.json` of a run."""
    return work_dir(run_dir, row, task, seed) / RESULT_FILE


def fail_run(run_dir: Path, row: str, task: str, seed: int, message: str) -> None:
    """Replace a run's result by a failure."""
    folder = work_dir(run_dir, row, task, seed)
    (folder / RESULT_FILE).unlink(missing_ok=True)
    failure = {"exit_status": 1, "message": message, "log_tail": ["loss nan", "<stop> & report"]}
    write_json(folder / "failure.json", failure)


def remove_result(run_dir: Path, row: str, task: str, seed: int) -> None:
    """Make a run as if it had never started."""
    result_file(run_dir, row, task, seed).unlink()


def evaluate_detector(run_dir: Path, row: str, seed: int, ap: float, precision: float) -> None:
    """Write the evaluation of a detector that is equally precise up to full recall.

    It knows the class `cat`; no test image shows a `dog`.
    """
    entry = {"difficult": 2, "detections": 50, "ignored": 1, "duplicates": 3, "voc10_ap": 0.9}
    cat = {"objects": 1234, "voc07_ap": ap, "precision": [precision] * len(RECALLS), **entry}
    dog = {"objects": 0, "voc07_ap": None, "precision": [], **entry}
    write_evaluation(work_dir(run_dir, row, "det", seed), {"cat": cat, "dog": dog})


def write_evaluation(folder: Path, classes: dict[str, dict[str, Any]]) -> None:
    """Write `evaluation.json` beside a result, which then names it."""
    write_json(folder / EVALUATION_FILE, {"images": 10, "iou": 0.5, "classes": classes})
    edit_json(
        folder / RESULT_FILE, lambda result: result["artifacts"].update(evaluation=EVALUATION_FILE)
    )


def evaluate_two_detectors(run_dir: Path) -> Path:
    """Write evaluations of two rows, whose precisions of two seeds lie around 0.5 and 0.75."""
    for row, ap in (("scratch", 0.5), ("tricks", 0.75)):
        for seed, offset in ((0, -0.125), (1, 0.125)):
            evaluate_detector(run_dir, row, seed, ap + offset, ap)
    return run_dir
