"""Miniworld: a generated, seeded world in the layouts of ImageNet, Pascal VOC and ADE20K.

It needs no download and is generated in seconds; machines of one kind generate identical files. It is used with the
same loaders and metrics as real datasets.
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
