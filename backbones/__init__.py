"""Backbones: networks, their names and declared features, and their pretrained checkpoints."""

from backbones.backbone import Backbone, Feature, OutputStrideError
from backbones.checkpoint.format import (
    CheckpointError,
    CheckpointMetadata,
    forget_checkpoints,
    hold_checkpoints,
)
from backbones.checkpoint.load import (
    export_checkpoint,
    load_checkpoint,
    load_classifier,
    load_head,
    read_metadata,
    verify_checkpoint,
)
from backbones.complexity import count_parameters, multiply_adds, multiply_adds_of
from backbones.initialisation import initialise, zero_gamma
from backbones.pyramid import SimpleFeaturePyramid, dense_features
from backbones.zoo import create, names
from contract.result import LoadReport

__all__ = [
    "Backbone",
    "CheckpointError",
    "CheckpointMetadata",
    "Feature",
    "LoadReport",
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
