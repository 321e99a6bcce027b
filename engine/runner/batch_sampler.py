"""Batch samplers that hold samples back, such as mmdet's by aspect ratio, in a run that is resumed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class ReplayedBatchSampler(Sampler[list[int]]):
    """Another batch sampler, which can start after any number of its batches.

    A sampler that groups images by aspect ratio collects them in one bucket per group. Its position after n batches is
    therefore not n batches of images, and depends on the images before. The order of the images is a function of the
    seed, so the batches are drawn again from the beginning: only positions and image sizes are read, and no image.

    Args:
        sampler: Yields positions of samples, always the same ones.
        batch_size: Images of a batch.
        batches: Config of the batch sampler; it gets the two arguments above. It must depend on nothing else.
    """

    def __init__(self, sampler: Sampler[int], batch_size: int, batches: dict[str, Any]) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.batches = batches
        self.skip = 0

    def start_after(self, batches: int) -> None:
        """Make the next iteration start after the first `batches` batches of this process."""
        self.skip = batches

    def _build(self) -> Any:
        # Anew for each iteration, because the buckets of an abandoned one are not empty.
        given = dict(sampler=self.sampler, batch_size=self.batch_size)
        return DATA_SAMPLERS.build(dict(self.batches), default_args=given)

    def __iter__(self) -> Iterator[list[int]]:
        skip, self.skip = self.skip, 0
        return itertools.islice(self._build(), skip, None)

    def __len__(self) -> int:
        return len(self._build())
