"""Tiny datasets in the layouts of Pascal VOC and ADE20K, written file by file."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


class VocTree:
    """A tree of the VOC layout that is written file by file.

    An object is `(name, xmin, ymin, xmax, ymax)` in VOC's pixels, which count from 1, with an optional sixth
    entry for `difficult`.
    """

    def __init__(self, root):
        self.root = root
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / folder).mkdir(parents=True)

    def add(self, name, size, objects=(), xml_size=None):
        """Write one image of `(width, height)` and its XML, which may state another size."""
        image = Image.new("RGB", size, (90, 120, 90))
        pen = ImageDraw.Draw(image)
        for label, *corners in objects:
            if corners[0] < corners[2] and corners[1] < corners[3]:
                pen.rectangle(corners[:4], fill=(220, 40, 40) if label == "cat" else (40, 60, 220))
        image.save(self.root / "JPEGImages" / f"{name}.jpg", quality=95)
        width, height = xml_size or size
        parts = [f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"]
        for label, x1, y1, x2, y2, *difficult in objects:
            parts.append(
                f"<object><name>{label}</name><difficult>{(difficult or [0])[0]}</difficult><bndbox>"
                f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            )
        self.xml(name).write_text(f"<annotation>{''.join(parts)}</annotation>")
        return self

    def xml(self, name):
        return self.root / "Annotations" / f"{name}.xml"

    def split(self, name, images):
        """Write `ImageSets/Main/NAME.txt`."""
        (self.root / "ImageSets" / "Main" / f"{name}.txt").write_text(
            "".join(f"{i}\n" for i in images)
        )
        return self


def tiny_devkit(root: Path) -> VocTree:
    """Write four training and two test images of several sizes with two classes, in a devkit of one year."""
    tree = VocTree(root / "VOC2007")
    sizes = [(96, 64), (64, 96), (80, 80), (96, 72), (64, 64), (90, 70)]
    for number, size in enumerate(sizes):
        objects = [("cat", 8, 10, 40, 44), ("dog", 30 + number, 30, 60, 62)]
        tree.add(f"{number:03d}", size, objects)
    tree.split("trainval", ["000", "001", "002", "003"]).split("test", ["004", "005"])
    (tree.root.parent / "classes.txt").write_text("cat\ndog\n")
    return tree


class AdeTree:
    """A tree of the ADE20K layout that is written pair by pair; label 0 is ignored, 1 is the first class."""

    def __init__(self, root):
        self.root = root
        for split in ("training", "validation"):
            (root / "images" / split).mkdir(parents=True)
            (root / "annotations" / split).mkdir(parents=True)

    def add(self, split, name, labels, suffix=".jpg"):
        """Write the label map `(H, W)` uint8 and an image that shows it."""
        labels = np.asarray(labels, np.uint8)
        colours = np.array([(10, 10, 10), (200, 60, 60), (60, 200, 60), (60, 60, 200)], np.uint8)
        Image.fromarray(colours[np.minimum(labels, 3)]).save(self.image(split, name, suffix))
        Image.fromarray(labels).save(self.label_map(split, name))
        return self

    def image(self, split, name, suffix=".jpg"):
        return self.root / "images" / split / f"{name}{suffix}"

    def label_map(self, split, name):
        return self.root / "annotations" / split / f"{name}.png"

    def classes(self, *names):
        (self.root / "classes.txt").write_text("".join(f"{name}\n" for name in names))
        return self


def quarters(width, height):
    """A label map with 0 at the top left, 1 at the top right, 2 and 3 below."""
    labels = np.zeros((height, width), np.uint8)
    labels[: height // 2, width // 2 :] = 1
    labels[height // 2 :, : width // 2] = 2
    labels[height // 2 :, width // 2 :] = 3
    return labels


def tiny_ade20k(root: Path) -> AdeTree:
    """Write four training and two validation pairs of several sizes with three classes."""
    tree = AdeTree(root).classes("sky", "tree", "road")
    sizes = [(96, 64), (64, 96), (80, 80), (96, 72), (64, 64), (90, 70)]
    for number, size in enumerate(sizes):
        tree.add("training" if number < 4 else "validation", f"{number:03d}", quarters(*size))
    return tree
