"""Plain records of a dataset: images with a class, with boxes, or with a label map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

# Left, top, right and bottom in pixels, counted from 0.
Box = tuple[float, float, float, float]
# Width and height in pixels.
Size = tuple[float, float]


@dataclass(frozen=True)
class ClassSample:
    """An image with a class.

    Attributes:
        image: The image file.
        label: Index of its class.
    """

    image: Path
    label: int


@dataclass(frozen=True)
class LabelMapSample:
    """An image with a class for each pixel.

    Attributes:
        image: The image file.
        label_map: The file with the labels: 0 is no class, 1 is the first class.
    """

    image: Path
    label_map: Path


@dataclass(frozen=True, slots=True)
class Object:
    """An object in an image.

    Attributes:
        name: Its class.
        box: The box as annotated: not yet clipped, perhaps without area or not finite.
        size: Width and height of the box; the difference of its corners can have a rounding error.
        ignored: Whether training and testing ignore it: difficult in VOC, a crowd in COCO.
    """

    name: str
    box: Box
    size: Size
    ignored: bool


@dataclass(frozen=True, slots=True)
class DetectionSample:
    """An image with the boxes of its objects.

    Attributes:
        image: The image file.
        image_id: The dataset's identifier of the image.
        size: Width and height in pixels, upright.
        objects: In the order of the file.
        source: Name for messages about objects: the XML file, or the image in a JSON file.
    """

    image: Path
    image_id: str | int
    size: tuple[int, int]
    objects: tuple[Object, ...]
    source: str


class Content(Protocol):
    """An encoded image."""

    @property
    def path(self) -> Path:
        """Its path, for messages."""
        ...

    def size(self) -> int | None:
        """Return its bytes, or None if it is missing."""
        ...

    def read(self) -> bytes:
        """Return it."""
        ...


@dataclass(frozen=True)
class FileContent:
    """An image in a file of its own.

    Attributes:
        path: The file.
    """

    path: Path

    def size(self) -> int | None:
        """Return its bytes, or None if it is missing."""
        return self.path.stat().st_size if self.path.is_file() else None

    def read(self) -> bytes:
        """Return it."""
        return self.path.read_bytes()


class Part(Protocol):
    """Images in one place that belong to one split."""

    def names(self) -> list[str]:
        """Return the names of the images in order, without folder and suffix; they decide the split."""
        ...

    def images(self) -> list[Path]:
        """Return the image files in the same order."""
        ...


P = TypeVar("P", bound=Part, covariant=True)


@dataclass(frozen=True)
class Splits(Generic[P]):
    """The training images, in one or more parts, and the test images."""

    train: tuple[P, ...]
    test: P

    def train_images(self) -> list[Path]:
        """Return the training images of all parts."""
        return [image for part in self.train for image in part.images()]

    def test_images(self) -> list[Path]:
        """Return the test images."""
        return self.test.images()

    def train_contents(self) -> list[Content]:
        """Return the encoded training images of all parts."""
        return [content for part in self.train for content in _contents(part)]

    def test_contents(self) -> list[Content]:
        """Return the encoded test images."""
        return _contents(self.test)


def _contents(part: Part) -> list[Content]:
    """Return the encoded images of a part; a packed part has them in other places than files."""
    packed = getattr(part, "contents", None)
    return [FileContent(image) for image in part.images()] if packed is None else packed()


def clip(box: Box, size: Size) -> Box | None:
    """Return the part of a box inside an image, or None if the box must be dropped.

    A box without area makes the loss of Faster R-CNN NaN, so the clipped box must be at least one pixel wide and high.
    """
    # NaN compares false with everything.
    if not all(map(math.isfinite, box)):
        return None
    inside = (max(box[0], 0), max(box[1], 0), min(box[2], size[0]), min(box[3], size[1]))
    return None if inside[2] - inside[0] < 1 or inside[3] - inside[1] < 1 else inside


def reaches_out(box: Box, size: Size) -> bool:
    """Return whether a box leaves the image; one pixel at the left or top is accepted: some tools count from 0."""
    return min(box[0], box[1]) < -1 or box[2] > size[0] or box[3] > size[1]


def dropped_because(box: Box, size: Size) -> str:
    """Return why `clip` drops a box, as the end of a sentence."""
    if not all(map(math.isfinite, box)):
        return "is not finite, so it has no area; it is dropped"
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        return "has no area; it is dropped"
    return f"lies outside the {size[0]:g}×{size[1]:g} image; it is dropped"
