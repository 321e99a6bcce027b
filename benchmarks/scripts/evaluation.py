"""Compare results and speed of our evaluators with those of mmdet, mmseg and pycocotools.

Command: python -m benchmarks.scripts.evaluation [--images N] [--maps N]

All evaluators score generated detections (N images × 100 boxes × 20 classes) and label maps (N of 512×683 × 150
classes). Times are CPU seconds of this process and its children, which depend less on the load of the machine than
wall-clock time. The script writes docs/results/evaluation.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# isort: off
from det import (
    average_precision,
    coco_precision,
)  # before mmdet, to install the substitute for mmcv's ops
from mmdet.evaluation import eval_map
from mmseg.evaluation.metrics import IoUMetric

# isort: on
from contract.files import write_json
from contract.settings import ROOT
from det.average_precision import Detections, Truths
from seg.metric import confusion_matrix, scores

TARGET = ROOT / "docs" / "results" / "evaluation.json"
CLASSES, BOXES = 20, 100
LABELS, HEIGHT, WIDTH = 150, 512, 683


def main() -> int:
    """Measure both tasks, print a table, and store it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scripts.evaluation", description=__doc__
    )
    parser.add_argument("--images", type=int, default=4952, help="of detection (VOC 2007 test)")
    parser.add_argument("--maps", type=int, default=2000, help="of segmentation (ADE20K)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [*compare_detection(options.images), *compare_segmentation(options.maps)]
    print("| what | reference | ours, CPU s | reference, CPU s | ratio | largest difference |")
    print("|:--|:--|--:|--:|--:|--:|")
    for row in rows:
        print(
            f"| {row['what']} | {row['reference']} | {row['ours_s']:.2f} | {row['reference_s']:.2f} "
            f"| {row['reference_s'] / row['ours_s']:.1f} | {row['difference']:.1e} |"
        )
    write_json(TARGET, {"rows": rows, "torch": torch.__version__})
    return 0


def compare_detection(images: int) -> list[dict[str, Any]]:
    """Compare VOC's two averages with mmdet's, and COCO's with plain pycocotools."""
    detections, truths = generate_boxes(images)
    ours, ours_s = timed(lambda: average_precision.evaluate(detections, truths, CLASSES))
    results, annotations = as_mmdet(detections, truths, images)
    rows = []
    for mode, mine in (("11points", "ap_11"), ("area", "ap_area")):
        (_, per_class), reference_s = timed(
            lambda mode=mode: eval_map(
                results,
                annotations,
                eval_mode=mode,
                use_legacy_coordinate=True,
                logger="silent",
                nproc=1,
            )
        )
        differences = [
            abs(getattr(o, mine) - t["ap"]) for o, t in zip(ours, per_class, strict=True)
        ]
        rows.append(
            {
                "what": f"VOC AP, {mode}: {images} images × {BOXES} boxes × {CLASSES} classes",
                "reference": "mmdet eval_map",
                "ours_s": ours_s,
                "reference_s": reference_s,
                "difference": float(max(differences)),
            }
        )
    coco, coco_s = timed(lambda: coco_precision.evaluate(detections, truths, CLASSES))
    (ap, ap_50, ap_75), plain_s = timed(lambda: plain_coco(detections, truths))
    rows.append(
        {
            "what": "COCO AP, AP50, AP75 of the same",
            "reference": "pycocotools, all areas",
            "ours_s": coco_s,
            "reference_s": plain_s,
            "difference": max(abs(coco.ap - ap), abs(coco.ap_50 - ap_50), abs(coco.ap_75 - ap_75)),
        }
    )
    return rows


def compare_segmentation(maps: int) -> list[dict[str, Any]]:
    """Compare pixel accuracy and IoU with mmseg's; maps are generated one at a time."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.zeros(LABELS, LABELS, dtype=torch.int64)
    areas = [torch.zeros(LABELS) for _ in range(4)]
    ours_s = reference_s = 0.0
    for _ in range(maps):
        predicted, labels = generate_maps(generator)
        counts, seconds = timed(lambda p=predicted, t=labels: confusion_matrix(p, t, LABELS))
        matrix += counts
        ours_s += seconds
        # mmseg's labels have the type of the prediction.
        found, seconds = timed(
            lambda p=predicted, t=labels: IoUMetric.intersect_and_union(p, t.to(p), LABELS, 255)
        )
        reference_s += seconds
        areas = [total + part for total, part in zip(areas, found, strict=True)]
    mine = scores(matrix)
    summarise: Any = IoUMetric.total_area_to_metrics
    theirs = summarise(areas[0], areas[1], areas[2], areas[3], ["mIoU"])
    difference = np.nanmax(np.abs(mine.iou.numpy() - theirs["IoU"]))
    return [
        {
            "what": f"IoU: {maps} maps of {HEIGHT}×{WIDTH} × {LABELS} classes",
            "reference": "mmseg IoUMetric",
            "ours_s": ours_s,
            "reference_s": reference_s,
            "difference": float(max(difference, abs(mine.pixacc - float(theirs["aAcc"])))),
        }
    ]


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    """Return the value of an action and its CPU seconds, children included."""
    before = cpu_seconds()
    value = action()
    return value, cpu_seconds() - before


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its finished children so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def generate_boxes(images: int) -> tuple[Detections, Truths]:
    """Generate about 2.4 objects per image, as in VOC 2007; half of the detections are near one."""
    generator = np.random.default_rng(0)
    image = np.sort(generator.integers(0, images, round(2.43 * images)))
    count = len(image)
    label = generator.integers(0, CLASSES, count)
    corner = generator.uniform(0, 300, (count, 2))
    box = np.round(np.hstack([corner, corner + generator.uniform(20, 200, (count, 2))]))
    truths = Truths(image, label, box, generator.random(count) < 0.19)
    total = images * BOXES
    where = np.repeat(np.arange(images), BOXES)
    found_label = generator.integers(0, CLASSES, total)
    corner = generator.uniform(0, 300, (total, 2))
    found = np.hstack([corner, corner + generator.uniform(20, 200, (total, 2))])
    start, stop = np.searchsorted(image, where), np.searchsorted(image, where, side="right")
    near = (generator.random(total) < 0.5) & (stop > start)
    chosen = (start + generator.integers(0, 2**31, total) % np.maximum(stop - start, 1))[near]
    found[near] = box[chosen] + generator.normal(0, 12, (len(chosen), 4))
    found_label[near] = label[chosen]
    # mmdet's unstable sort would break ties in another order.
    score = generator.permutation(total) / total
    return Detections(where, found_label, found, score), truths


def as_mmdet(
    detections: Detections, truths: Truths, images: int
) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    """Return the same boxes in the format of mmdet's evaluator: by image, then by class."""
    table = np.column_stack([detections.box, detections.score])
    results, annotations = [], []
    begin = np.searchsorted(truths.image, np.arange(images + 1))
    for index in range(images):
        own = slice(index * BOXES, (index + 1) * BOXES)
        boxes, labels = table[own], detections.label[own]
        results.append([boxes[labels == label] for label in range(CLASSES)])
        here = slice(begin[index], begin[index + 1])
        box, label, odd = truths.box[here], truths.label[here], truths.difficult[here]
        annotations.append(
            dict(
                bboxes=box[~odd],
                labels=label[~odd],
                bboxes_ignore=box[odd],
                labels_ignore=label[odd],
            )
        )
    return results, annotations


def plain_coco(detections: Detections, truths: Truths) -> list[float]:
    """Return AP, AP50 and AP75 as pycocotools prints them, from dicts as in a COCO file."""

    def entries(image: Any, label: Any, box: Any, **more: Any) -> list[dict[str, Any]]:
        sides = box[:, 2:] - box[:, :2]
        return [
            {
                "id": index + 1,
                "image_id": int(image[index]),
                "category_id": int(label[index]),
                "bbox": [*box[index, :2], *sides[index]],
                "area": sides[index, 0] * sides[index, 1],
                **{key: values[index].item() for key, values in more.items()},
            }
            for index in range(len(image))
        ]

    with contextlib.redirect_stdout(io.StringIO()):
        truth: Any = COCO()
        truth.dataset = {
            "images": [{"id": int(i)} for i in np.unique(detections.image)],
            "categories": [{"id": label} for label in range(CLASSES)],
            "annotations": entries(
                truths.image, truths.label, truths.box, iscrowd=truths.difficult.astype(int)
            ),
        }
        truth.createIndex()
        found = truth.loadRes(
            entries(detections.image, detections.label, detections.box, score=detections.score)
        )
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats[:3]]


def generate_maps(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Generate blocks of 32 pixels: two thirds of the predictions are right, a tenth of the labels are ignored."""
    shape = (HEIGHT // 32, -(-WIDTH // 32))
    truth = torch.randint(0, LABELS, shape, generator=generator)
    guess = torch.where(torch.rand(shape, generator=generator) < 0.67, truth, truth.roll(1, dims=1))
    truth = torch.where(torch.rand(shape, generator=generator) < 0.1, 255, truth)
    predicted, labels = (
        blocks.repeat_interleave(32, 0).repeat_interleave(32, 1)[:, :WIDTH].contiguous()
        for blocks in (guess, truth)
    )
    return predicted, labels.to(torch.uint8)


if __name__ == "__main__":
    sys.exit(main())
