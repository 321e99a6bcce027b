"""Writes a run folder as the harness and the stages would, with numbers that are easy to check."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

STAGES = ("cls", "det", "seg")
SHA = "4f1c09aa5b6e77d2c3b1908f6d5e4c3b2a190807"
# Means by row and stage; `None` where the row has no such stage.
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
    """Write a finished run; tests then break what they want to see broken."""
    means = means or MEANS
    cells = []
    for row, stages in means.items():
        for stage in STAGES:
            if stages[stage] is None:
                continue
            for seed in seeds:
                path = f"cells/{row}/{stage}/seed-{seed}"
                identity = hashlib.sha256(f"{path} {budget}".encode()).hexdigest()
                needs = (
                    None if stage == "cls" or not stages["cls"] else f"cells/{row}/cls/seed-{seed}"
                )
                cells.append(
                    {
                        "row": row,
                        "stage": stage,
                        "seed": seed,
                        "path": path,
                        "identity": identity,
                        "needs": needs,
                    }
                )
                result = make_result(means, row, stage, seed, budget, identity)
                work_dir = folder / path
                # The report shows the first seed; drawing more would only cost time.
                names = [f"examples/{i}.png" for i in range(pictures if seed == seeds[0] else 0)]
                if stage != "cls":
                    result["artifacts"]["examples"] = names
                    for index, name in enumerate(names):
                        draw_example(work_dir / name, stage, index, picture_size)
                write_json(work_dir / "result.json", result)
                write_json(work_dir / "curves.json", make_curves(result))
                command = ["python", "-m", f"{stage}.train", f"{stage}/configs/mini.py"]
                command += ["--seed", str(seed), "--set", "note=a b"]
                write_json(work_dir / "cell.json", {"identity": identity, "command": command})
    plan = {
        "schema_version": 2,
        "suite": "mini",
        "title": "Do classification tricks transfer? (mini)",
        "description": "A small ResNet on generated images, three rows, three stages.",
        "budget": budget,
        "seeds": list(seeds),
        "columns": ["top1", "map", "pixacc", "miou"],
        "intended": {},
        "teachers": [],
        "stages": {stage: {"config": f"{stage}/configs/mini.py"} for stage in STAGES},
        "rows": [make_row(row, stages, references or {}) for row, stages in means.items()],
        "cells": cells,
    }
    write_json(folder / "plan.json", plan)
    return folder


def make_row(
    row: str,
    stages: Mapping[str, Mapping[str, float] | None],
    references: dict[str, dict[str, float]],
) -> dict[str, Any]:
    """One row of `plan.json`."""
    with_tricks = row not in ("scratch", "standard")
    return {
        "name": row,
        "backbone": "resnet10_d-w32" if with_tricks else "resnet10_b-w32",
        "recipe": None if stages["cls"] is None else ("efficient" if with_tricks else "standard"),
        "tricks": ["cosine", "label_smoothing", "mixup"] if with_tricks else [],
        "teacher": None,
        "pretrain": stages["cls"] is not None,
        "reference": references.get(row),
        "note": None,
        "unavailable": None,
        "parameters": 1_234_567,
    }


def make_result(
    means: Means,
    row: str,
    stage: str,
    seed: int,
    budget: str,
    identity: str,
) -> dict[str, Any]:
    """One `result.json`, as in docs/architecture.md."""
    offset = OFFSETS.get(seed, 0.0)
    pretrained = means[row]["cls"] is not None
    digest = hashlib.sha256(f"{row} {seed}".encode()).hexdigest()
    receipt = {"sha256": digest, "matched": 62, "total": 62, "source": {"top1": 64.1 + offset}}
    return {
        "schema_version": 1,
        "status": "completed",
        "stage": stage,
        "identity": identity,
        "config": f"{stage}/configs/mini.py",
        "backbone": "resnet10_d-w32",
        "recipe": "efficient",
        "tricks": [],
        "budget": budget,
        "seed": seed,
        "metrics": [
            {"name": name, "value": mean + offset, "unit": "%", "higher_is_better": True}
            for name, mean in (means[row][stage] or {}).items()
        ],
        "costs": make_costs(row, stage, seed),
        "inference": dict(INFERENCE),
        "protocol": PROTOCOLS[stage],
        "data": {
            "fingerprint": hashlib.sha256(stage.encode()).hexdigest(),
            "classes": 10,
            "train_images_total": 300,
            "train_images_used": 300,
            "test_images_total": 150,
            "test_images_used": 150,
            "notes": [],
        },
        "model": {"backbone_parameters": 1_234_567, "parameters": 2_345_678},
        "checkpoint": receipt if stage != "cls" and pretrained else None,
        "code": {"git_sha": SHA, "dirty": False},
        "packages": {"torch": "2.14.1", "torchvision": "0.29.1", "mmdet": "3.3.0"},
        "python": "3.11.7",
        "device": {"type": "cpu", "name": "Xeon 8488C", "count": 1},
        "precision": {"dtype": "bfloat16", "reason": "the CPU has AMX tiles"},
        "wall_seconds": 51.2,
        "train_images_per_second": 44.1,
        "train_images_per_cpu_second": 1.5,
        "peak_memory_mib": 1310.0,
        "artifacts": {"curves": "curves.json", "examples": [], "backbone": None},
    }


def make_costs(row: str, stage: str, seed: int) -> list[dict[str, Any]]:
    """Costs as measured without a GPU; `standard` is slower than `tricks`, which computes more."""
    slower = {"scratch": 0.0, "standard": 4.0, "tricks": 2.0}.get(row, 6.0)
    figures = {
        "multiply_adds": (COUNTS.get(row, 1.5) * (1 + STAGES.index(stage)), "G", False),
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
    """Curves that end at the result's own metrics."""
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


def draw_example(path: Path, stage: str, index: int, size: tuple[int, int]) -> None:
    """A prediction beside its ground truth: two halves of one picture."""
    noise = random.Random(f"{stage} {index}")
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
            if stage == "det":
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


def cell_dir(run_dir: Path, row: str, stage: str, seed: int) -> Path:
    """The work dir of a cell."""
    return run_dir / "cells" / row / stage / f"seed-{seed}"


def fail_cell(run_dir: Path, row: str, stage: str, seed: int, message: str) -> None:
    """Replace a cell's result by a failure."""
    folder = cell_dir(run_dir, row, stage, seed)
    (folder / "result.json").unlink(missing_ok=True)
    failure = {"exit_status": 1, "message": message, "log_tail": ["loss nan", "<stop> & report"]}
    write_json(folder / "failure.json", failure)


def remove_result(run_dir: Path, row: str, stage: str, seed: int) -> None:
    """Make a cell as if it had not been run."""
    (cell_dir(run_dir, row, stage, seed) / "result.json").unlink()
