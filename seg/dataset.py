"""The images and label maps of one split, or of one side of it where some are held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from engine.holdout import check, is_held_out


@DATASETS.register_module()
class SegmentationDataset(BaseSegDataset):
    """mmseg's dataset of two folders, of which one side may be left out.

    Args:
        held_out: The side of these training images that is loaded, see `engine.holdout`; None for all images.
        arguments: Those of mmseg's dataset.
    """

    def __init__(self, *, held_out: bool | None = None, **arguments: Any) -> None:
        self.held_out = held_out
        super().__init__(**arguments)

    def load_data_list(self) -> list[dict[str, Any]]:
        """The images by name, each with its label map.

        Raises:
            UserError: A side is asked for, and one of the two has no image.
        """
        images = super().load_data_list()
        if self.held_out is None:
            return images
        check([_name(image) for image in images], str(self.data_prefix["img_path"]))
        return [image for image in images if is_held_out(_name(image)) == self.held_out]


def _name(image: dict[str, Any]) -> str:
    return Path(image["img_path"]).stem
