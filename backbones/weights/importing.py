"""Convert weights of another library to a pretrained checkpoint.

A file may nest its tensors (`state_dict`, `model`, `teacher` …) and prefix their names (`module.`, `backbone.` …).
The importer searches for the key and the prefix under which every tensor of the backbone has the right shape. If
there are several with different weights, the user has to choose. If there is none, the error shows the nearest one
and what is missing. Only tensors that the user names may stay random, and the checkpoint lists them.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.backbone import Backbone
from backbones.checkpoint.format import CheckpointError, CheckpointMetadata
from backbones.checkpoint.load import export_checkpoint
from backbones.normalisation import NORMALISATIONS, Normalisation
from backbones.weights.files import places, read_weights
from backbones.weights.name_map import Expected, Match, by_name, by_order, choose, prefixes
from backbones.weights.plausibility import (
    LEAST_CORRELATION,
    correlations,
    input_scale_ratios,
    normalisation_warning,
)
from backbones.weights.published import published_weights
from backbones.zoo import create
from contract.errors import UserError, unknown

_TRUNK = "trunk."
# Name of a normalisation that the user gave as numbers.
_OWN = "of these numbers"


@dataclass(frozen=True)
class ImportReport:
    """The report of an import.

    Attributes:
        sha256: Digest of the written checkpoint.
        key: The key of the file's mapping with the tensors; empty for its top level.
        prefix: The prefix of their names.
        source_names: The file's name of each tensor, by the backbone's name.
        left: Unused names in that mapping: a classifier, or names with another prefix.
        random: Names that are missing from the file, as `allow_missing` permits.
        notes: Changes (number formats, counters), and warnings.
    """

    sha256: str
    key: str
    prefix: str
    source_names: dict[str, str]
    left: tuple[str, ...]
    random: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def taken(self) -> int:
        """Number of imported tensors."""
        return len(self.source_names)


def import_weights(
    spec: str,
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    normalisation: Normalisation,
    *,
    key: str | None = None,
    prefix: str | None = None,
    in_order: bool = False,
    allow_missing: Sequence[str] = (),
) -> ImportReport:
    """Convert a weight file to a pretrained checkpoint of a backbone.

    Args:
        spec: The backbone that the weights belong to.
        path: A `.safetensors` file, or one from `torch.save`; no code in it is run.
        out: The checkpoint to write.
        normalisation: The normalisation with which the weights were trained.
        key: The key of the mapping with the tensors, with dots between levels; searched for by default.
        prefix: The prefix of their names; searched for by default.
        in_order: Match layers by order and shape, for a file with other names. If the two programs register layers of
            the same shape in different orders, the layers are swapped.
        allow_missing: Shell patterns of names that may be missing from the file. These tensors stay random, drawn
            with seed 0; the checkpoint lists them.

    Raises:
        CheckpointError: The file is missing, damaged or unsafe, or does not contain the whole backbone under one key;
            or its batch statistics contradict the normalisation.
        UserError: The options conflict.
    """
    path = Path(path)
    _refuse_other_strides(spec, normalisation)
    if in_order and (prefix is not None or allow_missing):
        raise UserError(
            "--by-order goes by the order of all tensors in one place; leave out --prefix and --allow-missing"
        )
    network, expected = _expected(spec, tuple(allow_missing))
    match = _find(path, read_weights(path), expected, key, prefix, in_order=in_order)
    notes = _load(path, network, match) + _warnings(path, network, normalisation)
    return _write(spec, network, match, normalisation, Path(out), notes)


def import_published(
    spec: str, out: str | os.PathLike[str], *, tag: str | None = None
) -> ImportReport:
    """Convert published weights of a library to a pretrained checkpoint, with the library's normalisation.

    Args:
        spec: `"timm:NAME[.TAG]"` or `"torchvision:NAME"`.
        out: The checkpoint to write.
        tag: Tag of torchvision's weights; None takes torchvision's default.

    Raises:
        CheckpointError: The weights cannot be loaded, or do not fit the backbone.
        UserError: The library publishes no such weights.
    """
    tensors, normalisation, name = published_weights(spec, tag)
    network, expected = _expected(spec, ())
    source = Path(name)
    match = _find(source, tensors, expected, None, "", in_order=False)
    notes = _load(source, network, match)
    return _write(spec, network, match, normalisation, Path(out), notes)


def _write(
    spec: str,
    network: Backbone,
    match: Match,
    normalisation: Normalisation,
    out: Path,
    notes: list[str],
) -> ImportReport:
    mean, std, order = normalisation
    metadata = CheckpointMetadata(
        spec=spec,
        recipe="imported",
        tricks=(),
        top1=None,
        mean=mean,
        std=std,
        channel_order=order,
        seed=0,
        weights="ema" if "ema" in match.key.lower() else "raw",
        random=match.random,
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sha256 = export_checkpoint(network, out, metadata)
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror}); name another file with --out"
        ) from None
    return ImportReport(
        sha256,
        match.key,
        match.prefix,
        dict(match.source_names),
        match.left,
        match.random,
        tuple(notes),
    )


def _expected(spec: str, allow_missing: tuple[str, ...]) -> tuple[Backbone, Expected]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = create(spec)
    tensors = {name.removeprefix(_TRUNK): t for name, t in network.state_dict().items()}
    library = tuple(getattr(network, "library_names", tensors))
    left_out = frozenset(library).difference(tensors)
    return network, Expected(spec, tensors, left_out, library, allow_missing)


def _find(
    path: Path,
    content: Any,
    expected: Expected,
    key: str | None,
    prefix: str | None,
    *,
    in_order: bool,
) -> Match:
    found = dict(places(content))
    if key is not None:
        if key not in found:
            raise CheckpointError(f"{path}: {unknown('key', key, found)}")
        found = {key: found[key]}
    if in_order:
        if len(found) != 1:
            raise CheckpointError(
                f"{path} holds tensors in {len(found)} places ({', '.join(map(repr, found))}); name one by --key"
            )
        [(place, tensors)] = found.items()
        return by_order(path, place, tensors, expected)
    return choose(
        path,
        [
            by_name(place, start, tensors, expected)
            for place, tensors in found.items()
            for start in ([prefix] if prefix is not None else prefixes(tensors, expected))
        ],
        expected,
    )


def _refuse_other_strides(spec: str, normalisation: Normalisation) -> None:
    """Refuse RGB weights for plain bottleneck ResNets: the strides differ, which tensors do not show."""
    base, *suffixes = spec.split("-")
    if re.fullmatch(r"resnet(14|26|50|101|152)", base) and normalisation[2] == "RGB":
        other = "-".join([f"{base}_b", *suffixes])
        raise CheckpointError(
            f"{spec} is the network of the paper, which strides in its first 1×1 convolutions. Only Caffe's public "
            f"weights (BGR) belong to that network; those of torchvision, timm and mmpretrain fit its tensors, but "
            f"belong to {other}: name that"
        )


def _load(path: Path, network: Backbone, match: Match) -> list[str]:
    """Load the tensors and return notes on changes."""
    notes = []
    state = network.state_dict()
    formats = set()
    for name, tensor in match.tensors.items():
        _refuse_impossible(path, match.source_names[name], name, tensor)
        ours = _TRUNK + name if _TRUNK + name in state else name
        if tensor.dtype != state[ours].dtype:
            formats.add(f"{tensor.dtype}".removeprefix("torch."))
        state[ours] = tensor.to(state[ours].dtype)
    for name in match.counters:
        ours = _TRUNK + name if _TRUNK + name in state else name
        state[ours] = torch.zeros_like(state[ours])
    network.load_state_dict(state, strict=True)
    if formats:
        notes.append(f"converted from {', '.join(sorted(formats))}")
    if match.counters:
        notes.append(
            f"{len(match.counters)} counters of batches are missing from the file and start at 0"
        )
    return notes


def _refuse_impossible(path: Path, source_name: str, name: str, tensor: Tensor) -> None:
    if not torch.isfinite(tensor.float()).all():
        raise CheckpointError(f"{path}: {source_name} holds numbers that are not finite")
    if name.endswith("running_var") and (tensor < 0).any():
        raise CheckpointError(f"{path}: {source_name} holds negative variances")


def _warnings(path: Path, network: Backbone, normalisation: Normalisation) -> list[str]:
    """Compare the batch statistics with the weights and the normalisation.

    Raises:
        CheckpointError: The statistics contradict the normalisation.
    """
    variances = [t for name, t in network.state_dict().items() if name.endswith("running_var")]
    if variances and all(bool((t == 1).all()) for t in variances):
        return ["all batch statistics are those of a fresh network: was it trained?"]
    named = next((n for n, known in NORMALISATIONS.items() if known == normalisation), _OWN)
    ratios = input_scale_ratios(network, {**NORMALISATIONS, named: normalisation})
    warning, certain = normalisation_warning(ratios, named)
    if certain:
        raise CheckpointError(f"{path}: {warning}; name that")
    warnings = [f"{warning}; is it the right one?"] if warning else []
    found = correlations(network, normalisation)
    odd = {name: value for name, value in found.items() if value < LEAST_CORRELATION}
    if odd:
        first = next(iter(odd))
        warnings.append(
            f"the batch statistics of {len(odd)} of {len(found)} layers, the first is {first.removeprefix(_TRUNK)} "
            f"(correlation {odd[first]:.2f}), do not fit their inputs on images that resemble photographs: a tensor "
            "before that layer may be transposed or another layer's, or the network was trained on other images"
        )
    return warnings


def normalisation_of(name: str) -> Normalisation:
    """Return a normalisation by its name.

    Raises:
        UserError: The normalisation is unknown.
    """
    if name not in NORMALISATIONS:
        raise unknown("normalisation", name, NORMALISATIONS)
    return NORMALISATIONS[name]


def own_normalisation(
    mean: Sequence[float], std: Sequence[float], channel_order: str = "RGB"
) -> Normalisation:
    """Return a normalisation from its numbers.

    Args:
        mean: Means of the three channels, in the channel order, on the scale 0 to 255.
        std: Their standard deviations, above 0, on the same scale.
        channel_order: `"RGB"` or `"BGR"`.

    Raises:
        UserError: The numbers are out of range, or look like those for pixels from 0 to 1.
    """
    if len(mean) != 3 or len(std) != 3 or not all(map(math.isfinite, [*mean, *std])):
        raise UserError(
            f"mean {tuple(mean)} and std {tuple(std)} were given; each is three finite numbers"
        )
    if min(std) <= 0:
        raise UserError(f"std {tuple(std)} was given; standard deviations are above 0")
    if max(std) < 1:
        raise UserError(
            f"mean {tuple(mean)} and std {tuple(std)} were given; these look like numbers for pixels from 0 to 1: "
            "multiply both by 255"
        )
    if channel_order not in ("RGB", "BGR"):
        raise unknown("order of channels", channel_order, ("RGB", "BGR"))
    first, second, third = (float(value) for value in mean)
    one, two, three = (float(value) for value in std)
    return (first, second, third), (one, two, three), channel_order
