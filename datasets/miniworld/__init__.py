"""Miniworld: a generated, seeded world in the layouts of ImageNet, Pascal VOC and ADE20K.

It needs no download and is made in seconds, the same on every machine of a kind. The same loaders
and metrics run on it as on the real sets.
"""

from datasets.miniworld.spec import GENERATOR_VERSION, PRESETS, MiniworldSpec
from datasets.miniworld.world import generate, is_generated, prepare

__all__ = [
    "GENERATOR_VERSION",
    "PRESETS",
    "MiniworldSpec",
    "generate",
    "is_generated",
    "prepare",
]
