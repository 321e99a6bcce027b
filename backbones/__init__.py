"""The networks, their declared features and names, and the checkpoints that hand them on."""

from backbones.backbone import Backbone, Feature
from backbones.checkpoint import (
    LoadReceipt,
    export_checkpoint,
    load_checkpoint,
    load_classifier,
    load_head,
    read_metadata,
    verify_checkpoint,
)
from backbones.checkpoint_file import (
    CheckpointError,
    CheckpointMetadata,
    forget_checkpoints,
    hold_checkpoints,
)
from backbones.complexity import count_parameters, multiply_adds, multiply_adds_of
from backbones.initialisation import initialise, zero_gamma
from backbones.output_stride import OutputStrideError
from backbones.pyramid import SimpleFeaturePyramid, dense_features
from backbones.zoo import create, names

__all__ = [
    "Backbone",
    "CheckpointError",
    "CheckpointMetadata",
    "Feature",
    "LoadReceipt",
    "OutputStrideError",
    "SimpleFeaturePyramid",
    "count_parameters",
    "create",
    "dense_features",
    "export_checkpoint",
    "forget_checkpoints",
    "hold_checkpoints",
    "initialise",
    "load_checkpoint",
    "load_classifier",
    "load_head",
    "multiply_adds",
    "multiply_adds_of",
    "names",
    "read_metadata",
    "verify_checkpoint",
    "zero_gamma",
]
