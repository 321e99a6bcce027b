"""Samples for transferability estimates: labelled features of a task's training images, before training.

The choice of samples depends only on the training images, not on the backbone or its weights, so all rows are
compared on the same samples. A few-shot row uses only its own few images, because it has no other labels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from torch import Tensor

import backbones
from contract.timing import CLOCK, ESTIMATES
from engine.measure.preserve_state import preserve_state
from engine.measure.transferability import measure
from engine.runner.peak_memory import restart_peak_memory
from engine.runner.seeding import leaves

MOST_IMAGES = 256
MOST_SAMPLES = 2000
TRANSFERABILITY = "transferability"

# Takes the last map (C, h, w), the image's sample from the data preprocessor and the map's stride; returns features
# (m, C) and class indices (m,) of the labelled objects or locations.
LabelledFeatures = Callable[[Tensor, Any, int], tuple[Tensor, Tensor]]


class TransferabilityHook(Hook):
    """Measure LogME, H-score and LEEP of the backbone before the first step, without side effects.

    The images go through the test pipeline and the network in evaluation mode, in float32. Random generators and
    batch statistics are unchanged: training gives the same numbers with and without this hook.

    Args:
        labelled_features: Extracts them from the last map.
        checkpoint: The pretrained checkpoint, for LEEP's source classifier; None if the weights are random.
    """

    # After the load report, before the clocks start.
    priority = "BELOW_NORMAL"

    def __init__(self, labelled_features: LabelledFeatures, checkpoint: Path | None) -> None:
        self.labelled_features = labelled_features
        self.checkpoint = checkpoint

    def before_train(self, runner: Any) -> None:
        """Measure, and keep scores and notes in the message hub, which checkpoints include."""
        if runner.iter > 0 or not is_main_process():
            return
        with CLOCK.phase(ESTIMATES):
            self._measure(runner)

    def _measure(self, runner: Any) -> None:
        started = time.monotonic()
        model = runner.model.module if hasattr(runner.model, "module") else runner.model
        with preserve_state(model.backbone.net), torch.no_grad():
            features, labels = self._samples(runner, model)
            head = None if self.checkpoint is None else backbones.load_head(self.checkpoint)
            scores, notes = measure(features, labels, head)
        runner.message_hub.update_info(
            TRANSFERABILITY, {"scores": [asdict(score) for score in scores], "notes": notes}
        )
        restart_peak_memory()
        summary = [f"{score.name} {score.value:.4f}" for score in scores] + notes
        runner.logger.info(
            f"transferability: {', '.join(summary)} ({len(labels)} samples, {time.monotonic() - started:.1f} s)"
        )

    def _samples(self, runner: Any, model: Any) -> tuple[Tensor, Tensor]:
        """Return features (n, C) and labels (n,) with n ≤ `MOST_SAMPLES`."""
        train, test = runner.train_dataloader.dataset, runner.val_loop.dataloader.dataset
        # A run that is tested on some of its images uses no more of them here.
        most = MOST_IMAGES if test.images_used == test.images_total else test.images_used
        used = train.images
        images = [used[position] for position in spaced(len(used), most)]
        per_image = -(-MOST_SAMPLES // len(images))
        features, labels = [], []
        # All datasets of a split have the same pipeline.
        prepare = next(leaves(test.dataset)).pipeline
        for index in images:
            batch = pseudo_collate([prepare(train.dataset.get_data_info(index))])
            data = model.data_preprocessor(batch, training=False)
            shown = data["inputs"].contiguous(memory_format=torch.channels_last)
            last = model.backbone.net(shown)[-1][0]
            stride = model.backbone.net.feature_info[-1].stride
            found, classes = self.labelled_features(last, data["data_samples"][0], stride)
            kept = spaced(len(classes), per_image)
            features.append(found[kept])
            labels.append(classes[kept])
        kept = spaced(sum(map(len, labels)), MOST_SAMPLES)
        return torch.cat(features)[kept], torch.cat(labels)[kept]


def spaced(total: int, most: int) -> list[int]:
    """Return at most `most` of the indices 0 … `total` − 1, evenly spaced, in order."""
    count = min(total, most)
    return [number * total // count for number in range(count)]
