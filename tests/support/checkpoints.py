"""A pretrained checkpoint of a small backbone."""

import torch

import backbones
from backbones import CheckpointMetadata

SPEC = "resnet10_d-w8"
# Unlike any default, so that a value from it is recognisable.
METADATA = CheckpointMetadata(
    spec=SPEC,
    recipe="efficient",
    tricks=("cosine",),
    top1=12.5,
    mean=(101.0, 102.0, 103.0),
    std=(51.0, 52.0, 53.0),
    channel_order="BGR",
    seed=5,
    weights="raw",
)


def write_checkpoint(path):
    """Write a checkpoint whose tensors differ from those of any fresh backbone."""
    torch.manual_seed(11)
    network = backbones.create(SPEC)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.01 * torch.rand(tensor.shape))
    backbones.export_checkpoint(network, path, METADATA)
    return path
