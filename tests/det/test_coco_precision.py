"""COCO's average precision against its definition."""

import math

import pytest
from support.boxes import detections, truths

from det import coco_precision

BOX = (10, 10, 29, 29)


def test_matches_definition():
    """101 recalls, ten thresholds, the best 100 of an image: on boxes whose overlaps are known."""
    there = truths((0, 0, False, (0, 0, 100, 100)), (1, 0, False, (0, 0, 100, 100)))
    # Overlaps 0.72 and 1.
    found = detections((0, 0, 0.9, (0, 0, 100, 72)), (1, 0, 0.8, (0, 0, 100, 100)))
    result = coco_precision.evaluate(found, there, 2)
    assert result.ap_50 == pytest.approx(1)
    # One of two found, second in rank: precision ½ up to recall ½, which is 51 of 101 points.
    wrong_first = 0.5 * 51 / 101
    assert result.ap_75 == pytest.approx(wrong_first)
    assert result.ap == pytest.approx((5 + 5 * wrong_first) / 10)
    assert result.by_class[0] == pytest.approx(result.ap) and math.isnan(result.by_class[1])


def test_ignores_difficult_objects():
    there = truths((0, 0, False, (0, 0, 50, 50)), (0, 0, True, (60, 60, 90, 90)))
    found = detections((0, 0, 0.9, (60, 60, 90, 90)), (0, 0, 0.8, (0, 0, 50, 50)))
    assert coco_precision.evaluate(found, there, 1).ap == pytest.approx(1)


def test_empty_detections_and_truths():
    assert coco_precision.evaluate(detections(), truths((0, 0, False, BOX)), 1).ap == 0
    assert math.isnan(coco_precision.evaluate(detections((0, 0, 1, BOX)), truths(), 1).ap)
