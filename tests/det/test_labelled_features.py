"""The features of objects for transferability estimates."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope

from det.labelled_features import object_features


def _sample(boxes, labels, scale_factor=(1.0, 1.0)):
    truth = SimpleNamespace(bboxes=torch.tensor(boxes), labels=torch.tensor(labels))
    return SimpleNamespace(gt_instances=truth, scale_factor=scale_factor)


def test_feature_is_mean_of_covered_locations():
    last = torch.arange(2 * 4 * 6.0).reshape(2, 4, 6)
    # Whole locations at a stride of 8: rows 1 to 2, columns 2 to 4; and the location in row 0, column 5.
    boxes = [[16.0, 8.0, 40.0, 24.0], [40.0, 0.0, 48.0, 8.0]]
    features, labels = object_features(last, _sample(boxes, [1, 0]), 8)
    expected = torch.stack([last[:, 1:3, 2:5].mean(dim=(1, 2)), last[:, 0, 5]])
    assert torch.allclose(features, expected)
    assert labels.tolist() == [1, 0]


def test_boxes_scale_to_network_image():
    last = torch.rand(3, 8, 8)
    shown = _sample([[16.0, 24.0, 48.0, 40.0]], [0])
    filed = _sample([[8.0, 8.0, 24.0, 40.0 / 3]], [0], scale_factor=(2.0, 3.0))
    assert torch.allclose(object_features(last, shown, 8)[0], object_features(last, filed, 8)[0])


def test_image_without_objects():
    truth = SimpleNamespace(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    sample = SimpleNamespace(gt_instances=truth, scale_factor=(1.0, 1.0))
    features, labels = object_features(torch.rand(4, 3, 3), sample, 32)
    assert (features.shape, labels.shape) == ((0, 4), (0,))


def test_difficult_objects_are_skipped(tiny_voc, assemble_det):
    tiny_voc.add("000", (96, 64), [("dog", 8, 10, 40, 44), ("cat", 30, 30, 60, 62, 1)])
    config, model = assemble_det()
    with DefaultScope.overwrite_default_scope("mmdet"):
        train, test = (
            DATASETS.build(loader.dataset)
            for loader in (config.train_dataloader, config.val_dataloader)
        )
    batch = pseudo_collate([test.dataset.pipeline(train.dataset.get_data_info(0))])
    data = model.data_preprocessor(batch, training=False)
    # The file has 96 × 64 pixels, the network's image 160 × 107.
    ramp = torch.arange(160.0).repeat(1, 107, 1)
    features, labels = object_features(ramp, data["data_samples"][0], 1)
    assert labels.tolist() == [1]
    # VOC counts from 1; the mean of a ramp is its value in the middle, and pixel 0 has its centre at 0.5.
    assert features.item() == pytest.approx((7 + 39) / 2 * 160 / 96 - 0.5, abs=0.01)
