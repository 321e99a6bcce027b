"""The confusion matrix and its scores against loops, against mmseg, and by hand."""

import json
import math

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.evaluation.metrics import IoUMetric
from mmseg.structures import SegDataSample
from PIL import Image

from contract.errors import UserError
from contract.tasks import TASKS
from seg.labels import LoadLabels
from seg.metric import SegmentationMetric, confusion_matrix, scores


def _maps(seed, shape=(13, 17), classes=6):
    generator = torch.Generator().manual_seed(seed)
    # The last class is neither labelled nor predicted.
    predicted = torch.randint(0, classes - 1, shape, generator=generator)
    labels = torch.randint(0, classes - 1, shape, generator=generator)
    labels = torch.where(torch.rand(shape, generator=generator) < 0.5, predicted, labels)
    return predicted, torch.where(torch.rand(shape, generator=generator) < 0.1, 255, labels).to(
        torch.uint8
    )


@pytest.mark.parametrize("seed", range(10))
def test_matrix_by_loop(seed):
    predicted, labels = _maps(seed)
    expected = [[0] * 6 for _ in range(6)]
    for guess, truth in zip(predicted.flatten().tolist(), labels.flatten().tolist(), strict=True):
        if truth != 255:
            expected[truth][guess] += 1
    matrix = confusion_matrix(predicted, labels, 6)
    assert matrix.dtype == torch.int64
    assert matrix.tolist() == expected


def test_scores_by_hand():
    found = scores(torch.tensor([[3, 1, 0], [2, 4, 0], [0, 0, 0]]))
    assert found.pixacc == pytest.approx(7 / 10)
    assert found.iou[:2].tolist() == pytest.approx([3 / 6, 4 / 7])
    assert found.accuracy[:2].tolist() == pytest.approx([3 / 4, 4 / 6])
    assert found.iou[2].isnan() and found.accuracy[2].isnan()
    assert found.miou == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert found.macc == pytest.approx((3 / 4 + 4 / 6) / 2)


def test_predicted_only_class_is_zero():
    found = scores(torch.tensor([[3, 1], [0, 0]]))
    assert found.miou == pytest.approx((3 / 4 + 0) / 2)
    assert found.macc == pytest.approx(3 / 4)


def test_counts_are_exact_beyond_float32():
    matrix = torch.tensor([[2**40, 1], [0, 2**40]])
    assert scores(matrix).iou[0].item() == pytest.approx(2**40 / (2**40 + 1), rel=1e-15)
    assert scores(matrix).pixacc < 1


def _sample(predicted, labels):
    return SegDataSample(
        pred_sem_seg=PixelData(data=predicted[None]),
        gt_sem_seg=PixelData(data=labels[None]),
    ).to_dict()


def _evaluate(metric, samples):
    metric.dataset_meta = {"classes": tuple("abcdef")}
    for sample in samples:
        metric.process(None, [sample])
    return metric.evaluate(len(samples))


def test_matches_mmseg():
    samples = [_sample(*_maps(seed, (20 + seed, 31))) for seed in range(5)]
    theirs = _evaluate(IoUMetric(), samples)
    ours = _evaluate(SegmentationMetric(), samples)
    # mmseg rounds to two decimals.
    assert 100 * ours["seg/pixacc"] == pytest.approx(theirs["aAcc"], abs=0.0051)
    assert 100 * ours["seg/miou"] == pytest.approx(theirs["mIoU"], abs=0.0051)
    assert 100 * ours["seg/macc"] == pytest.approx(theirs["mAcc"], abs=0.0051)


def test_second_evaluation_starts_empty():
    metric = SegmentationMetric()
    samples = [_sample(*_maps(seed)) for seed in range(3)]
    first = _evaluate(metric, samples)
    details = metric.details
    assert json.loads(json.dumps(details, allow_nan=False)) == details
    assert details["images"] == 3
    assert details["absent_classes"] == ["f"]
    assert details["classes"]["f"] == {"pixels": 0, "predicted": 0, "iou": None, "accuracy": None}
    total = np.array(details["confusion"])
    assert details["classes"]["a"]["iou"] == pytest.approx(
        total[0, 0] / (total[0].sum() + total[:, 0].sum() - total[0, 0]), abs=1e-6
    )
    assert _evaluate(metric, samples) == first


def test_class_scores_match_task_table():
    metric = SegmentationMetric()
    _evaluate(metric, [_sample(*_maps(0))])
    schema = TASKS["seg"].per_class
    for entry in metric.details["classes"].values():
        assert {*schema.counts, *(score.key for score in schema.scores)} <= set(entry)


def test_saved_maps_round_trip(tmp_path):
    predicted, labels = _maps(0)
    predicted[0, 0], predicted[0, 1] = 0, 4
    sample = _sample(predicted, labels)
    sample["img_path"] = "/data/images/validation/ADE_val_00000001.jpg"
    _evaluate(SegmentationMetric(output_dir=str(tmp_path / "maps")), [sample])
    path = tmp_path / "maps" / "ADE_val_00000001.png"
    with Image.open(path) as saved:
        assert (saved.mode, saved.getpixel((0, 0)), saved.getpixel((1, 0))) == ("L", 1, 5)
    results = {"seg_map_path": str(path), "ori_shape": predicted.shape, "seg_fields": []}
    assert (LoadLabels(6).transform(results)["gt_seg_map"] == predicted.numpy()).all()


def test_set_without_labels_is_zero():
    predicted, labels = _maps(0)
    values = _evaluate(SegmentationMetric(), [_sample(predicted, torch.full_like(labels, 255))])
    assert set(values.values()) == {0.0}
    assert not any(map(math.isnan, values.values()))


def test_label_outside_classes():
    predicted, labels = _maps(0)
    labels[3, 4] = 200
    with pytest.raises(UserError, match="holds 200; with 6 classes its values must be 0 to 5"):
        confusion_matrix(predicted, labels, 6)
