"""The smallest data sets that the layouts of detection and segmentation admit."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_detection(root: Path) -> None:
    """Write a VOC tree of two classes, without the images and annotations that its lists name."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("cat\ndog\n")
    # Of the training images, the trick holdout takes the first.
    for split, names in (("trainval", "15\n0\n"), ("test", "0\n")):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text(names)


def write_segmentation(root: Path) -> None:
    """Write an ADE20K tree of three classes, with one image of 8 × 8 pixels a split."""
    for split in ("training", "validation"):
        for part, name in (("images", "0.jpg"), ("annotations", "0.png")):
            folder = root / part / split
            folder.mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / name)
    (root / "classes.txt").write_text("sky\ntree\nroad\n")
