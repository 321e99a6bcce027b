"""Surface patterns of miniworld's objects and backgrounds.

A texture is a function of pixel coordinates `(x, y)` (float32 arrays of equal shape `(H, W)`, already rotated and
shifted) and of its wavelength in pixels. It returns the fraction of the second colour, float32 in `[0, 1]`. Edges are
one pixel soft, so small patterns do not alias.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.floating]
Texture = Callable[[Field, Field, float], Field]


def _soft_step(distance_px: Field) -> Field:
    """Return a step from 0 to 1 that is one pixel wide around distance zero."""
    return np.clip(distance_px + np.float32(0.5), 0.0, 1.0)


def _wave(x: Field, wavelength_px: float) -> Field:
    """Return a sine whose slope at its zeros is one: near them it is a distance in pixels."""
    turn = np.float32(2.0 * math.pi / wavelength_px)
    return np.sin(x * turn) / turn


def _cell_offset(x: Field, pitch_px: float) -> Field:
    """Return the signed distance in pixels to the centre of the period that `x` is in."""
    pitch = np.float32(pitch_px)
    return x - pitch * np.round(x / pitch)


def stripes(x: Field, y: Field, wavelength_px: float) -> Field:
    """Straight parallel stripes."""
    del y
    return _soft_step(_wave(x, wavelength_px))


def checker(x: Field, y: Field, wavelength_px: float) -> Field:
    """A chessboard; two fields make a wavelength."""
    turn = np.float32(2.0 * math.pi / wavelength_px)
    return _soft_step(np.sin(x * turn) * np.sin(y * turn) / turn)


def dots(x: Field, y: Field, wavelength_px: float) -> Field:
    """Round dots on a square grid."""
    distance = np.hypot(_cell_offset(x, wavelength_px), _cell_offset(y, wavelength_px))
    return _soft_step(np.float32(0.33 * wavelength_px) - distance)


def rings(x: Field, y: Field, wavelength_px: float) -> Field:
    """Circles around the origin."""
    return _soft_step(_wave(np.hypot(x, y), wavelength_px))


def zigzag(x: Field, y: Field, wavelength_px: float) -> Field:
    """Zigzag stripes."""
    fold = np.abs(_cell_offset(y, 1.6 * wavelength_px))
    return _soft_step(_wave(x + fold, wavelength_px))


def lattice(x: Field, y: Field, wavelength_px: float) -> Field:
    """Thin crossing lines."""
    half_line = np.float32(0.15 * wavelength_px)
    nearest = np.minimum(
        np.abs(_cell_offset(x, wavelength_px)), np.abs(_cell_offset(y, wavelength_px))
    )
    return _soft_step(half_line - nearest)


def wedges(x: Field, y: Field, wavelength_px: float) -> Field:
    """Rays from the origin; a longer wavelength means fewer of them."""
    radius = np.hypot(x, y)
    rays = np.float32(max(3.0, round(40.0 / max(wavelength_px, 4.0))))
    return _soft_step(np.sin(np.arctan2(y, x) * rays) * radius / rays)


def scales(x: Field, y: Field, wavelength_px: float) -> Field:
    """Half circles in rows, each row shifted by half a wavelength."""
    pitch = np.float32(wavelength_px)
    row = np.floor(y / pitch)
    shifted = _cell_offset(x + pitch * np.float32(0.5) * (row % 2), wavelength_px)
    distance = np.hypot(shifted, y - row * pitch)
    return _soft_step(np.float32(0.12 * wavelength_px) - np.abs(distance - pitch * 0.45))


def bands(x: Field, y: Field, wavelength_px: float) -> Field:
    """Broad soft bands with an uneven edge."""
    drift = _wave(y, 4.7 * wavelength_px) * np.float32(0.2)
    wave = _wave(x + drift, 1.3 * wavelength_px)
    return np.clip(np.float32(0.5) + wave / np.float32(0.4 * wavelength_px), 0.0, 1.0)


def brick(x: Field, y: Field, wavelength_px: float) -> Field:
    """Courses of bricks with thin joints, each course shifted by half a brick."""
    height = np.float32(0.6 * wavelength_px)
    course = np.round(y / height)
    shift = np.float32(0.6 * wavelength_px) * (course % 2)
    to_side = np.float32(0.6 * wavelength_px) - np.abs(_cell_offset(x + shift, 1.2 * wavelength_px))
    to_course = height * np.float32(0.5) - np.abs(y - course * height)
    return _soft_step(np.minimum(to_side, to_course) - np.float32(0.07 * wavelength_px + 0.3))


def waves(x: Field, y: Field, wavelength_px: float) -> Field:
    """Rippled thin lines, as on water."""
    ripple = _wave(x, 1.9 * wavelength_px) * np.float32(1.1)
    return _soft_step(_wave(y + ripple, 0.7 * wavelength_px) - np.float32(0.02 * wavelength_px))


def speckle(x: Field, y: Field, wavelength_px: float) -> Field:
    """Small dots on a hexagonal grid."""
    row_height = np.float32(0.5 * wavelength_px)
    row = np.round(y / row_height)
    shifted = _cell_offset(x + np.float32(0.29 * wavelength_px) * (row % 2), 0.58 * wavelength_px)
    distance = np.hypot(shifted, y - row * row_height)
    return _soft_step(np.float32(0.12 * wavelength_px + 0.3) - distance)


def weave(x: Field, y: Field, wavelength_px: float) -> Field:
    """A basket weave: patches of stripes in alternating directions."""
    across = np.sin(x * np.float32(math.pi / wavelength_px)) * np.sin(
        y * np.float32(math.pi / wavelength_px)
    )
    strand = 0.42 * wavelength_px
    return _soft_step(np.where(across > 0, _wave(x, strand), _wave(y, strand)))


def cloud(shape: tuple[int, int], wavelength_px: float, rng: np.random.Generator) -> Field:
    """Return smooth random patches.

    Args:
        shape: Height and width in pixels.
        wavelength_px: Typical size of a patch, in pixels.
        rng: Source of the noise.

    Returns:
        Float32 `(H, W)` in `[0, 1]`.
    """
    # Drawn on a coarse grid and enlarged: filtering at full size would take ten times as long.
    step = max(1.0, wavelength_px / 3.0)
    coarse_shape = tuple(int(side / step) + 4 for side in shape)
    coarse = ndimage.gaussian_filter(rng.standard_normal(coarse_shape, dtype=np.float32), 0.8)
    rows = np.arange(shape[0], dtype=np.float32)[:, None] / np.float32(step) + np.float32(1.0)
    columns = np.arange(shape[1], dtype=np.float32)[None, :] / np.float32(step) + np.float32(1.0)
    grid = np.broadcast_arrays(rows, columns)
    fine = ndimage.map_coordinates(coarse, grid, order=1, mode="nearest")
    return np.clip(np.float32(0.5) + fine * np.float32(1.6), 0.0, 1.0).astype(np.float32)
