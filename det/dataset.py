"""Annotations in VOC's and COCO's form, with what public sets contain and the stock loaders trip over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdet.datasets import XMLDataset
from mmengine.registry import DATASETS
from PIL import Image

from contract.errors import UserError
from det import coco, shares
from det.layout import Split, parse_xml
from det.shares import Share
from engine.holdout import is_held_out


@DATASETS.register_module()
class DetectionDataset(XMLDataset):
    """mmdet's XML dataset that drops boxes without area and clips those that leave the image.

    A box without area turns Faster R-CNN's loss to NaN. Both kinds are counted in `notes`, and so are objects
    of a class that is not listed, with the first offender's file. `metainfo['classes']` must be given.

    Args:
        share: Where no list is named (`ann_file=''`), the share of the folder's images; see `det.shares`.
        held_out: The side of these training images that is loaded, see `engine.holdout`; None for all images.
        arguments: Those of mmdet's dataset.
    """

    def __init__(
        self, *, share: Share | None = None, held_out: bool | None = None, **arguments: Any
    ) -> None:
        self.share = share
        self.held_out = held_out
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
        mended = [
            f"{len(files)} of {self.boxes} boxes {what} (first: {files[0]})"
            for files, what in told
            if files
        ]
        # Held-out images are not those that the division of a set without splits tests on.
        return [*mended, *(shares.note(self.share) if self.held_out is None else [])]

    def load_data_list(self) -> list[dict[str, Any]]:
        """The listed images; unlike mmdet's reading, blank lines and stray blanks name none."""
        self.cat2label = {name: label for label, name in enumerate(self.metainfo["classes"])}
        root = Path(self.sub_data_root)
        split = Split(root, Path(self.ann_file) if self.ann_file else None, self.share)
        return [
            self.parse_data_info(
                {
                    "img_id": name,
                    "file_name": f"{self.img_subdir}/{name}.jpg",
                    "xml_path": str(root / self.ann_subdir / f"{name}.xml"),
                }
            )
            for name in split.names()
            if self.held_out in (None, is_held_out(name))
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
            where = self.ann_file or self.sub_data_root
            raise UserError(
                f"{where} lists no image that can be trained on ({told}); mend the annotations"
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


@DATASETS.register_module()
class CocoDetectionDataset(DetectionDataset):
    """The same from a JSON file of COCO's form.

    Labels follow `metainfo['classes']` by name; mmdet's own loader numbers them as the file orders its categories, so
    that two files may disagree. Crowds (`iscrowd`) are ignored as VOC's difficult objects are.
    """

    def load_data_list(self) -> list[dict[str, Any]]:
        """The images of the file, or of its share, in its order.

        Raises:
            UserError: An annotation has no box of four numbers, or is of an image or category that the file lacks.
        """
        self.cat2label = {name: label for label, name in enumerate(self.metainfo["classes"])}
        content = coco.read_json(Path(self.ann_file))
        self.category_names = {entry["id"]: entry["name"] for entry in content["categories"]}
        objects: dict[Any, list[dict[str, Any]]] = {entry["id"]: [] for entry in content["images"]}
        for annotation in content["annotations"]:
            if annotation.get("image_id") not in objects:
                raise self._misfit(annotation, "is of an image that the file does not list")
            objects[annotation["image_id"]].append(annotation)
        return [
            self.parse_data_info({**image, "annotations": objects[image["id"]]})
            for image in content["images"]
            if self.share in (None, shares.share_of(coco.name_of(image)))
            and self.held_out in (None, is_held_out(coco.name_of(image)))
        ]

    def parse_data_info(self, img_info: dict[str, Any]) -> dict[str, Any]:
        """One image's path, size and boxes (corners in pixels, from 0)."""
        file, width, height = (img_info[key] for key in ("file_name", "width", "height"))
        instances = [self._instance(entry, file) for entry in img_info["annotations"]]
        kept = [instance for instance in instances if instance is not None]
        return {
            "img_path": str(Path(self.data_prefix["img"]) / file),
            "img_id": img_info["id"],
            "width": width,
            "height": height,
            "instances": self._mend(kept, width, height, file),
        }

    def _instance(self, annotation: dict[str, Any], file: str) -> dict[str, Any] | None:
        name = self.category_names.get(annotation.get("category_id"))
        if name is None:
            raise self._misfit(annotation, "is of a category that the file does not list")
        try:
            x, y, box_width, box_height = map(float, annotation["bbox"])
        except (KeyError, TypeError, ValueError):
            raise self._misfit(annotation, "has no bbox of four numbers") from None
        self.boxes += 1
        if name not in self.cat2label:
            self.unlisted.append(file)
            return None
        small = self.bbox_min_size is not None and min(box_width, box_height) < self.bbox_min_size
        return {
            "bbox": [x, y, x + box_width, y + box_height],
            "bbox_label": self.cat2label[name],
            "ignore_flag": int(bool(annotation.get("iscrowd")) or small),
        }

    def _misfit(self, annotation: dict[str, Any], what: str) -> UserError:
        return UserError(
            f"{self.ann_file}: the annotation with id {annotation.get('id')} {what}; mend the file"
        )
