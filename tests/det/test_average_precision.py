"""VOC's average precision against loops written from its definition, and against mmdet."""

import math
from multiprocessing.pool import ThreadPool

import numpy as np
import pytest
from mmdet.evaluation import eval_map
from support.boxes import detections, truths

from det.average_precision import (
    DUPLICATE,
    HIT,
    IGNORED,
    MISS,
    area,
    eleven_points,
    evaluate,
    match,
)


def devkit(found, there, label, threshold=0.5):
    """VOCevaldet.m for one class, in plain loops; returns (11-point AP, area AP) or None."""
    objects = [
        dict(image=i, box=b, difficult=d, taken=False)
        for i, own, b, d in zip(there.image, there.label, there.box, there.difficult, strict=True)
        if own == label
    ]
    positives = sum(not entry["difficult"] for entry in objects)
    if positives == 0:
        return None
    own = [k for k in range(len(found.score)) if found.label[k] == label]
    true, false, recalls, precisions = 0, 0, [], []
    for k in sorted(own, key=lambda k: -found.score[k]):
        best, chosen = -math.inf, None
        for entry in objects:
            if entry["image"] != found.image[k]:
                continue
            a, b = found.box[k], entry["box"]
            w = min(a[2], b[2]) - max(a[0], b[0]) + 1
            h = min(a[3], b[3]) - max(a[1], b[1]) + 1
            if w > 0 and h > 0:
                union = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
                union += (b[2] - b[0] + 1) * (b[3] - b[1] + 1) - w * h
                if w * h / union > best:
                    best, chosen = w * h / union, entry
        if best >= threshold:
            if chosen["difficult"]:
                continue
            if chosen["taken"]:
                false += 1
            else:
                true, chosen["taken"] = true + 1, True
        else:
            false += 1
        recalls.append(true / positives)
        precisions.append(true / (true + false))
    eleven = 0.0
    for point in range(11):
        reached = [p for r, p in zip(recalls, precisions, strict=True) if r >= point * 0.1]
        eleven += max(reached, default=0) / 11
    recalls, precisions = [0, *recalls, 1], [0, *precisions, 0]
    for k in range(len(precisions) - 2, -1, -1):
        precisions[k] = max(precisions[k], precisions[k + 1])
    under = sum((recalls[k] - recalls[k - 1]) * precisions[k] for k in range(1, len(recalls)))
    return eleven, under


def world(seed, images=12, classes=4):
    """Boxes on a coarse grid, with ties of overlaps and scores, and all special cases."""
    generator = np.random.default_rng(seed)
    there, found = [], []

    def box():
        corner = generator.integers(0, 6, 2) * 10
        return np.concatenate([corner, corner + generator.integers(1, 4, 2) * 10])

    for image in range(images):
        for _ in range(generator.integers(0, 5)):
            # The last class has no objects.
            label, place = generator.integers(0, classes - 1), box()
            there.append((image, label, generator.random() < 0.3, place))
            for _ in range(generator.integers(0, 4)):
                shift = generator.integers(-4, 5, 4)
                found.append((image, label, generator.integers(1, 8) / 8, place + shift))
        for _ in range(generator.integers(0, 4)):
            found.append((image, generator.integers(0, classes), generator.random(), box()))
    return detections(*found), truths(*there)


@pytest.mark.parametrize("seed", range(40))
def test_matches_devkit_loops(seed):
    found, there = world(seed)
    for label, result in enumerate(evaluate(found, there, 4)):
        expected = devkit(found, there, label)
        if expected is None:
            assert math.isnan(result.ap_11) and math.isnan(result.ap_area)
        else:
            assert (result.ap_11, result.ap_area) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("mode", ["11points", "area"])
@pytest.mark.parametrize("seed", range(5))
def test_matches_mmdet(seed, mode, monkeypatch):
    found, there = world(100 + seed)
    # mmdet sorts scores unstably: no two may be equal.
    found = found._replace(score=np.random.default_rng(seed).permutation(len(found.score)) / 1000)
    results, annotations = [], []
    for image in range(12):
        own, here = found.image == image, there.image == image
        table = np.column_stack([found.box, found.score])
        results.append([table[own & (found.label == label)] for label in range(4)])
        counts, odd = here & ~there.difficult, here & there.difficult
        annotations.append(
            dict(
                bboxes=there.box[counts],
                labels=there.label[counts],
                bboxes_ignore=there.box[odd],
                labels_ignore=there.label[odd],
            )
        )
    # mmdet forks workers, which now and then hang in a process that has threads.
    monkeypatch.setattr("mmdet.evaluation.functional.mean_ap.Pool", ThreadPool)
    mean, _ = eval_map(
        results, annotations, eval_mode=mode, use_legacy_coordinate=True, logger="silent"
    )
    ours = evaluate(found, there, 4)
    values = [entry.ap_11 if mode == "11points" else entry.ap_area for entry in ours]
    assert np.nanmean(values) == pytest.approx(mean, abs=1e-6)


BOX, AWAY = (10, 10, 29, 29), (60, 60, 79, 79)


def outcomes(found, there, **options):
    outcome, _ = match(found, there, **options)
    return outcome.tolist()


def test_duplicates_and_ties():
    there = truths((0, 0, False, BOX))
    found = detections((0, 0, 0.5, BOX), (0, 0, 0.9, BOX), (0, 0, 0.9, BOX))
    assert outcomes(found, there) == [DUPLICATE, HIT, DUPLICATE]


def test_difficult_object_takes_any_number_of_detections():
    there = truths((0, 0, True, BOX), (0, 0, False, AWAY))
    found = detections((0, 0, 0.9, BOX), (0, 0, 0.8, BOX), (0, 0, 0.7, AWAY))
    assert outcomes(found, there) == [IGNORED, IGNORED, HIT]
    (result,) = evaluate(found, there, 1)
    assert (result.objects, result.difficult, result.ignored) == (1, 1, 2)
    assert (result.ap_11, result.ap_area) == (1, 1)


def test_taken_object_is_not_skipped():
    there = truths((0, 0, False, BOX), (0, 0, False, (14, 10, 33, 29)))
    # Both detections overlap the first object most.
    found = detections((0, 0, 0.9, BOX), (0, 0, 0.8, (11, 10, 30, 29)))
    assert outcomes(found, there) == [HIT, DUPLICATE]


def test_class_and_image_must_agree():
    there = truths((0, 0, False, BOX))
    found = detections((1, 0, 0.9, BOX), (0, 1, 0.9, BOX), (0, 0, 0.1, BOX))
    assert outcomes(found, there) == [MISS, MISS, HIT]


def test_threshold_is_inclusive_and_pixels_count_ends():
    there = truths((0, 0, False, (0, 0, 9, 9)))
    half = detections((0, 0, 1, (0, 0, 9, 4)))
    # 50 of 100 pixels; without the pixel at the end 36 of 81.
    assert outcomes(half, there) == [HIT]
    assert outcomes(half, there, inclusive=False) == [MISS]


def test_empty_detections_and_truths():
    (nothing,) = evaluate(detections(), truths((0, 0, False, BOX)), 1)
    assert (nothing.ap_11, nothing.ap_area, nothing.objects) == (0, 0, 1)
    (empty,) = evaluate(detections((0, 0, 1, BOX)), truths(), 1)
    assert math.isnan(empty.ap_11) and empty.detections == 1
    (neither,) = evaluate(detections(), truths(), 1)
    assert math.isnan(neither.ap_area)


def test_areas_by_hand():
    recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3])
    assert area(recall, precision) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # Recalls 0 to 0.5 see 1, 0.6 to 1 see 2/3.
    assert eleven_points(recall, precision) == pytest.approx((6 + 5 * 2 / 3) / 11)
