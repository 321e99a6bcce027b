"""Pascal VOC annotations, with what public sets contain and the stock loader trips over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdet.datasets import XMLDataset
from mmengine.registry import DATASETS
from PIL import Image

from backbones import UserError
from det.layout import parse_xml


@DATASETS.register_module()
class DetectionDataset(XMLDataset):
    """mmdet's XML dataset that drops boxes without area and clips those that leave the image.

    A box without area turns Faster R-CNN's loss to NaN. Both kinds are counted in `notes`, and so are objects
    of a class that is not listed, with the first offender's file. `metainfo['classes']` must be given.
    """

    def __init__(self, **arguments: Any) -> None:
        self.dropped: list[str] = []
        self.clipped: list[str] = []
        self.unlisted: list[str] = []
        self.boxes = 0
        super().__init__(**arguments)

    @property
    def notes(self) -> list[str]:
        """What was mended while loading, in sentences."""
        told = (
            (self.dropped, "have no area inside the image and were dropped"),
            (self.clipped, "reach out of the image and were clipped"),
            (self.unlisted, "are of a class that classes.txt does not list and were left out"),
        )
        return [
            f"{len(files)} of {self.boxes} boxes {what} (first: {files[0]})"
            for files, what in told
            if files
        ]

    def load_data_list(self) -> list[dict[str, Any]]:
        """The listed images; unlike mmdet's reading, blank lines and stray blanks name none."""
        self.cat2label = {name: label for label, name in enumerate(self.metainfo["classes"])}
        annotations = Path(self.sub_data_root) / self.ann_subdir
        return [
            self.parse_data_info(
                {
                    "img_id": name,
                    "file_name": f"{self.img_subdir}/{name}.jpg",
                    "xml_path": str(annotations / f"{name}.xml"),
                }
            )
            for name in Path(self.ann_file).read_text(encoding="utf-8").split()
        ]

    def parse_data_info(self, img_info: dict[str, Any]) -> dict[str, Any]:
        """One image's path, size and boxes (corners in pixels, from 0).

        Raises:
            UserError: The XML or the image is missing or damaged.
        """
        tree = parse_xml(Path(img_info["xml_path"]))
        path = Path(self.sub_data_root) / img_info["file_name"]
        width, height = self._size(tree, path)
        try:
            instances = self._parse_instance_info(tree, minus_one=True)
        except (AttributeError, TypeError, ValueError) as error:
            raise UserError(
                f"the annotation {img_info['xml_path']} has an object without a name or a whole bndbox "
                f"({error}); mend the file"
            ) from None
        listed = self.metainfo["classes"]
        names = [name.text for name in tree.iterfind("object/name")]
        self.boxes += len(names)
        self.unlisted += [Path(img_info["xml_path"]).name for name in names if name not in listed]
        return {
            "img_path": str(path),
            "img_id": img_info["img_id"],
            "xml_path": img_info["xml_path"],
            "width": width,
            "height": height,
            "instances": self._mend(instances, width, height, Path(img_info["xml_path"]).name),
        }

    def filter_data(self) -> list[dict[str, Any]]:
        """The images that are left by `filter_cfg`.

        Raises:
            UserError: None is.
        """
        kept = super().filter_data()
        if not kept:
            told = "; ".join(self.notes) or "all are too small or show no object"
            raise UserError(
                f"{self.ann_file} lists no image that can be trained on ({told}); mend the annotations"
            )
        return kept

    @staticmethod
    def _size(tree: Any, image: Path) -> tuple[int, int]:
        """Width and height from the XML, or from the image where the XML is silent or says 0."""
        width, height = (
            int(float(tree.findtext(f"size/{side}") or 0)) for side in ("width", "height")
        )
        if width > 0 and height > 0:
            return width, height
        try:
            with Image.open(image) as opened:
                return opened.size
        except (OSError, SyntaxError) as error:
            raise UserError(f"the image {image} cannot be read ({error}); replace it") from None

    def _mend(
        self, instances: list[dict[str, Any]], width: int, height: int, file: str
    ) -> list[dict[str, Any]]:
        kept = []
        for instance in instances:
            x1, y1, x2, y2 = instance["bbox"]
            inside = [max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)]
            if inside[2] - inside[0] < 1 or inside[3] - inside[1] < 1:
                self.dropped.append(file)
                continue
            # Some tools count from 0; one pixel at the edge is no offence.
            if min(x1, y1) < -1 or x2 > width or y2 > height:
                self.clipped.append(file)
            kept.append({**instance, "bbox": inside})
        return kept
