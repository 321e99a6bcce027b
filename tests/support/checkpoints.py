"""A pretrained checkpoint of a small backbone."""

import torch
from torch import nn

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


def write_classifier(path, metadata, classes, seed):
    """Write a checkpoint of random weights and batch statistics.

    Args:
        path: The file.
        metadata: Its metadata, which name the spec.
        classes: Number of classes of the head; 0 for no head.
        seed: Of the random numbers.

    Returns:
        The network in evaluation mode and the head, None without one.
    """
    torch.manual_seed(seed)
    network = backbones.create(metadata.spec)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    head = nn.Linear(network.feature_info[-1].channels, classes) if classes else None
    backbones.export_checkpoint(network, path, metadata, head=head)
    return network.eval(), head
