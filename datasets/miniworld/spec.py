"""The specification of a miniworld: sizes, counts and class names; and the presets."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from datasets.layouts.voc import VOC_NAMES
from datasets.miniworld.appearance import object_appearance, stuff_appearance

# Part of a miniworld's identity. Increase it with every change of the drawn or written files.
GENERATOR_VERSION = 2


@dataclass(frozen=True)
class MiniworldSpec:
    """The specification of a miniworld. Object class `i` looks the same in all three sets.

    Attributes:
        seed: Random seed; each seed gives a different world.
        cls_classes: Classification classes.
        cls_train_images: Training images, spread evenly over the classes.
        cls_val_images: Validation images, spread evenly over the classes.
        cls_size: Side of a classification image in pixels.
        cls_large_images: Number of images at the start of each split with side `cls_large_size`.
        cls_large_size: Their side in pixels.
        det_classes: Detection classes; the first ones of the classification classes.
        det_trainval_images: Images of VOC2007 trainval; half is train, the rest is val.
        det_trainval_images_2012: Images of VOC2012 trainval.
        det_test_images: Images of VOC2007 test.
        det_size: Width and height in pixels.
        det_objects: Minimum and maximum number of objects in an image.
        seg_stuff_classes: Background classes; labels 1 to `seg_stuff_classes`.
        seg_object_classes: Object classes; the next labels.
        seg_train_images: Images of the training split.
        seg_val_images: Images of the validation split.
        seg_size: Width and height in pixels.
        seg_objects: Minimum and maximum number of objects in an image.
        standard_names: Use class names in the style of ImageNet, Pascal VOC and ADE20K instead of descriptions.
    """

    seed: int = 0
    cls_classes: int = 10
    cls_train_images: int = 4000
    cls_val_images: int = 800
    cls_size: int = 64
    cls_large_images: int = 0
    cls_large_size: int = 64
    det_classes: int = 10
    det_trainval_images: int = 150
    det_trainval_images_2012: int = 150
    det_test_images: int = 160
    det_size: tuple[int, int] = (160, 160)
    det_objects: tuple[int, int] = (1, 5)
    seg_stuff_classes: int = 6
    seg_object_classes: int = 10
    seg_train_images: int = 200
    seg_val_images: int = 80
    seg_size: tuple[int, int] = (144, 144)
    seg_objects: tuple[int, int] = (2, 6)
    standard_names: bool = False

    def cls_names(self) -> tuple[str, ...]:
        """Folder names of the classification classes, by class index."""
        if self.standard_names:
            return tuple(f"n{index:08d}" for index in range(self.cls_classes))
        return _object_names(self.cls_classes)

    def det_names(self) -> tuple[str, ...]:
        """Names of the detection classes, by class index."""
        if self.standard_names:
            return VOC_NAMES[: self.det_classes]
        return _object_names(self.det_classes)

    def seg_names(self) -> tuple[str, ...]:
        """Names of the segmentation classes; label `i` has name `i - 1`."""
        if self.standard_names:
            total = self.seg_stuff_classes + self.seg_object_classes
            return tuple(f"class {label:03d}" for label in range(1, total + 1))
        stuff = [stuff_appearance(index).texture for index in range(self.seg_stuff_classes)]
        return _distinct(stuff) + _object_names(self.seg_object_classes)

    def digest(self) -> str:
        """Return the sha256 over every field and the generator's version."""
        fields = json.dumps({"version": GENERATOR_VERSION, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(fields.encode()).hexdigest()


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Return the names; an index is appended to repeated names."""
    return tuple(
        name if names.index(name) == index else f"{name}_{index}"
        for index, name in enumerate(names)
    )


def _object_names(count: int) -> tuple[str, ...]:
    return _distinct([object_appearance(index).name for index in range(count)])


PRESETS: dict[str, MiniworldSpec] = {
    "mini": MiniworldSpec(),
    "mini-smoke": MiniworldSpec(
        cls_train_images=40,
        cls_val_images=20,
        det_trainval_images=8,
        det_trainval_images_2012=4,
        det_test_images=6,
        seg_train_images=8,
        seg_val_images=4,
    ),
    "fullsize-smoke": MiniworldSpec(
        cls_classes=1000,
        cls_train_images=1000,
        cls_val_images=1000,
        cls_large_images=16,
        cls_large_size=320,
        det_classes=20,
        det_trainval_images=4,
        det_trainval_images_2012=4,
        det_test_images=4,
        det_size=(500, 375),
        seg_stuff_classes=50,
        seg_object_classes=100,
        seg_train_images=4,
        seg_val_images=4,
        seg_size=(683, 512),
        standard_names=True,
    ),
}
