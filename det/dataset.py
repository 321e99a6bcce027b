"""mmdet datasets of the detection samples that `datasets` reads."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from mmdet.datasets import XMLDataset
from mmengine.registry import DATASETS

from contract.errors import UserError
from datasets import split as division
from datasets.layouts.coco import JsonSplit
from datasets.layouts.voc import ImageList
from datasets.records import DetectionSample, Object, clip, reaches_out
from datasets.split import Split


@DATASETS.register_module()
class DetectionDataset(XMLDataset):
    """Images in Pascal VOC's layout, with boxes that are valid for the loss.

    Boxes without area are dropped, and boxes that leave the image are clipped; see `datasets.records.clip`. `notes`
    counts both, and objects of unlisted classes, each with the first file. `metainfo['classes']` must be given. The
    base class provides its arguments and `filter_cfg`.

    Args:
        split: The split to load from a tree without lists (`ann_file=''`); see `datasets.split`.
        held_out: Load only the held-out images (True) or the others (False), see `datasets.split`; None loads all
            images.
        arguments: Arguments of mmdet's dataset.
    """

    def __init__(
        self, *, split: Split | None = None, held_out: bool | None = None, **arguments: Any
    ) -> None:
        self.split: Split | None = split
        self.held_out = held_out
        self.dropped: list[str] = []
        self.clipped: list[str] = []
        self.unlisted: list[str] = []
        self.boxes = 0
        super().__init__(**arguments)

    @property
    def part(self) -> ImageList | JsonSplit:
        """The source of the samples."""
        list_file = Path(self.ann_file) if self.ann_file else None
        return ImageList(Path(self.sub_data_root), list_file, self.split)

    @property
    def notes(self) -> list[str]:
        """Notes on repairs while loading."""
        found = (
            (self.dropped, "have no area inside the image and were dropped"),
            (self.clipped, "reach out of the image and were clipped"),
            (self.unlisted, "are of a class that classes.txt does not list and were left out"),
        )
        repaired = [
            f"{len(files)} of {self.boxes} boxes {what} (first: {files[0]})"
            for files, what in found
            if files
        ]
        # Held-out images differ from the test images of a dataset without splits.
        return [*repaired, *(division.note(self.split) if self.held_out is None else [])]

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return path, size and boxes (corners in pixels, from 0) of all images.

        Raises:
            UserError: An annotation or an image is missing or damaged.
        """
        self.cat2label = {name: label for label, name in enumerate(self.metainfo["classes"])}
        return [self.parse_data_info(sample) for sample in self.part.samples(self.held_out)]

    def parse_data_info(self, sample: DetectionSample) -> dict[str, Any]:
        """Return mmdet's annotation of a sample."""
        self.boxes += len(sample.objects)
        instances = [self._instance(found, sample) for found in sample.objects]
        width, height = sample.size
        return {
            "img_path": str(sample.image),
            "img_id": sample.image_id,
            "width": width,
            "height": height,
            "instances": [instance for instance in instances if instance is not None],
        }

    def _instance(self, found: Object, sample: DetectionSample) -> dict[str, Any] | None:
        if found.name not in self.cat2label:
            self.unlisted.append(sample.source)
            return None
        inside = clip(found.box, sample.size)
        if inside is None:
            self.dropped.append(sample.source)
            return None
        if reaches_out(found.box, sample.size):
            self.clipped.append(sample.source)
        small = self.bbox_min_size is not None and min(found.size) < self.bbox_min_size
        return {
            "bbox": list(inside),
            "bbox_label": self.cat2label[found.name],
            "ignore_flag": int(found.ignored or small),
        }

    def classes_in(self, info: dict[str, Any]) -> frozenset[Hashable]:
        """Return the classes in an image's annotation; few-shot subsets are stratified by them."""
        return frozenset(
            instance["bbox_label"] for instance in info["instances"] if not instance["ignore_flag"]
        )

    def filter_data(self) -> list[dict[str, Any]]:
        """Return the images that `filter_cfg` keeps.

        Raises:
            UserError: No image is left.
        """
        kept = super().filter_data()
        if not kept:
            reason = "; ".join(self.notes) or "all are too small or show no object"
            where = self.ann_file or self.sub_data_root
            raise UserError(
                f"{where} lists no image that can be trained on ({reason}); fix the annotations"
            )
        return kept


@DATASETS.register_module()
class CocoDetectionDataset(DetectionDataset):
    """The same for a JSON file in COCO's format; crowds are ignored, like VOC's difficult objects.

    Labels follow `metainfo['classes']` by name. mmdet's loader numbers them in the order of the file's categories,
    which may differ between files.
    """

    @property
    def part(self) -> ImageList | JsonSplit:
        """The source of the samples."""
        return JsonSplit(Path(self.data_prefix["img"]), Path(str(self.ann_file)), self.split)
