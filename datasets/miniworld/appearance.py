"""The appearance of a class, as a pure function of its index.

The first ten object classes are pairs of five shapes and four textures. Each shape and each texture belongs to at
least two classes, so a network has to see both to decide the class. Further classes use further shapes and textures,
with parameters from a hash of the index; sets of 20, 150 or 1000 classes can be drawn too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from datasets.miniworld import shapes, textures

OUTLINES: dict[str, tuple[shapes.Outline, float]] = {
    "ellipse": (shapes.ellipse, 2.0),
    "triangle": (shapes.polygon, 3.0),
    "square": (shapes.polygon, 4.0),
    "star": (shapes.star, 5.0),
    "cross": (shapes.cross, 0.33),
    "ring": (shapes.ring, 0.4),
    "flower": (shapes.flower, 6.0),
    "crescent": (shapes.crescent, 0.6),
}
BASE_SHAPES = ("ellipse", "triangle", "square", "star", "cross")
EXTRA_SHAPES = ("ring", "flower", "crescent")

# Texture and its wavelength relative to the object's radius.
SURFACES: dict[str, tuple[textures.Texture, float]] = {
    "striped": (textures.stripes, 0.5),
    "checked": (textures.checker, 0.8),
    "dotted": (textures.dots, 0.5),
    "ringed": (textures.rings, 0.5),
    "zigzag": (textures.zigzag, 0.5),
    "latticed": (textures.lattice, 0.5),
    "wedged": (textures.wedges, 0.5),
    "scaled": (textures.scales, 0.55),
}
BASE_TEXTURES = ("striped", "checked", "dotted", "ringed")
EXTRA_TEXTURES = ("zigzag", "latticed", "wedged", "scaled")
BASE_CLASSES = 2 * len(BASE_SHAPES)

# "cloud" is drawn from noise and has no closed form.
STUFF_TEXTURES: dict[str, textures.Texture | None] = {
    "bands": textures.bands,
    "cloud": None,
    "brick": textures.brick,
    "waves": textures.waves,
    "speckle": textures.speckle,
    "weave": textures.weave,
}

_OBJECT_SALT = 0x0B1EC7
_STUFF_SALT = 0x57CFF


@dataclass(frozen=True)
class Appearance:
    """The properties that all instances of an object class share.

    Attributes:
        shape: Key of `OUTLINES`.
        texture: Key of `SURFACES`.
        shape_parameter: The outline's third argument.
        relative_wavelength: The texture's wavelength divided by the object's radius.
    """

    shape: str
    texture: str
    shape_parameter: float
    relative_wavelength: float

    @property
    def name(self) -> str:
        """Return a descriptive class name, for example `striped_star`."""
        return f"{self.texture}_{self.shape}"


@dataclass(frozen=True)
class StuffAppearance:
    """The properties of a background class.

    Attributes:
        texture: Key of `STUFF_TEXTURES`.
        stretch: Factor on the scene's texture wavelength.
    """

    texture: str
    stretch: float


def base_appearance(shape: str, texture: str) -> Appearance:
    """Return the plain form of a shape with a texture."""
    return Appearance(shape, texture, OUTLINES[shape][1], SURFACES[texture][1])


@cache
def object_appearance(class_index: int) -> Appearance:
    """Return the appearance of object class `class_index` (counted from 0)."""
    if class_index < BASE_CLASSES:
        shape_index = class_index % len(BASE_SHAPES)
        # The second round shifts every shape by two textures: each shape gets two textures, each texture two or three
        # shapes.
        texture_index = shape_index + 2 * (class_index // len(BASE_SHAPES))
        texture = BASE_TEXTURES[texture_index % len(BASE_TEXTURES)]
        return base_appearance(BASE_SHAPES[shape_index], texture)
    rng = np.random.default_rng([_OBJECT_SALT, class_index])
    shape = str(rng.choice(BASE_SHAPES + EXTRA_SHAPES))
    # Base shapes are not combined with base textures here, because those pairs are classes or distractors.
    choices = EXTRA_TEXTURES if shape in BASE_SHAPES else BASE_TEXTURES + EXTRA_TEXTURES
    texture = str(rng.choice(choices))
    outline_parameter = OUTLINES[shape][1]
    if shape in ("star", "flower"):
        outline_parameter = float(rng.integers(4, 9))
    elif shape in ("cross", "ring", "crescent"):
        outline_parameter *= float(rng.uniform(0.75, 1.25))
    wavelength = SURFACES[texture][1] * float(rng.uniform(0.6, 1.5))
    return Appearance(shape, texture, outline_parameter, wavelength)


@cache
def distractor_appearances() -> tuple[Appearance, ...]:
    """Return the pairs of base shape and base texture that belong to no class."""
    taken = {(a.shape, a.texture) for a in map(object_appearance, range(BASE_CLASSES))}
    return tuple(
        base_appearance(shape, texture)
        for shape in BASE_SHAPES
        for texture in BASE_TEXTURES
        if (shape, texture) not in taken
    )


@cache
def stuff_appearance(stuff_index: int) -> StuffAppearance:
    """Return the appearance of background class `stuff_index` (counted from 0)."""
    kinds = tuple(STUFF_TEXTURES)
    if stuff_index < len(kinds):
        return StuffAppearance(kinds[stuff_index], 1.0)
    rng = np.random.default_rng([_STUFF_SALT, stuff_index])
    return StuffAppearance(kinds[stuff_index % len(kinds)], float(rng.uniform(0.5, 2.0)))
