"""Public weights into a hand-off: a file of another program's making is read, its names are found, nothing is guessed.

A file may nest its tensors (``state_dict``, ``model``, ``teacher`` …) and prefix their names (``module.``,
``backbone.`` …). Of all places and prefixes the one that holds every tensor of the backbone, each of the right shape,
is taken; where there are several that differ, the user chooses; where there is none, the nearest is shown with what
lacks. Nothing is filled with random numbers but what the user names, and the hand-off says so for ever.
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
from backbones.batch_statistics import (
    LEAST_AGREEMENT,
    Normalisation,
    agreements,
    objection,
    spread_factors,
)
from backbones.checkpoint import export_checkpoint
from backbones.checkpoint_file import CheckpointError, CheckpointMetadata
from backbones.key_map import Match, Wanted, by_name, by_order, choose, prefixes
from backbones.published import published_weights
from backbones.weight_files import places, read_weights
from backbones.zoo import create
from contract.errors import UserError, unknown

_TRUNK = "trunk."
# What a normalisation is called that is given in numbers.
_OWN = "of these numbers"

NORMALISATIONS: dict[str, Normalisation] = {
    # On the scale 0 to 255: (mean, standard deviation, order of channels).
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "RGB"),
    "inception": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5), "RGB"),
    "caffe": ((103.53, 116.28, 123.675), (1.0, 1.0, 1.0), "BGR"),
}


@dataclass(frozen=True)
class ImportReport:
    """What was found and taken.

    Attributes:
        sha256: Of the hand-off that was written.
        key: Where in the file the tensors lie; empty for its top.
        prefix: What stands before their names.
        source_names: By the backbone's name of a tensor, the file's.
        left: Names in that place that are not the backbone's: a classifier, or what has another prefix.
        random: Names that the file lacks and was allowed to lack.
        notes: What was changed (other number formats, counters that lack), and what is doubtful.
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
        """Number of tensors."""
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
    """Turn a file of weights into a hand-off checkpoint of a backbone.

    Args:
        spec: The backbone that the weights are of.
        path: A ``.safetensors`` file, or one that ``torch.save`` wrote; no code in it is run.
        out: The hand-off to write.
        normalisation: Mean and standard deviation, 0 to 255, and ``"RGB"`` or ``"BGR"``: those that the weights were
            trained with.
        key: Where in the file the tensors lie, dots between levels; found when not given.
        prefix: What stands before their names; found when not given.
        in_order: Match layer by layer, by order and shape, for a file whose names are another program's. Two layers of
            one form that the two programs register in another order cannot be told apart.
        allow_missing: Shell patterns of names that the file may lack. They keep the numbers of a fresh network, drawn
            from seed 0, and are written into the hand-off.

    Raises:
        CheckpointError: The file is missing, damaged, unsafe, or does not hold all of the backbone in one place; or its
            batch statistics rule the normalisation out.
        UserError: Options contradict each other.
    """
    path = Path(path)
    _refuse_other_strides(spec, normalisation)
    if in_order and (prefix is not None or allow_missing):
        raise UserError(
            "--by-order goes by the order of all tensors in one place; leave out --prefix and --allow-missing"
        )
    network, wanted = _wanted(spec, tuple(allow_missing))
    match = _find(path, read_weights(path), wanted, key, prefix, in_order=in_order)
    notes = _load(path, network, match) + _doubts(path, network, normalisation)
    return _hand_off(spec, network, match, normalisation, Path(out), notes)


def import_published(
    spec: str, out: str | os.PathLike[str], *, tag: str | None = None
) -> ImportReport:
    """Turn the weights that a library publishes into a hand-off checkpoint, with the library's normalisation.

    Args:
        spec: ``"timm:NAME[.TAG]"`` or ``"torchvision:NAME"``.
        out: The hand-off to write.
        tag: Of torchvision's weights; its default when not given.

    Raises:
        CheckpointError: They cannot be had, or are not the backbone's.
        UserError: There are none of that name.
    """
    tensors, normalisation, name = published_weights(spec, tag)
    network, wanted = _wanted(spec, ())
    source = Path(name)
    match = _find(source, tensors, wanted, None, "", in_order=False)
    notes = _load(source, network, match)
    return _hand_off(spec, network, match, normalisation, Path(out), notes)


def _hand_off(
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


def _wanted(spec: str, allow_missing: tuple[str, ...]) -> tuple[Backbone, Wanted]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = create(spec)
    tensors = {name.removeprefix(_TRUNK): t for name, t in network.state_dict().items()}
    library = tuple(getattr(network, "library_names", tensors))
    left_out = frozenset(library).difference(tensors)
    return network, Wanted(spec, tensors, left_out, library, allow_missing)


def _find(
    path: Path,
    content: Any,
    wanted: Wanted,
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
        return by_order(path, place, tensors, wanted)
    return choose(
        path,
        [
            by_name(place, start, tensors, wanted)
            for place, tensors in found.items()
            for start in ([prefix] if prefix is not None else prefixes(tensors, wanted))
        ],
        wanted,
    )


def _refuse_other_strides(spec: str, normalisation: Normalisation) -> None:
    """The plain bottleneck ResNets stride in the first 1×1 convolution, which no tensor tells."""
    base, *suffixes = spec.split("-")
    if re.fullmatch(r"resnet(14|26|50|101|152)", base) and normalisation[2] == "RGB":
        other = "-".join([f"{base}_b", *suffixes])
        raise CheckpointError(
            f"{spec} is the network of the paper, which strides in its first 1×1 convolutions; of public weights only "
            f"those of Caffe's kind (BGR) are of that network, and those of torchvision, timm and mmpretrain fit it "
            f"but belong to {other}: name that"
        )


def _load(path: Path, network: Backbone, match: Match) -> list[str]:
    """Put the tensors in; returns what was changed on the way."""
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
        notes.append(f"{len(match.counters)} counters of batches, which the file lacks, are 0")
    return notes


def _refuse_impossible(path: Path, source_name: str, name: str, tensor: Tensor) -> None:
    if not torch.isfinite(tensor.float()).all():
        raise CheckpointError(f"{path}: {source_name} holds numbers that are not finite")
    if name.endswith("running_var") and (tensor < 0).any():
        raise CheckpointError(f"{path}: {source_name} holds negative variances")


def _doubts(path: Path, network: Backbone, normalisation: Normalisation) -> list[str]:
    """What the batch statistics say against the weights and against the normalisation."""
    variances = [t for name, t in network.state_dict().items() if name.endswith("running_var")]
    if variances and all(bool((t == 1).all()) for t in variances):
        return ["all batch statistics are those of a fresh network: was it trained?"]
    named = next((n for n, known in NORMALISATIONS.items() if known == normalisation), _OWN)
    doubt, sure = objection(
        spread_factors(network, {**NORMALISATIONS, named: normalisation}), named
    )
    if sure:
        raise CheckpointError(f"{path}: {doubt}; name that")
    doubts = [f"{doubt}; is it the right one?"] if doubt else []
    found = agreements(network, normalisation)
    odd = {name: value for name, value in found.items() if value < LEAST_AGREEMENT}
    if odd:
        first = next(iter(odd))
        doubts.append(
            f"the batch statistics of {len(odd)} of {len(found)} layers, first of {first.removeprefix(_TRUNK)} "
            f"(correlation {odd[first]:.2f}), are not like those of their inputs on images like photographs: a tensor "
            "before it may be transposed or another layer's, or the network was trained on other images"
        )
    return doubts


def normalisation_of(name: str) -> Normalisation:
    """A normalisation by its name.

    Raises:
        UserError: There is none of that name.
    """
    if name not in NORMALISATIONS:
        raise unknown("normalisation", name, NORMALISATIONS)
    return NORMALISATIONS[name]


def own_normalisation(
    mean: Sequence[float], std: Sequence[float], channel_order: str = "RGB"
) -> Normalisation:
    """A normalisation from its numbers.

    Args:
        mean: Of the three channels, in their order, on the scale 0 to 255.
        std: Their standard deviations, above 0, on the same scale.
        channel_order: ``"RGB"`` or ``"BGR"``.

    Raises:
        UserError: They are no such numbers, or look like those for pixels from 0 to 1.
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


__all__ = [
    "NORMALISATIONS",
    "ImportReport",
    "import_published",
    "import_weights",
    "normalisation_of",
    "own_normalisation",
]
