"""Pretrained checkpoints: write a backbone, load it strictly, and verify the loaded weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from backbones.backbone import Backbone
from backbones.checkpoint.fingerprint import difference, fingerprint
from backbones.checkpoint.format import (
    CheckpointContent,
    CheckpointError,
    CheckpointMetadata,
    bytes_of,
    form,
    read_file,
    write_file,
)
from backbones.zoo import create
from contract.errors import listed_names
from contract.result import LoadReport

# The classifier's linear layer, named as in torchvision; a file may contain it in addition to the backbone.
HEAD = ("fc.weight", "fc.bias")
# Relative to the largest value of a map: the accumulated rounding error of another order of operations.
FEATURE_TOLERANCE = 1e-4


def export_checkpoint(
    module: nn.Module,
    path: str | os.PathLike[str],
    metadata: CheckpointMetadata,
    *,
    head: nn.Linear | None = None,
) -> str:
    """Write every parameter and buffer of a backbone to a file, atomically, with its feature fingerprint.

    Args:
        module: The backbone, on any device.
        path: The file, usually `*.safetensors`; an existing one is replaced.
        metadata: The origin of the weights.
        head: The linear layer on the backbone's pooled last features. A file with it can be the teacher of another
            classifier. Detectors and segmentors ignore it.

    Returns:
        The sha256 of the file, in hexadecimal. Equal weights and metadata give equal files.

    Raises:
        OSError: The file cannot be written, for example because the disk is full. An existing file stays as it was.
    """
    tensors = dict(module.state_dict())
    if isinstance(module, Backbone):
        metadata = replace(metadata, features=fingerprint(module, metadata.spec))
    if head is not None:
        tensors |= zip(HEAD, (head.weight, head.bias), strict=True)
    return write_file(Path(path), tensors, metadata)


def load_classifier(
    path: str | os.PathLike[str],
) -> tuple[Backbone, nn.Linear, CheckpointMetadata]:
    """Build the classifier of a checkpoint.

    Args:
        path: The checkpoint.

    Returns:
        The backbone and the linear layer on its last features, averaged over their locations, both on the CPU in
        training mode; and the file's metadata.

    Raises:
        CheckpointError: The file is missing, damaged or not a checkpoint of this package, or has no linear layer.
    """
    path = Path(path)
    content = read_file(path)
    if not has_head(content):
        raise CheckpointError(
            f"the checkpoint {path} ({content.metadata.spec}) holds a backbone without its "
            "classifier; pass the backbone.safetensors of a classification run"
        )
    network = create(content.metadata.spec)
    _require_fit(path, content, network.state_dict(), spec=None)
    network.load_state_dict(backbone_tensors(content), strict=True)
    return network, _head(content), content.metadata


def load_head(path: str | os.PathLike[str]) -> nn.Linear | None:
    """Build the linear layer of a checkpoint's classifier, without its backbone.

    Args:
        path: The checkpoint.

    Returns:
        The layer on the backbone's last features, averaged over their locations, on the CPU; None if the file
        contains only a backbone.

    Raises:
        CheckpointError: The file is missing, damaged or not a checkpoint of this package.
    """
    content = read_file(Path(path))
    return _head(content) if has_head(content) else None


def _head(content: CheckpointContent) -> nn.Linear:
    weight, bias = (content.tensors[name] for name in HEAD)
    head = nn.Linear(weight.shape[1], weight.shape[0])
    head.load_state_dict({"weight": weight, "bias": bias})
    return head


def has_head(content: CheckpointContent) -> bool:
    """Return whether a file contains weight and bias of the classifier's linear layer."""
    return all(name in content.tensors for name in HEAD)


def backbone_tensors(content: CheckpointContent) -> dict[str, Tensor]:
    """Return all tensors except the head's; an incomplete head counts as left-over tensors."""
    head = HEAD if has_head(content) else ()
    return {name: tensor for name, tensor in content.tensors.items() if name not in head}


def read_metadata(path: str | os.PathLike[str]) -> CheckpointMetadata:
    """Read the metadata of a checkpoint.

    Args:
        path: The checkpoint; the whole file is read and checked for damage.

    Returns:
        Its metadata.

    Raises:
        CheckpointError: The file is missing, damaged, or not a checkpoint of this package.
    """
    return read_file(Path(path)).metadata


def load_checkpoint(
    module: nn.Module, path: str | os.PathLike[str], *, spec: str | None = None
) -> LoadReport:
    """Load a checkpoint into a backbone strictly: all of its tensors, or none.

    Args:
        module: The backbone, changed in place; it is unchanged after an error. Its output stride may differ from that
            of the trained network.
        path: The checkpoint.
        spec: The requested spec. The checkpoint must have the same spec, because different networks may have tensors
            of equal names and shapes. None compares only the tensors.

    Returns:
        The load report; `matched` equals `total`.

    Raises:
        CheckpointError: The file is missing, damaged or not a checkpoint of this package; it has another spec; or a
            tensor is missing, left over, or of another shape or type.
    """
    path = Path(path)
    content = read_file(path)
    state = module.state_dict()
    _require_fit(path, content, state, spec)
    tensors = backbone_tensors(content)
    module.load_state_dict(tensors, strict=True)
    return LoadReport(sha256=content.sha256, matched=len(tensors), total=len(state))


def verify_checkpoint(module: Backbone, path: str | os.PathLike[str]) -> LoadReport:
    """Verify that a backbone has exactly the weights of a checkpoint and computes the same features.

    Args:
        module: The backbone, on any device, in the completely built model.
        path: The checkpoint that was loaded.

    Returns:
        The load report; `matched` equals `total`.

    Raises:
        CheckpointError: See `load_checkpoint`; or a value differs, or a feature differs by more than
            `FEATURE_TOLERANCE` times the largest value of its map.
    """
    path = Path(path)
    content = read_file(path)
    state = module.state_dict()
    _require_fit(path, content, state, spec=None)
    differing = [
        name
        for name, tensor in state.items()
        if not torch.equal(bytes_of(tensor), bytes_of(content.tensors[name]))
    ]
    if differing:
        raise CheckpointError(
            f"{len(differing)} of {len(state)} tensors of the built backbone differ from {path}: "
            f"{listed_names(differing)}; something overwrote them after they were loaded, such as "
            "`pretrained` or `init_cfg` in a config: remove it"
        )
    error = _feature_error(path, module, content.metadata)
    return LoadReport(
        sha256=content.sha256, matched=len(state), total=len(state), feature_error=error
    )


def _feature_error(path: Path, module: Backbone, metadata: CheckpointMetadata) -> float | None:
    """Return the difference between the feature fingerprints of the network and the file."""
    if not metadata.features:
        return None
    error = difference(fingerprint(module, metadata.spec), metadata.features)
    if not error <= FEATURE_TOLERANCE:
        raise CheckpointError(
            f"{metadata.spec} has the weights of {path}, but computes other features with them: on a fixed image they "
            f"differ by {error:.2g} of the largest (rounding explains at most {FEATURE_TOLERANCE:g}); the library or "
            "class that it comes from has another version than the one that wrote the file: install that version, or "
            "import again"
        )
    return float(f"{error:.1e}")


def _require_fit(
    path: Path, content: CheckpointContent, state: Mapping[str, Tensor], spec: str | None
) -> None:
    """Raise unless names, shapes and types of the file are exactly those of the module."""
    missing = [name for name in state if name not in content.tensors]
    unexpected = sorted(name for name in backbone_tensors(content) if name not in state)
    misfits = [
        f"{name} (file {form(content.tensors[name])}, backbone {form(tensor)})"
        for name, tensor in state.items()
        if name in content.tensors and form(content.tensors[name]) != form(tensor)
    ]
    problems = [
        f"{len(names)} {kind}: {listed_names(names)}"
        for kind, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape or type", misfits),
        )
        if names
    ]
    held = content.metadata.spec
    if spec is not None and spec != held:
        # Refused even if all tensors fit: `resnet50` and `resnet50_b` differ only in strides.
        found = "; ".join(problems) or "all tensors fit, but the networks may compute differently"
        raise CheckpointError(
            f"the checkpoint {path} holds {held}, the task builds {spec}: pass --backbone {held} "
            f"or the right checkpoint ({found})"
        )
    if problems:
        raise CheckpointError(
            f"the checkpoint {path} ({held}) does not fit the backbone, which has {len(state)} "
            f"tensors: {'; '.join(problems)}; pass a checkpoint of this backbone, "
            f"or --backbone {held}"
        )
