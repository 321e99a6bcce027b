"""Test at several scales with and without flip, like the "ms+flip" scores of papers.

Source: PSPNet, 1612.01105, and mmseg, which average class probabilities.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import all_reduce, get_dist_info
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel
from torch.utils.data import DataLoader

from engine.runner.averaging import measured_model
from seg.metric import Scores, confusion_matrix, scores


class StreamedTTA(SegTTAModel):
    """mmseg's mean of the class probabilities of all variants of an image, accumulated one by one.

    The stock class keeps the logits of all variants in memory: 150 classes at the size of the image file, twelve times.
    """

    def test_step(self, data: Mapping[str, Sequence[Any]]) -> list[Any]:
        """Segment one image, given as lists of variants under `inputs` and `data_samples`."""
        total: torch.Tensor | None = None
        sample: Any = None
        for inputs, samples in zip(data["inputs"], data["data_samples"], strict=True):
            network: Any = self.module
            (sample,) = network.test_step({"inputs": inputs, "data_samples": samples})
            probabilities = sample.seg_logits.data.softmax(dim=0)
            total = probabilities if total is None else total.add_(probabilities)
        if total is None:
            return []
        sample.set_data({"pred_sem_seg": PixelData(data=total.argmax(dim=0, keepdim=True))})
        return [sample]


def pipeline(steps: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> list[Any]:
    """Return the test pipeline with a `Resize` for each variant.

    Args:
        steps: Loading, resizing, labels, packing.
        settings: `scales`, as multiples of the single scale, and `flip`.
    """
    position = next(i for i, step in enumerate(steps) if step["type"] == "Resize")
    resize = steps[position]
    sizes = [
        {**resize, "scale": tuple(round(side * factor) for side in resize["scale"])}
        for factor in settings["scales"]
    ]
    flips = [
        dict(type="RandomFlip", prob=float(flip)) for flip in ([0, 1] if settings["flip"] else [0])
    ]
    # Labels come last and are not resized: predictions are resized to the size of the image file.
    rest = [[dict(step)] for step in steps[position + 1 :]]
    return [
        *map(dict, steps[:position]),
        dict(type="TestTimeAug", transforms=[sizes, flips, *rest]),
    ]


def evaluate(runner: Runner, settings: Mapping[str, Any]) -> Scores:
    """Evaluate the test set again at all scales. Each process evaluates a share; all return the scores of the whole."""
    loader = runner.cfg.val_dataloader
    dataset = copy.deepcopy(loader.dataset)
    dataset.dataset.pipeline = pipeline(dataset.dataset.pipeline, settings)
    tested: Any = DATASETS.build(dataset)
    rank, processes = get_dist_info()
    images = DataLoader(
        tested,
        # Without repetitions: pixel counts add up to those of one process.
        sampler=range(rank, len(tested), processes),
        num_workers=loader.num_workers,
        collate_fn=pseudo_collate,
    )
    tta = StreamedTTA(measured_model(runner).eval())
    num_classes = len(tested.metainfo["classes"])
    matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    with torch.no_grad():
        for batch in images:
            for sample in tta.test_step(batch):
                predicted, labels = sample.pred_sem_seg.data, sample.gt_sem_seg.data
                counts = confusion_matrix(predicted, labels.to(predicted.device), num_classes)
                matrix += counts.cpu()
    all_reduce(matrix)
    return scores(matrix)
