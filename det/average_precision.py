"""Pascal VOC's average precision, by 11 points and by area, as in the official development kit.

Source: VOCevaldet.m of the VOC development kit (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/), and Everingham et
    al., "The Pascal Visual Object Classes Challenge", IJCV 2010. All boxes of all images are matched at once with
    arrays, without loops over images or detections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Computed as usual: the fourth is 0.30000000000000004, which a recall of 3/10 does not reach.
RECALL_POINTS = np.arange(0, 1.1, 0.1)
# Outcomes of a detection.
HIT, MISS, DUPLICATE, IGNORED = range(4)


class Detections(NamedTuple):
    """Scored boxes of all images, in any order.

    Attributes:
        image: Index of the image, shape (D,).
        label: Index of the class, shape (D,).
        box: Corners x1, y1, x2, y2 in pixels, shape (D, 4).
        score: Confidence, shape (D,); ties keep the order of the detections.
    """

    image: Integers
    label: Integers
    box: Floats
    score: Floats


class Truths(NamedTuple):
    """Annotated boxes of all images, in any order.

    Attributes:
        image: Index of the image, shape (G,).
        label: Index of the class, shape (G,).
        box: Corners x1, y1, x2, y2 in pixels, shape (G, 4).
        difficult: Whether the object counts neither as found nor as missed, shape (G,).
    """

    image: Integers
    label: Integers
    box: Floats
    difficult: NDArray[np.bool_]


@dataclass(frozen=True)
class ClassPrecision:
    """Precision and recall of one class.

    Attributes:
        objects: Number of annotated objects that are not difficult.
        difficult: Number of difficult objects.
        detections: Number of detections of this class.
        ignored: Number of detections that match a difficult object and are not counted.
        duplicates: Number of detections whose object is matched by a better one; they count as wrong.
        recall: Recall after each counted detection, best first.
        precision: Precision after each counted detection.
        ap_11: Mean over the recalls 0, 0.1 … 1 of the best precision at that recall or above, 0 to 1; NaN for a class
            without objects.
        ap_area: Area under the precision-recall curve, made monotonic; NaN for a class without objects.
    """

    objects: int
    difficult: int
    detections: int
    ignored: int
    duplicates: int
    recall: Floats
    precision: Floats
    ap_11: float
    ap_area: float


def evaluate(
    detections: Detections,
    truths: Truths,
    num_classes: int,
    iou: float = 0.5,
    *,
    inclusive: bool = True,
) -> list[ClassPrecision]:
    """Score the detections of every class.

    Args:
        detections: The detections.
        truths: The ground truth.
        num_classes: Labels are 0 to `num_classes` − 1.
        iou: Minimum intersection over union for a match.
        inclusive: Corner pixels belong to the box, so its width is x2 − x1 + 1, as in the development kit. With
            False, the width is x2 − x1.

    Returns:
        One entry per class.
    """
    outcome, order = match(detections, truths, iou, inclusive=inclusive)
    outcome, label = outcome[order], detections.label[order]
    found = []
    for index in range(num_classes):
        own = outcome[label == index]
        of_class = truths.label == index
        difficult = int((of_class & truths.difficult).sum())
        objects = int(of_class.sum()) - difficult
        counted = own[own != IGNORED]
        hits = np.cumsum(counted == HIT)
        recall = hits / objects if objects else np.full(len(counted), np.nan)
        precision = hits / np.arange(1, len(counted) + 1)
        found.append(
            ClassPrecision(
                objects=objects,
                difficult=difficult,
                detections=len(own),
                ignored=int((own == IGNORED).sum()),
                duplicates=int((own == DUPLICATE).sum()),
                recall=recall,
                precision=precision,
                ap_11=eleven_points(recall, precision) if objects else float("nan"),
                ap_area=area(recall, precision) if objects else float("nan"),
            )
        )
    return found


def match(
    detections: Detections, truths: Truths, iou: float = 0.5, *, inclusive: bool = True
) -> tuple[Integers, Integers]:
    """Match detections with objects.

    A detection is assigned to the object of its class and image with the largest overlap (the first one in a tie),
    even if a better detection is already matched with it.

    Returns:
        `HIT`, `MISS`, `DUPLICATE` or `IGNORED` for every detection, shape (D,), and the order of the detections by
        class, best first, shape (D,).
    """
    count = len(detections.score)
    outcome = np.full(count, MISS, dtype=np.int64)
    order = np.lexsort((np.arange(count), -detections.score, detections.label))
    nearest, overlap = _nearest(detections, truths, float(inclusive))
    covers = overlap >= iou
    on_difficult = np.zeros(count, dtype=bool)
    on_difficult[covers] = truths.difficult[nearest[covers]]
    outcome[on_difficult] = IGNORED
    claims = order[(covers & ~on_difficult)[order]]
    # An object has one class, so the first detection of it in this order is the best.
    _, first = np.unique(nearest[claims], return_index=True)
    outcome[claims] = DUPLICATE
    outcome[claims[first]] = HIT
    return outcome, order


def eleven_points(recall: Floats, precision: Floats) -> float:
    """Return VOC 2007's average precision of one class, 0 to 1; see `ClassPrecision.ap_11`."""
    best = _envelope(precision)
    at = np.searchsorted(recall, RECALL_POINTS)
    reached = at < len(recall)
    return float(best[at[reached]].sum() / len(RECALL_POINTS))


def area(recall: Floats, precision: Floats) -> float:
    """Return VOC 2010's average precision of one class, 0 to 1; see `ClassPrecision.ap_area`."""
    return float(np.diff(recall, prepend=0.0) @ _envelope(precision))


def _envelope(precision: Floats) -> Floats:
    """Return the best precision from each point on."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def _nearest(detections: Detections, truths: Truths, extra: float) -> tuple[Integers, Floats]:
    """Return the object of the same class and image with the largest overlap for each detection, and the overlap.

    A detection of an image without objects of its class has the overlap −1.
    """
    count = len(detections.score)
    nearest, overlap = np.zeros(count, dtype=np.int64), np.full(count, -1.0)
    if not count or not len(truths.label):
        return nearest, overlap
    classes = 1 + max(detections.label.max(), truths.label.max())
    group = truths.image * classes + truths.label
    # A stable sort keeps the order of ties.
    by_group = np.argsort(group, kind="stable")
    wanted = detections.image * classes + detections.label
    start = np.searchsorted(group[by_group], wanted, side="left")
    many = np.searchsorted(group[by_group], wanted, side="right") - start
    # The k-th pair of a detection is with the k-th object of its group.
    owner = np.repeat(np.arange(count), many)
    if not len(owner):
        return nearest, overlap
    begin = np.cumsum(many) - many
    candidate = by_group[start[owner] + np.arange(len(owner)) - begin[owner]]
    overlaps = _iou(detections.box[owner], truths.box[candidate], extra)
    some = np.flatnonzero(many)
    overlap[some] = np.maximum.reduceat(overlaps, begin[some])
    is_best = np.flatnonzero(overlaps == overlap[owner])
    owners, first = np.unique(owner[is_best], return_index=True)
    nearest[owners] = candidate[is_best[first]]
    return nearest, overlap


def _iou(one: Floats, other: Floats, extra: float) -> Floats:
    """Return the intersection over union of pairs of boxes, shapes (P, 4) and (P, 4)."""
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2]) + extra
    common = np.clip(sides, 0, None).prod(axis=1)
    total = (one[:, 2:] - one[:, :2] + extra).prod(axis=1)
    total += (other[:, 2:] - other[:, :2] + extra).prod(axis=1) - common
    return np.divide(common, total, out=np.zeros(len(common)), where=total > 0)
