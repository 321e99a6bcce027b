"""The task's evaluator, on data samples as mmdet's loop passes them."""

import json

import pytest
import torch
from mmdet.evaluation.metrics import VOCMetric
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from contract.errors import UserError
from contract.result import RECALLS
from contract.tasks import TASKS
from det.metric import DetectionMetric

CLASSES = ("disc", "box", "star")


def _instances(boxes, labels, scores=None):
    data = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
    )
    if scores is not None:
        data.scores = torch.tensor(scores, dtype=torch.float32)
    return data


def _sample(found, counting, difficult=((), ())):
    return DetDataSample(
        pred_instances=_instances(*found),
        gt_instances=_instances(*counting),
        ignored_instances=_instances(*difficult),
    ).to_dict()


SAMPLES = [
    _sample(
        ([[0, 0, 10, 10], [30, 30, 50, 50], [60, 60, 70, 70]], [0, 1, 1], [0.9, 0.8, 0.7]),
        ([[0, 0, 10, 11], [60, 60, 71, 70]], [0, 1]),
        ([[30, 30, 50, 51]], [1]),
    ),
    _sample(([], [], []), ([[5, 5, 20, 20]], [0])),
]


def _evaluate(metric, samples=SAMPLES):
    metric.dataset_meta = {"classes": CLASSES}
    for sample in samples:
        metric.process(None, [sample])
    return metric.evaluate(len(samples))


def test_averages_by_hand():
    metric = DetectionMetric()
    values = _evaluate(metric)
    # disc: one of two found, at precision 1: six of the eleven points. box: all that counts is found.
    assert values["det/voc07_map"] == values["det/map"] == pytest.approx((6 / 11 + 1) / 2)
    assert values["det/voc10_map"] == pytest.approx((0.5 + 1) / 2)
    # COCO's widths have no pixel at the end: the overlaps are 10/11 for both, so that nine of ten thresholds are met.
    assert values["det/coco_ap"] == pytest.approx(0.9 * (51 / 101 + 1) / 2)
    assert values["det/coco_ap50"] == values["det/coco_ap75"] == pytest.approx((51 / 101 + 1) / 2)
    assert metric.details["absent_classes"] == ["star"]
    disc, box, star = (metric.details["classes"][name] for name in CLASSES)
    assert (disc["objects"], disc["detections"], disc["voc10_ap"]) == (2, 1, 0.5)
    assert (box["objects"], box["difficult"], box["ignored"]) == (1, 1, 1)
    assert (star["objects"], star["voc07_ap"], star["precision"]) == (0, None, [])
    assert disc["precision"] == [1.0] * 51 + [0.0] * 50
    assert json.loads(json.dumps(metric.details, allow_nan=False)) == metric.details


def test_class_scores_match_task_table():
    metric = DetectionMetric()
    _evaluate(metric)
    schema = TASKS["det"].per_class
    for entry in metric.details["classes"].values():
        assert {*schema.counts, *(score.key for score in schema.scores)} <= set(entry)
    assert len(metric.details["classes"]["disc"]["precision"]) == len(RECALLS)


@pytest.mark.parametrize("mode", ["11points", "area"])
def test_mode_selects_map_and_matches_mmdet(mode):
    theirs = VOCMetric(eval_mode=mode)
    expected = _evaluate(theirs)["pascal_voc/mAP"]
    assert _evaluate(DetectionMetric(eval_mode=mode))["det/map"] == pytest.approx(
        expected, abs=1e-6
    )


def test_set_without_counted_objects():
    metric = DetectionMetric()
    values = _evaluate(metric, [_sample(([[0, 0, 9, 9]], [0], [0.5]), ([], []))])
    assert set(values.values()) == {0.0}
    assert metric.details["absent_classes"] == list(CLASSES)


def test_bad_input():
    with pytest.raises(UserError, match="unknown eval_mode '11point'; did you mean '11points'"):
        DetectionMetric(eval_mode="11point")
    broken = _sample(([[0, 0, float("nan"), 9]], [0], [0.5]), ([[0, 0, 9, 9]], [0]))
    with pytest.raises(UserError, match="boxes or scores that are not finite"):
        _evaluate(DetectionMetric(), [broken])
