"""The labelled locations for transferability estimates; measuring them does not affect a training."""

import json
from types import SimpleNamespace

import numpy as np
import torch

from seg.labelled_features import location_features, location_labels
from seg.labels import IGNORED
from seg.train import Segmentation


def _by_loops(labels, shape, stride):
    """More than half of the location's stride² pixels, those outside the image included."""
    majority = np.full(shape, IGNORED)
    for row in range(shape[0]):
        for column in range(shape[1]):
            patch = labels[
                row * stride : (row + 1) * stride, column * stride : (column + 1) * stride
            ]
            for label in set(patch.flatten().tolist()) - {IGNORED}:
                if (patch == label).sum() * 2 > stride**2:
                    majority[row, column] = label
    return majority


def test_majority_by_loops():
    generator = np.random.default_rng(0)
    for height, width in ((24, 32), (21, 30), (17, 9)):
        labels = generator.choice([0, 1, 7, IGNORED], size=(height, width), p=[0.6, 0.2, 0.1, 0.1])
        shape = (-(-height // 8), -(-width // 8))
        found = location_labels(torch.from_numpy(labels), shape, 8)
        assert found.tolist() == _by_loops(labels, shape, 8).tolist()
        assert {0, IGNORED} & set(found.flatten().tolist())


def test_half_is_not_a_majority():
    labels = torch.zeros(4, 8, dtype=torch.long)
    labels[:, 2:4] = 1
    assert location_labels(labels, (1, 2), 4).tolist() == [[IGNORED, 0]]


def test_map_smaller_than_image():
    labels = torch.zeros(9, 9, dtype=torch.long)
    assert location_labels(labels, (2, 2), 4).tolist() == [[0, 0], [0, 0]]


def test_features_and_labels_share_locations():
    # The file is half as large as the network's image: quarters of 4 × 4 become 8 × 8.
    labels = torch.tensor([[0, 3], [IGNORED, 2]]).repeat_interleave(4, 0).repeat_interleave(4, 1)
    sample = SimpleNamespace(
        gt_sem_seg=SimpleNamespace(data=labels[None]), img_shape=(16, 16), ori_shape=(8, 8)
    )
    last = torch.arange(8.0).reshape(2, 2, 2)
    features, classes = location_features(last, sample, 8)
    assert classes.tolist() == [0, 3, 2]
    assert features.tolist() == [[0, 4], [1, 5], [3, 7]]


def test_measuring_keeps_training_equal(tiny_ade, tmp_path, run_seg, checkpoint, monkeypatch):
    found = []
    for name in ("measured", "unmeasured"):
        if name == "unmeasured":
            monkeypatch.setattr(Segmentation, "labelled_features", None)
        work = tmp_path / name
        assert run_seg(tiny_ade.root, work, "--checkpoint", checkpoint) == 0
        result = json.loads((work / "result.json").read_text())
        found.append((result["metrics"], (work / "curves.json").read_text()))
        state = torch.load(work / "iter_2.pth", weights_only=True)["state_dict"]
        found[-1] += ({key: tensor.numpy().tobytes() for key, tensor in state.items()},)
        scores = result["transferability"]
        assert [score["name"] for score in scores] == ["logme", "hscore"][
            : 2 * (name == "measured")
        ]
    assert found[0] == found[1]
