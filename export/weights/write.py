"""Write a checkpoint's weights with another library's names, and compare the outputs of the two networks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor, nn

from backbones.backbone import Backbone
from backbones.checkpoint.format import CheckpointContent, CheckpointMetadata, bytes_of, read_file
from backbones.checkpoint.load import HEAD, backbone_tensors, has_head
from backbones.zoo import create
from contract.errors import UserError, listed_names, unknown
from export.weights.counterparts import LIBRARIES, Counterpart, find

# Relative to the largest value of a map, or of the logits.
TOLERANCE = 1e-4
_SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class WeightsReport:
    """The report of a weight export.

    Attributes:
        spec: The backbone of the checkpoint.
        call: A line of Python that builds the network with the other library.
        tensors: Number of tensors in the file.
        head: The classifier's name in the file; empty if there is none.
        errors: The largest difference from our network for each map and the `logits`, relative to the largest value;
            empty if nothing was compared.
        metadata: The checkpoint's metadata.
        notes: Sentences on what is missing from the file.
    """

    spec: str
    call: str
    tensors: int
    head: str
    errors: Mapping[str, float]
    metadata: CheckpointMetadata
    notes: tuple[str, ...]


def export_weights(
    checkpoint: str | os.PathLike[str], library: str, out: str | os.PathLike[str]
) -> WeightsReport:
    """Write the weights of a pretrained checkpoint with another library's names.

    The file is read back. For timm and torchvision, the network is built and loaded from it, and its maps on two
    random images are compared with ours; so are its logits if the file contains the classifier.

    Args:
        checkpoint: A pretrained checkpoint, with or without its classifier.
        library: One of `LIBRARIES`.
        out: The file to write, `.safetensors`, `.pth` or `.pt`.

    Raises:
        UserError: The library has no such network, or its outputs differ; nothing is written.
        CheckpointError: The checkpoint is damaged.
    """
    out = Path(out)
    if library not in LIBRARIES:
        raise unknown("library", library, LIBRARIES)
    if out.suffix not in _SUFFIXES:
        raise UserError(f"--out {out} has another suffix than {', '.join(_SUFFIXES)}; give one")
    if not out.parent.is_dir():
        raise UserError(f"the folder {out.parent} of --out does not exist; make it")
    content = read_file(Path(checkpoint))
    counterpart = find(content.metadata.spec, library)
    temporary = out.with_name(f".{out.stem}.{os.getpid()}{out.suffix}")
    try:
        if library in _BUILDERS:
            report = _compared(content, counterpart, temporary)
        else:
            report = _named(content, counterpart, temporary)
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return report


def _named(content: CheckpointContent, counterpart: Counterpart, path: Path) -> WeightsReport:
    """Write with names that are only known from source code."""
    head = _head(content, counterpart.head or "")
    tensors = _renamed(content, counterpart) | head
    _write(path, tensors, content, counterpart.call())
    return WeightsReport(
        content.metadata.spec,
        counterpart.call(),
        len(tensors),
        (counterpart.head or "") if head else "",
        {},
        content.metadata,
        _without_head(content, head),
    )


def _compared(content: CheckpointContent, counterpart: Counterpart, path: Path) -> WeightsReport:
    """Write the file, load the library's network from it, and compare the two networks."""
    spec = content.metadata.spec
    network = create(spec).eval()
    network.load_state_dict(backbone_tensors(content), strict=True)
    options = {"num_classes": len(content.tensors[HEAD[1]])} if has_head(content) else {}
    if counterpart.library == "timm":
        options = options or {"num_classes": 0}
    call = counterpart.call(**options)
    model = _BUILDERS[counterpart.library](counterpart, options).eval()
    name = _head_name(model) if counterpart.head is None else counterpart.head
    tensors = _renamed(content, counterpart)
    head = _head(content, name)
    rest = _rest(model, network, tensors, name, call)
    notes = [*_without_head(content, head)]
    if rest:
        notes.append(
            f"{len(rest)} tensors that {counterpart.model} has after its last map are missing from the file "
            f"({listed_names(rest)}), and its classifier with them: load it with strict=False"
        )
        head = {}
    images = torch.rand(2, 3, network.input_size, network.input_size)
    _load(model, _write(path, tensors | head, content, call))
    errors = _differences(network, model, images)
    # Compared one by one, because `max` may ignore a NaN.
    if not all(error <= TOLERANCE for error in errors.values()):
        raise UserError(
            f"{call} of the installed {counterpart.library} computes other maps than {spec} with the same weights "
            f"({_listed(errors)}, of the largest value; at most {TOLERANCE:g} is allowed); nothing is written"
        )
    if head:
        logits = _logits_error(network, model, images, content)
        if logits <= TOLERANCE:
            errors["logits"] = logits
        else:
            head = {}
            _write(path, tensors, content, call)
            notes.append(
                f"the classifier is left out: {counterpart.model} does not put it on the mean of its last map (its "
                f"logits would differ by {logits:.2g}); load the file with strict=False"
            )
    return WeightsReport(
        spec,
        call,
        len(tensors | head),
        name if head else "",
        errors,
        content.metadata,
        tuple(notes),
    )


def _build_timm(counterpart: Counterpart, options: Mapping[str, Any]) -> nn.Module:
    return timm.create_model(
        counterpart.model, pretrained=False, **{**counterpart.options, **options}
    )


def _build_torchvision(counterpart: Counterpart, options: Mapping[str, Any]) -> nn.Module:
    return torchvision.models.get_model(
        counterpart.model, weights=None, **{**counterpart.options, **options}
    )


_BUILDERS = {"timm": _build_timm, "torchvision": _build_torchvision}


def _head_name(model: nn.Module) -> str:
    """Return the name of the classifier's linear layer; empty if there is none.

    It is timm's own entry, or else the last linear layer.
    """
    named = getattr(model, "pretrained_cfg", {}).get("classifier")
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if named is not None:
        return named if named in linear else ""
    return linear[-1] if linear else ""


def _head(content: CheckpointContent, name: str) -> dict[str, Tensor]:
    """Return the classifier with the library's name; empty if the checkpoint or the network has none."""
    if not name or not has_head(content):
        return {}
    weight, bias = (content.tensors[key] for key in HEAD)
    return {f"{name}.weight": weight, f"{name}.bias": bias}


def _without_head(content: CheckpointContent, head: Mapping[str, Tensor]) -> tuple[str, ...]:
    if head:
        return ()
    if has_head(content):
        return ("the classifier is left out: that network has none",)
    return (
        "the checkpoint holds no classifier, and neither does the file: load it into a network without one, or with "
        "strict=False",
    )


def _renamed(content: CheckpointContent, counterpart: Counterpart) -> dict[str, Tensor]:
    return {counterpart.rename(name): tensor for name, tensor in backbone_tensors(content).items()}


def _rest(
    model: nn.Module, network: Backbone, tensors: Mapping[str, Tensor], name: str, call: str
) -> list[str]:
    """Return the names of tensors of the library's network after the last map.

    Raises:
        UserError: The network has other differences.
    """
    state = model.state_dict()
    head = {f"{name}.weight", f"{name}.bias"} if name else set()
    beyond = [key for key in state if key not in tensors and key not in head]
    # Libraries register modules in the order of computation.
    last = f"{network.feature_info[-1].name}."
    order = {key: index for index, key in enumerate(state)}
    end = max((index for key, index in order.items() if key.startswith(last)), default=len(order))
    missing = [key for key in beyond if order[key] < end]
    unexpected = [key for key in tensors if key not in state]
    misfits = [key for key in tensors if key in state and tensors[key].shape != state[key].shape]
    if missing or unexpected or misfits:
        raise UserError(
            f"the weights do not fit {call} as it is installed (missing: {listed_names(missing) or 'none'}; "
            f"left over: {listed_names(unexpected) or 'none'}; of another shape: "
            f"{listed_names(misfits) or 'none'}); nothing is written"
        )
    return beyond


def _load(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load strictly, except for tensors after the last map."""
    model.load_state_dict(tensors, strict=set(tensors) == set(model.state_dict()))


@torch.no_grad()
def _differences(network: Backbone, model: nn.Module, images: Tensor) -> dict[str, float]:
    """Return the largest difference between the two networks for each map, relative to the map's largest value.

    The other network's maps are the outputs of its modules of the same names.
    """
    modules = dict(model.named_modules())
    for feature in network.feature_info:
        if feature.name not in modules:
            raise UserError(
                f"the other program's network has no module {feature.name}, and its map cannot be compared; nothing is "
                "written"
            )
    seen: dict[str, Tensor] = {}
    hooks = [
        modules[feature.name].register_forward_hook(
            lambda _module, _inputs, output, name=feature.name: seen.update({name: output})
        )
        for feature in network.feature_info
    ]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        feature.name: _error(ours, seen[feature.name])
        for feature, ours in zip(network.feature_info, network(images), strict=True)
    }


@torch.no_grad()
def _logits_error(
    network: Backbone, model: nn.Module, images: Tensor, content: CheckpointContent
) -> float:
    weight, bias = (content.tensors[key] for key in HEAD)
    ours = nn.functional.linear(network(images)[-1].mean(dim=(2, 3)), weight, bias)
    return _error(ours, model(images))


def _error(ours: Tensor, theirs: Tensor) -> float:
    if theirs.ndim == 4 and theirs.shape != ours.shape:
        theirs = theirs.permute(0, 3, 1, 2)  # some networks keep the channels last
    if theirs.shape != ours.shape:
        return float("inf")
    return float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1e-12))


def _listed(errors: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {error:.2g}" for name, error in errors.items())


def _write(
    path: Path, tensors: Mapping[str, Tensor], content: CheckpointContent, call: str
) -> dict[str, Tensor]:
    """Write the file and return its content.

    Raises:
        UserError: The content of the file is wrong.
    """
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    metadata = content.metadata
    source = {
        "source": "TrickBench",
        "spec": metadata.spec,
        "handoff_sha256": content.sha256,
        "call": call,
        "mean": json.dumps(metadata.mean),
        "std": json.dumps(metadata.std),
        "channel_order": metadata.channel_order,
    }
    if path.suffix == ".safetensors":
        # Loaders of transformers and timm require the format.
        safetensors.torch.save_file(plain, path, {"format": "pt", **source})
        back = safetensors.torch.load_file(path)
    else:
        named_by_openmmlab = call.startswith(("mmpretrain", "mmdet"))
        torch.save({"state_dict": plain, "meta": source} if named_by_openmmlab else plain, path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        back = loaded["state_dict"] if named_by_openmmlab else loaded
    damaged = [
        name
        for name in plain
        if name not in back or not torch.equal(bytes_of(plain[name]), bytes_of(back[name]))
    ]
    if damaged or len(back) != len(plain):
        raise UserError(f"{path} does not hold what was written ({listed_names(damaged)})")
    return back
