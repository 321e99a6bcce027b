"""An mmseg dataset of the images and label maps that `datasets` reads."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from datasets.layouts.ade20k import IGNORED, Folders
from datasets.split import require_both_sides
from seg.labels import read_labels


@DATASETS.register_module()
class SegmentationDataset(BaseSegDataset):
    """The images and label maps of two folders of the ADE20K layout.

    Args:
        held_out: Load only the held-out images (True) or the others (False), see `datasets.split`; None loads all
            images.
        arguments: Arguments of mmseg's dataset.
    """

    def __init__(self, *, held_out: bool | None = None, **arguments: Any) -> None:
        self.held_out = held_out
        super().__init__(**arguments)

    @property
    def part(self) -> Folders:
        """The source of the samples."""
        return Folders(*(Path(self.data_prefix[key]) for key in ("img_path", "seg_map_path")))

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return the images by name, each with its label map.

        Raises:
            UserError: An image has no label map; or `held_out` is given, and one of the two sides is empty.
        """
        if self.held_out is not None:
            require_both_sides(self.part.names(), str(self.data_prefix["img_path"]))
        return [
            {
                "img_path": str(sample.image),
                "seg_map_path": str(sample.label_map),
                "label_map": self.label_map,
                "reduce_zero_label": self.reduce_zero_label,
                "seg_fields": [],
            }
            for sample in self.part.samples(self.held_out)
        ]

    def classes_in(self, info: dict[str, Any]) -> frozenset[Hashable]:
        """Return the labels in an image's label map; few-shot subsets are stratified by them."""
        return frozenset(np.unique(read_labels(info["seg_map_path"])).tolist()) - {IGNORED}
