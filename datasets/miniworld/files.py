"""Write single images of a miniworld in the layouts of ImageNet, Pascal VOC and ADE20K."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from datasets.miniworld.compose import (
    ObjectBox,
    Scene,
    busy_scene,
    object_boxes,
    object_scene,
)
from datasets.miniworld.spec import MiniworldSpec

JPEG_QUALITY = 95
# A separate random stream per split: the number of images in one split does not change another.
STREAMS = {
    "cls/train": 1,
    "cls/val": 2,
    "VOC2007/trainval": 3,
    "VOC2007/test": 4,
    "VOC2012/trainval": 5,
    "ade/training": 6,
    "ade/validation": 7,
}


@dataclass(frozen=True)
class Job:
    """One image to write.

    Attributes:
        split: Key of `STREAMS`.
        index: Number of the image in its split, counted from 0.
    """

    split: str
    index: int


def jobs(spec: MiniworldSpec) -> list[Job]:
    """Return every image of the world, in a fixed order."""
    counts = {
        "cls/train": spec.cls_train_images,
        "cls/val": spec.cls_val_images,
        "VOC2007/trainval": spec.det_trainval_images,
        "VOC2007/test": spec.det_test_images,
        "VOC2012/trainval": spec.det_trainval_images_2012,
        "ade/training": spec.seg_train_images,
        "ade/validation": spec.seg_val_images,
    }
    return [Job(split, index) for split, count in counts.items() for index in range(count)]


def cls_class_index(spec: MiniworldSpec, index: int) -> int:
    """Return the class of a classification image; classes alternate."""
    return index % spec.cls_classes


def draw(spec: MiniworldSpec, job: Job) -> Scene:
    """Draw an image; the same arguments always give the same pixels."""
    rng = np.random.default_rng([spec.seed, STREAMS[job.split], job.index])
    if job.split.startswith("cls/"):
        side_px = spec.cls_large_size if job.index < spec.cls_large_images else spec.cls_size
        class_index = cls_class_index(spec, job.index)
        return object_scene(rng, side_px, class_index, spec.seg_stuff_classes)
    if job.split.startswith("VOC"):
        classes, size, objects = spec.det_classes, spec.det_size, spec.det_objects
    else:
        classes, size, objects = spec.seg_object_classes, spec.seg_size, spec.seg_objects
    return busy_scene(rng, size, classes, spec.seg_stuff_classes, objects)


def voc_image_id(spec: MiniworldSpec, job: Job) -> str:
    """Return the image's identifier, unique within its year, in the format of the devkit."""
    if job.split == "VOC2012/trainval":
        return f"2012_{job.index + 1:06d}"
    first = spec.det_trainval_images if job.split == "VOC2007/test" else 0
    return f"{first + job.index + 1:06d}"


def ade_image_id(job: Job) -> str:
    """Return the image's identifier in ADE20K's format."""
    prefix = "ADE_train" if job.split == "ade/training" else "ADE_val"
    return f"{prefix}_{job.index + 1:08d}"


def voc_xml(
    year: str,
    image_id: str,
    size: tuple[int, int],
    boxes: Sequence[ObjectBox],
    names: Sequence[str],
) -> str:
    """Return a VOC annotation; boxes are counted from 1 with their ends included."""
    width, height = size
    lines = [
        "<annotation>",
        f"\t<folder>{year}</folder>",
        f"\t<filename>{image_id}.jpg</filename>",
        "\t<source>",
        "\t\t<database>TrickBench miniworld</database>",
        f"\t\t<annotation>{year}</annotation>",
        "\t\t<image>generated</image>",
        "\t</source>",
        "\t<size>",
        f"\t\t<width>{width}</width>",
        f"\t\t<height>{height}</height>",
        "\t\t<depth>3</depth>",
        "\t</size>",
        "\t<segmented>0</segmented>",
    ]
    for box in boxes:
        lines += ["\t<object>", f"\t\t<name>{escape(names[box.class_index])}</name>"]
        lines += ["\t\t<pose>Unspecified</pose>", f"\t\t<truncated>{box.truncated:d}</truncated>"]
        # The devkit has this element since 2010.
        if year == "VOC2012":
            lines.append(f"\t\t<occluded>{box.occluded:d}</occluded>")
        lines += [f"\t\t<difficult>{box.difficult:d}</difficult>", "\t\t<bndbox>"]
        for corner, value in zip(("xmin", "ymin", "xmax", "ymax"), box.box, strict=True):
            lines.append(f"\t\t\t<{corner}>{value}</{corner}>")
        lines += ["\t\t</bndbox>", "\t</object>"]
    return "\n".join([*lines, "</annotation>", ""])


def write_image(spec: MiniworldSpec, root: Path, job: Job) -> list[int]:
    """Draw an image and write it with its annotation; the folders must exist.

    Returns:
        Pixels of each label of the map for segmentation images, else an empty list.
    """
    scene = draw(spec, job)
    picture = Image.fromarray(scene.image)
    if job.split.startswith("cls/"):
        name = spec.cls_names()[cls_class_index(spec, job.index)]
        picture.save(root / job.split / name / f"{job.index:06d}.jpg", quality=JPEG_QUALITY)
        return []
    if job.split.startswith("VOC"):
        year = job.split.split("/")[0]
        devkit, image_id = root / "VOCdevkit" / year, voc_image_id(spec, job)
        picture.save(devkit / "JPEGImages" / f"{image_id}.jpg", quality=JPEG_QUALITY)
        xml = voc_xml(year, image_id, spec.det_size, object_boxes(scene), spec.det_names())
        (devkit / "Annotations" / f"{image_id}.xml").write_text(xml, encoding="utf-8")
        return []
    ade, split, image_id = root / "ADEChallengeData2016", job.split.split("/")[1], ade_image_id(job)
    picture.save(ade / "images" / split / f"{image_id}.jpg", quality=JPEG_QUALITY)
    labels = scene.label_map(spec.seg_stuff_classes)
    Image.fromarray(labels).save(ade / "annotations" / split / f"{image_id}.png")
    return np.bincount(labels.ravel(), minlength=len(spec.seg_names()) + 1).tolist()
