"""Draw a scene of miniworld: textured ground, objects, clutter, light, noise.

Arrays are `(H, W)` or `(H, W, 3)`; colours are RGB, float32 in `[0, 1]` until the last step. A scene depends only on
the random generator that is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datasets.miniworld import shapes, textures
from datasets.miniworld.appearance import (
    OUTLINES,
    STUFF_TEXTURES,
    SURFACES,
    Appearance,
    StuffAppearance,
)

Field = NDArray[np.floating]
Colour = NDArray[np.floating]

CLUTTER = -1
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Pose:
    """Position, size and orientation of an object.

    Attributes:
        centre: `(x, y)` in pixels; may be outside the image.
        radius_px: Radius of the circumscribed circle before aspect and shear.
        angle: Rotation in radians.
        aspect: Width divided by height.
        shear: Horizontal shift per unit of height.
    """

    centre: tuple[float, float]
    radius_px: float
    angle: float
    aspect: float = 1.0
    shear: float = 0.0

    def matrix(self) -> NDArray[np.float64]:
        """Return the `(2, 2)` matrix from the unit frame to pixels."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        rotation = np.array([[cosine, -sine], [sine, cosine]])
        stretch = math.sqrt(self.aspect)
        form = np.array([[1.0, self.shear], [0.0, 1.0]]) @ np.diag([stretch, 1.0 / stretch])
        return self.radius_px * rotation @ form


@dataclass
class Instance:
    """One drawn object.

    Attributes:
        class_index: Object class, counted from 0.
        full_pixels: Pixels that the object would cover on an unbounded canvas.
        frame_pixels: How many of them are inside the image, hidden ones included.
    """

    class_index: int
    full_pixels: int
    frame_pixels: int


class Canvas:
    """An unfinished image with the owner of every pixel.

    Attributes:
        image: Float32 `(H, W, 3)`.
        stuff: Int16 `(H, W)`: background class counted from 0.
        owner: Int16 `(H, W)`: 0 is background, `i + 1` is `instances[i]`, `CLUTTER` is clutter.
        instances: The objects in the order in which they were drawn.
    """

    def __init__(self, width: int, height: int) -> None:
        self.image = np.zeros((height, width, 3), dtype=np.float32)
        self.stuff = np.zeros((height, width), dtype=np.int16)
        self.owner = np.zeros((height, width), dtype=np.int16)
        self.instances: list[Instance] = []

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.owner.shape
        return width, height


def colour_pair(
    rng: np.random.Generator, contrast: tuple[float, float], vividness: float = 0.22
) -> tuple[Colour, Colour]:
    """Draw two colours whose brightness differs by an amount within `contrast`.

    `vividness` is the spread of the colours around grey. Hue and brightness have the same distribution for all
    classes, so colour carries no information about the class.
    """
    difference = rng.uniform(*contrast)
    low = rng.uniform(0.04, 0.96 - difference)
    levels = (low, low + difference) if rng.random() < 0.5 else (low + difference, low)
    pair = []
    for level in levels:
        tint = rng.normal(0.0, vividness, 3).astype(np.float32)
        tint -= np.dot(tint, _LUMA)
        pair.append(np.clip(np.float32(level) + tint, 0.0, 1.0))
    return pair[0], pair[1]


def _rotated_grid(
    rng: np.random.Generator, width: int, height: int, wavelength_px: float
) -> tuple[Field, Field]:
    """Return pixel coordinates `(H, W)`, rotated and shifted at random."""
    angle = rng.uniform(0.0, 2.0 * math.pi)
    shift_x, shift_y = rng.uniform(0.0, 8.0 * wavelength_px, 2)
    columns = np.arange(width, dtype=np.float32)[None, :]
    rows = np.arange(height, dtype=np.float32)[:, None]
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return (
        columns * cosine + rows * sine + np.float32(shift_x),
        rows * cosine - columns * sine + np.float32(shift_y),
    )


def _regions(rng: np.random.Generator, width: int, height: int, count: int) -> NDArray[np.intp]:
    """Split the image into `count` areas with wavy borders; return the area of each pixel."""
    side = float(min(width, height))
    columns = np.arange(width, dtype=np.float32)[None, :]
    rows = np.arange(height, dtype=np.float32)[:, None]
    for _ in range(2):
        turn = np.float32(2.0 * math.pi / (side * rng.uniform(0.3, 0.8)))
        swing = np.float32(side * rng.uniform(0.015, 0.05))
        phase_x, phase_y = rng.uniform(0.0, 2.0 * math.pi, 2).astype(np.float32)
        columns, rows = (
            columns + swing * np.sin(rows * turn + phase_x),
            rows + swing * np.sin(columns * turn + phase_y),
        )
    centres = rng.uniform(0.05, 0.95, (count, 2)) * (width, height)
    distances = [
        (columns - np.float32(x)) ** 2 + (rows - np.float32(y)) ** 2 for x, y in centres.tolist()
    ]
    return np.argmin(np.stack(distances), axis=0)


def paint_ground(
    canvas: Canvas,
    rng: np.random.Generator,
    kinds: Sequence[tuple[int, StuffAppearance]],
) -> None:
    """Cover the canvas with one region for each of `kinds`, pairs of stuff index and appearance."""
    width, height = canvas.size
    region_of = _regions(rng, width, height, len(kinds))
    # The square root keeps patterns fine on small crops without making them coarse on large ones.
    scale_px = math.sqrt(min(width, height))
    for region, (stuff_index, kind) in enumerate(kinds):
        wavelength = float(scale_px * kind.stretch * rng.uniform(0.75, 1.5))
        # Less vivid than the objects: a small network has to learn these from a few thousand images.
        first, second = colour_pair(rng, (0.06, 0.2), vividness=0.08)
        texture = STUFF_TEXTURES[kind.texture]
        inside = region_of == region
        if texture is None:
            share = textures.cloud((height, width), 1.2 * wavelength, rng)[inside]
        else:
            x, y = _rotated_grid(rng, width, height, wavelength)
            share = texture(x[inside], y[inside], wavelength)
        canvas.image[inside] = first + share[:, None] * (second - first)
        canvas.stuff[inside] = stuff_index


def _window(canvas: Canvas, pose: Pose) -> tuple[slice, slice, Field, Field]:
    """Return the drawn window, unclipped, and its unit-frame coordinates.

    Returns:
        Row and column ranges (they may reach beyond the canvas) and `(u, v)`, each `(h, w)`.
    """
    forward = pose.matrix()
    reach = np.ceil(np.linalg.norm(forward, axis=1) * 1.05 + 2.0)
    x_centre, y_centre = pose.centre
    left, right = math.floor(x_centre - reach[0]), math.ceil(x_centre + reach[0]) + 1
    top, bottom = math.floor(y_centre - reach[1]), math.ceil(y_centre + reach[1]) + 1
    # Inverted by hand: numpy's inverse takes as long as drawing a small object.
    (a, b), (c, d) = forward / (forward[0, 0] * forward[1, 1] - forward[0, 1] * forward[1, 0])
    inverse = np.array([[d, -b], [-c, a]], dtype=np.float32)
    columns = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(x_centre)
    rows = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y_centre)
    u = inverse[0, 0] * columns + inverse[0, 1] * rows
    v = inverse[1, 0] * columns + inverse[1, 1] * rows
    return slice(top, bottom), slice(left, right), u, v


def _stamp(
    canvas: Canvas,
    rng: np.random.Generator,
    pose: Pose,
    outline: Callable[[Field, Field], Field],
    surface: Callable[[Field, Field], Field],
    contrast: tuple[float, float],
    owner: int,
) -> tuple[int, int]:
    """Draw one shape and return its numbers of pixels on an unbounded canvas and inside the image.

    `surface` takes unit-frame coordinates in pixels, that is, multiplied by the radius.
    """
    rows, columns, u, v = _window(canvas, pose)
    distance_px = outline(u, v) * np.float32(pose.radius_px)
    full_pixels = int(np.count_nonzero(distance_px < 0))
    width, height = canvas.size
    top, bottom = max(rows.start, 0), min(rows.stop, height)
    left, right = max(columns.start, 0), min(columns.stop, width)
    if top >= bottom or left >= right:
        return full_pixels, 0
    crop = (
        slice(top - rows.start, bottom - rows.start),
        slice(left - columns.start, right - columns.start),
    )
    target = (slice(top, bottom), slice(left, right))
    distance_px, u, v = distance_px[crop], u[crop], v[crop]
    first, second = colour_pair(rng, contrast)
    radius = np.float32(pose.radius_px)
    share = surface(u * radius, v * radius)
    # Tilted light and a darker rim set the shape off from ground of the same colour.
    tilt_u, tilt_v = rng.uniform(-0.16, 0.16, 2).astype(np.float32)
    rim = np.float32(rng.uniform(0.0, 0.55))
    light = np.float32(1.0) + tilt_u * u + tilt_v * v
    light = light * (np.float32(1.0) - rim * np.clip(distance_px / 2 + np.float32(1.5), 0.0, 1.0))
    colour = (first + share[..., None] * (second - first)) * light[..., None]
    alpha = np.clip(np.float32(0.5) - distance_px, 0.0, 1.0)[..., None]
    patch = canvas.image[target]
    patch += alpha * (colour - patch)
    inside = distance_px < 0
    canvas.owner[target][inside] = owner
    return full_pixels, int(np.count_nonzero(inside))


def paint_appearance(
    canvas: Canvas,
    rng: np.random.Generator,
    appearance: Appearance,
    pose: Pose,
    class_index: int | None,
) -> None:
    """Draw an object of `class_index`, or a distractor without a class if it is None."""
    outline, _ = OUTLINES[appearance.shape]
    texture, _ = SURFACES[appearance.texture]
    wavelength = pose.radius_px * appearance.relative_wavelength * rng.uniform(0.85, 1.2)
    # A pattern has nearly the same position on all objects of a class.
    angle = rng.uniform(-0.3, 0.3)
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    shift = (rng.uniform(-0.15, 0.15, 2) * pose.radius_px).astype(np.float32)

    def surface(x: Field, y: Field) -> Field:
        along = x * cosine + y * sine + shift[0]
        across = y * cosine - x * sine + shift[1]
        return texture(along, across, float(max(wavelength, 3.0)))

    owner = CLUTTER if class_index is None else len(canvas.instances) + 1
    full, frame = _stamp(
        canvas,
        rng,
        pose,
        lambda u, v: outline(u, v, appearance.shape_parameter),
        surface,
        (0.28, 0.6),
        owner,
    )
    if class_index is not None:
        canvas.instances.append(Instance(class_index, full, frame))


def paint_clutter(
    canvas: Canvas, rng: np.random.Generator, centre: tuple[float, float], radius_px: float
) -> None:
    """Draw a line or a lump that belongs to no class."""
    angle = rng.uniform(0.0, 2.0 * math.pi)
    wavelength = float(max(3.0, radius_px * rng.uniform(0.4, 1.2)))
    # Lines are longer than lumps but thin: they cross objects without hiding them.
    if rng.random() < 0.5:
        pose = Pose(centre, 1.8 * radius_px, angle)
        half_width = float(min(0.3, max(1.0, 0.07 * radius_px) / pose.radius_px))
        outline = partial(shapes.capsule, half_width=half_width)
    else:
        pose = Pose(centre, radius_px, angle, aspect=float(rng.uniform(0.7, 1.4)))
        outline = partial(shapes.blob, phase=float(rng.uniform(0.0, 2.0 * math.pi)))
    _stamp(
        canvas,
        rng,
        pose,
        outline,
        lambda x, y: textures.bands(x, y, wavelength),
        (0.0, 0.15),
        CLUTTER,
    )


def develop(canvas: Canvas, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Apply light, blur and sensor noise; return the finished uint8 image `(H, W, 3)`."""
    width, height = canvas.size
    angle, strength = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.0, 0.6)
    columns = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    rows = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    slope = columns * np.float32(math.cos(angle)) + rows * np.float32(math.sin(angle))
    exposure = np.float32(rng.uniform(0.75, 1.15))
    image = canvas.image * (exposure * (np.float32(1.0) + np.float32(strength) * slope))[..., None]
    if rng.random() < 0.5:
        sigma_px = rng.uniform(0.3, 0.9)
        image = ndimage.gaussian_filter(image, (sigma_px, sigma_px, 0.0), truncate=2.5)
    noise_level = np.float32(rng.uniform(0.01, 0.06))
    image = image + noise_level * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(image * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
