"""Compose the object crops and the busy scenes of miniworld."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets.miniworld.appearance import (
    distractor_appearances,
    object_appearance,
    stuff_appearance,
)
from datasets.miniworld.scene import (
    CLUTTER,
    Canvas,
    Pose,
    develop,
    paint_appearance,
    paint_clutter,
    paint_ground,
)

# An object with fewer visible pixels is not annotated, because it cannot be recognised.
MIN_VISIBLE_PIXELS = 16
# Below this fraction of visible pixels, or this box side relative to the image, an object is `difficult`.
DIFFICULT_VISIBLE_SHARE = 0.4
DIFFICULT_RELATIVE_SIDE = 0.07
# `truncated` from this fraction of pixels beyond the border; smaller fractions may be rounding.
TRUNCATED_SHARE = 0.02
# In radians, in both directions.
MOST_TURN = 0.6


@dataclass(frozen=True)
class Scene:
    """A finished image and its contents.

    Attributes:
        image: Uint8 RGB `(H, W, 3)`.
        canvas: Owner and stuff of every pixel, and the instances.
    """

    image: NDArray[np.uint8]
    canvas: Canvas

    def instance_mask(self, instance: int) -> NDArray[np.bool_]:
        """Return the visible pixels `(H, W)` of `canvas.instances[instance]`."""
        return self.canvas.owner == instance + 1

    def label_map(self, stuff_classes: int) -> NDArray[np.uint8]:
        """Return the uint8 `(H, W)` labels: 0 clutter, then stuff, then objects."""
        labels = self.canvas.stuff + 1
        for index, instance in enumerate(self.canvas.instances):
            labels[self.instance_mask(index)] = stuff_classes + 1 + instance.class_index
        labels[self.canvas.owner == CLUTTER] = 0
        return labels.astype(np.uint8)


@dataclass(frozen=True)
class ObjectBox:
    """An object annotation in VOC's terms.

    Attributes:
        class_index: Object class, counted from 0.
        box: `(xmin, ymin, xmax, ymax)` of the visible pixels, counted from 1, ends included.
        truncated: The object reaches beyond the image border.
        occluded: Another object hides a part of it.
        difficult: Tiny or mostly hidden.
    """

    class_index: int
    box: tuple[int, int, int, int]
    truncated: bool
    occluded: bool
    difficult: bool


def object_boxes(scene: Scene) -> list[ObjectBox]:
    """Return the boxes of the objects that are visible enough, in drawing order."""
    found = []
    width, height = scene.canvas.size
    for index, instance in enumerate(scene.canvas.instances):
        mask = scene.instance_mask(index)
        visible = int(np.count_nonzero(mask))
        if visible < MIN_VISIBLE_PIXELS:
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (int(columns[0]) + 1, int(rows[0]) + 1, int(columns[-1]) + 1, int(rows[-1]) + 1)
        longer_side = max(box[2] - box[0], box[3] - box[1]) + 1
        found.append(
            ObjectBox(
                class_index=instance.class_index,
                box=box,
                truncated=instance.frame_pixels < (1.0 - TRUNCATED_SHARE) * instance.full_pixels,
                occluded=visible < 0.95 * instance.frame_pixels,
                difficult=visible < DIFFICULT_VISIBLE_SHARE * instance.full_pixels
                or longer_side < DIFFICULT_RELATIVE_SIDE * min(width, height),
            )
        )
    return found


def _pose(rng: np.random.Generator, centre: tuple[float, float], radius_px: float) -> Pose:
    """Return a pose with bounded random rotation, aspect and shear, so objects have a top."""
    return Pose(
        centre,
        radius_px,
        angle=float(rng.uniform(-MOST_TURN, MOST_TURN)),
        aspect=float(math.exp(rng.uniform(-0.25, 0.25))),
        shear=float(rng.uniform(-0.15, 0.15)),
    )


def _ground(canvas: Canvas, rng: np.random.Generator, stuff_classes: int, regions: int) -> None:
    """Paint `regions` areas of different stuff."""
    chosen = rng.choice(stuff_classes, size=min(regions, stuff_classes), replace=False)
    paint_ground(canvas, rng, [(int(index), stuff_appearance(int(index))) for index in chosen])


def _random_point(rng: np.random.Generator, size: tuple[int, int]) -> tuple[float, float]:
    width, height = size
    return float(rng.uniform(0.0, width)), float(rng.uniform(0.0, height))


def object_scene(
    rng: np.random.Generator, side_px: int, class_index: int, stuff_classes: int
) -> Scene:
    """Draw a square picture in which one object dominates.

    Args:
        rng: Source of all randomness.
        side_px: Width and height.
        class_index: Object class, counted from 0.
        stuff_classes: Number of background classes to choose from.

    Returns:
        The scene; the diameter of the object's circle is 50 to 95% of the side.
    """
    canvas = Canvas(side_px, side_px)
    _ground(canvas, rng, stuff_classes, int(rng.integers(1, 4)))
    for _ in range(int(rng.integers(0, 3))):
        paint_clutter(canvas, rng, _random_point(rng, canvas.size), side_px * rng.uniform(0.1, 0.2))
    if rng.random() < 0.15:
        kinds = distractor_appearances()
        small = _pose(rng, _random_point(rng, canvas.size), side_px * rng.uniform(0.08, 0.14))
        paint_appearance(canvas, rng, kinds[int(rng.integers(len(kinds)))], small, None)
    radius_px = 0.5 * side_px * float(rng.uniform(0.5, 0.95))
    # Small objects may be far from the centre, large ones stay near it; both may touch the border.
    slack = max(0.06 * side_px, 0.5 * side_px - radius_px)
    offset_x, offset_y = rng.uniform(-0.9 * slack, 0.9 * slack, 2).tolist()
    centre = (0.5 * side_px + offset_x, 0.5 * side_px + offset_y)
    pose = _pose(rng, centre, radius_px)
    paint_appearance(canvas, rng, object_appearance(class_index), pose, class_index)
    for _ in range(int(rng.integers(0, 3))):
        paint_clutter(
            canvas, rng, _random_point(rng, canvas.size), side_px * rng.uniform(0.06, 0.13)
        )
    return Scene(develop(canvas, rng), canvas)


def _open_centre(
    rng: np.random.Generator,
    size: tuple[int, int],
    radius_px: float,
    taken: list[tuple[float, float, float]],
) -> tuple[float, float]:
    """Return a centre that keeps most of the earlier objects visible, if one is found.

    Some objects still overlap or reach beyond the border, on purpose.
    """
    width, height = size
    centre = (0.0, 0.0)
    for _ in range(12):
        centre = (
            float(rng.uniform(0.2 * radius_px, width - 0.2 * radius_px)),
            float(rng.uniform(0.2 * radius_px, height - 0.2 * radius_px)),
        )
        gaps = [math.dist(centre, (x, y)) - 0.7 * (radius_px + radius) for x, y, radius in taken]
        if all(gap > 0 for gap in gaps):
            break
    return centre


def busy_scene(
    rng: np.random.Generator,
    size: tuple[int, int],
    object_classes: int,
    stuff_classes: int,
    objects: tuple[int, int],
) -> Scene:
    """Draw an image of several objects, with clutter between and over them.

    Args:
        rng: Source of all randomness.
        size: Width and height in pixels.
        object_classes: Number of object classes to choose from.
        stuff_classes: Number of background classes to choose from.
        objects: Minimum and maximum number of objects.

    Returns:
        The scene. Objects may be partly or entirely hidden.
    """
    width, height = size
    side_px = float(min(size))
    canvas = Canvas(width, height)
    _ground(canvas, rng, stuff_classes, int(rng.integers(2, 4)))
    count = int(rng.integers(objects[0], objects[1] + 1))
    steps = ["object"] * count + ["clutter"] * int(rng.integers(2, 6))
    if rng.random() < 0.4:
        steps.append("distractor")
    taken: list[tuple[float, float, float]] = []
    for step in rng.permutation(steps).tolist():
        if step == "clutter":
            centre = _random_point(rng, size)
            paint_clutter(canvas, rng, centre, side_px * rng.uniform(0.04, 0.1))
            continue
        # Uniform in the logarithm: small and large objects are equally frequent per octave.
        low, high = (0.08, 0.3) if rng.random() < 0.9 else (0.03, 0.08)
        radius_px = side_px * math.exp(rng.uniform(math.log(low), math.log(high)))
        centre = _open_centre(rng, size, radius_px, taken)
        taken.append((*centre, radius_px))
        pose = _pose(rng, centre, radius_px)
        if step == "distractor":
            kinds = distractor_appearances()
            paint_appearance(canvas, rng, kinds[int(rng.integers(len(kinds)))], pose, None)
        else:
            class_index = int(rng.integers(object_classes))
            paint_appearance(canvas, rng, object_appearance(class_index), pose, class_index)
    return Scene(develop(canvas, rng), canvas)
