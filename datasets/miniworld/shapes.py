"""Outlines of miniworld's objects, as signed distances in a unit frame.

A shape is a function of local coordinates `(u, v)`, float32 arrays of equal shape `(H, W)`; the object's
circumscribed circle has radius one. It returns the (approximate) signed distance to the outline in the same unit:
negative inside, positive outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]
Outline = Callable[[Field, Field, float], Field]


def _folded_angle(u: Field, v: Field, sectors: float) -> Field:
    """Return the angle to the nearest of `sectors` spokes, in `[0, pi / sectors]` radians."""
    period = np.float32(2.0 * math.pi / sectors)
    angle = np.arctan2(v, u)
    return np.abs(angle - period * np.round(angle / period))


def ellipse(u: Field, v: Field, power: float) -> Field:
    """A superellipse: `power` two is a disc, more is boxier."""
    if power == 2.0:
        return np.hypot(u, v) - np.float32(1.0)
    exponent = np.float32(power)
    radius = (np.abs(u) ** exponent + np.abs(v) ** exponent) ** np.float32(1.0 / power)
    return radius - np.float32(1.0)


def polygon(u: Field, v: Field, corners: float) -> Field:
    """A regular polygon with `corners` corners on the unit circle."""
    # A corner is a spoke, so the edge's normal lies half a sector away from it.
    angle = np.float32(math.pi / corners) - _folded_angle(u, v, corners)
    return np.hypot(u, v) * np.cos(angle) - np.float32(math.cos(math.pi / corners))


def star(u: Field, v: Field, points: float) -> Field:
    """A star with `points` tips on the unit circle."""
    inner_radius = 0.45
    angle = _folded_angle(u, v, points)
    radius = np.hypot(u, v)
    half_sector = math.pi / points
    notch_x, notch_y = inner_radius * math.cos(half_sector), inner_radius * math.sin(half_sector)
    edge_x, edge_y = notch_x - 1.0, notch_y
    length = math.hypot(edge_x, edge_y)
    offset_x = radius * np.cos(angle) - np.float32(1.0)
    offset_y = radius * np.sin(angle)
    return (np.float32(edge_y / length) * offset_x) - (np.float32(edge_x / length) * offset_y)


def cross(u: Field, v: Field, half_width: float) -> Field:
    """A plus sign whose arms are `2 * half_width` wide and fit the unit circle."""
    reach = np.float32(math.sqrt(1.0 - half_width**2))
    width = np.float32(half_width)
    across, along = np.abs(u), np.abs(v)
    return np.minimum(
        np.maximum(across - reach, along - width), np.maximum(along - reach, across - width)
    )


def ring(u: Field, v: Field, inner_radius: float) -> Field:
    """A ring of outer radius one with a transparent hole."""
    middle, half_width = (1.0 + inner_radius) / 2.0, (1.0 - inner_radius) / 2.0
    return np.abs(np.hypot(u, v) - np.float32(middle)) - np.float32(half_width)


def flower(u: Field, v: Field, petals: float) -> Field:
    """A disc with `petals` round lobes."""
    lobes = np.cos(np.float32(petals) * np.arctan2(v, u))
    return np.hypot(u, v) - np.float32(0.77) - np.float32(0.23) * lobes


def crescent(u: Field, v: Field, shift: float) -> Field:
    """A disc minus a disc of the same size that is moved by `shift`."""
    bite = np.float32(0.8) - np.hypot(u - np.float32(shift), v)
    return np.maximum(np.hypot(u, v) - np.float32(1.0), bite)


def capsule(u: Field, v: Field, half_width: float) -> Field:
    """A bar along `u` with round ends, `2 * half_width` wide."""
    reach = np.float32(1.0 - half_width)
    beyond = np.maximum(np.abs(u) - reach, np.float32(0.0))
    return np.hypot(beyond, v) - np.float32(half_width)


def blob(u: Field, v: Field, phase: float) -> Field:
    """A lump without symmetry; `phase`, in radians, selects its form."""
    angle = np.arctan2(v, u)
    bumps = np.sin(2.0 * angle + phase) + np.sin(3.0 * angle + 2.3 * phase)
    return np.hypot(u, v) - np.float32(0.7) - np.float32(0.14) * bumps.astype(np.float32)
