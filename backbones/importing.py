"""Public weights into a hand-off: a file of another program's making is read, its names are found, nothing is guessed.

A file may nest its tensors (``state_dict``, ``model``, ``teacher`` …) and prefix their names (``module.``,
``backbone.`` …). Of all places and prefixes the one that holds every tensor of the backbone, each of the right shape,
is taken; where there are several that differ, the user chooses; where there is none, the nearest is shown with what
lacks. Nothing is filled with random numbers.
"""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from backbones.backbone import Backbone
from backbones.checkpoint import export_checkpoint
from backbones.checkpoint_file import CheckpointError, CheckpointMetadata, form, listed
from backbones.errors import unknown
from backbones.zoo import create

# What classifiers have after their last map, under the names in use.
_HEAD = re.compile(r"(fc|head|classifier|last_linear|pre_logits|fc_norm|aux|AuxLogits|head_dist)\b")
# A counter that batch normalisation with a momentum never reads; older programs do not write it.
_COUNTER = "num_batches_tracked"
_DEEPEST = 3
_TRUNK = "trunk."

Normalisation = tuple[tuple[float, float, float], tuple[float, float, float], str]
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
        taken: Number of tensors.
        left: Names in that place that are not the backbone's: a classifier, or what has another prefix.
        notes: What was changed: other number formats, counters that lack.
    """

    sha256: str
    key: str
    prefix: str
    taken: int
    left: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


def import_weights(
    spec: str,
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    normalisation: Normalisation,
    *,
    key: str | None = None,
    prefix: str | None = None,
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

    Raises:
        CheckpointError: The file is missing, damaged, unsafe, or does not hold all of the backbone in one place.
    """
    path = Path(path)
    _refuse_other_strides(spec, normalisation)
    places = dict(_places(_read(path)))
    if key is not None:
        if key not in places:
            raise CheckpointError(f"{path}: {unknown('key', key, places)}")
        places = {key: places[key]}
    network = create(spec)
    wanted = {name.removeprefix(_TRUNK): t for name, t in network.state_dict().items()}
    found = [
        _Match(place, start, tensors, wanted)
        for place, tensors in places.items()
        for start in ([prefix] if prefix is not None else _prefixes(tensors, wanted))
    ]
    match = _choose(path, spec, found, network)
    notes = _load(path, network, match)
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
    )
    sha256 = export_checkpoint(network, out, metadata)
    return ImportReport(
        sha256, match.key, match.prefix, len(match.matched), tuple(match.left), tuple(notes)
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


def _read(path: Path) -> Any:
    """The content of a file, without running any code in it."""
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path} is truncated or no safetensors file ({error})") from None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        # torch.save stores; what is compressed was packed by something else, and may be a bomb.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise CheckpointError(
                f"{path} is a compressed archive; torch.save does not compress: unpack it and give the file in it"
            )
    try:
        with warnings.catch_warnings():
            # On protocols of pickle that it may not know; it raises where it does not.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{path} holds more than tensors, so that opening it could run code, or is damaged ({reason}); if you "
            "trust it, load it once yourself and save its state_dict alone with torch.save or safetensors"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is truncated or no file of weights ({error})") from None


def _places(content: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping in the file that holds tensors, with its key."""
    if not isinstance(content, Mapping):
        return
    tensors = {str(n): v for n, v in content.items() if isinstance(v, Tensor)}
    if tensors:
        yield key, tensors
    if depth < _DEEPEST:
        for name, value in content.items():
            yield from _places(value, f"{key}.{name}" if key else str(name), depth + 1)


def _prefixes(tensors: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """What may stand before the names: whatever stands before one of them."""
    names = set(wanted)
    found = dict.fromkeys([""])
    for name in tensors:
        parts = name.split(".")
        for cut in range(1, len(parts)):
            if ".".join(parts[cut:]) in names:
                found[".".join(parts[:cut]) + "."] = None
    return list(found)


class _Match:
    """How well one place and prefix fit."""

    def __init__(
        self, key: str, prefix: str, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
    ) -> None:
        self.key, self.prefix = key, prefix
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        self.matched = {
            n: own[n] for n, t in wanted.items() if n in own and own[n].shape == t.shape
        }
        self.missing = [n for n in wanted if n not in own and not n.endswith(_COUNTER)]
        self.counters = [n for n in wanted if n not in own and n.endswith(_COUNTER)]
        self.misfits = [
            f"{n} (file {form(own[n])}, backbone {form(t)})"
            for n, t in wanted.items()
            if n in own and own[n].shape != t.shape
        ]
        self.extra = [n for n in own if n not in wanted]
        self.left = [n for n in tensors if n.removeprefix(prefix) not in self.matched]

    @property
    def place(self) -> str:
        """Where it is, in words."""
        parts = [f"key {self.key!r}"] if self.key else []
        parts += [f"prefix {self.prefix!r}"] if self.prefix else []
        return " and ".join(parts) or "the top of the file"

    def foreign(self, network: Backbone) -> list[str]:
        """Names that neither the backbone nor its classifier has."""
        known = getattr(network, "left_out", frozenset())
        return [n for n in self.extra if n not in known and not _HEAD.match(n)]


def _choose(path: Path, spec: str, found: list[_Match], network: Backbone) -> _Match:
    complete = [m for m in found if not (m.missing or m.misfits or m.foreign(network))]
    if not complete:
        raise _misfit(path, spec, found, network)
    first, *others = complete
    for other in others:
        if any(not torch.equal(t, other.matched[n]) for n, t in first.matched.items()):
            choices = "; ".join(
                f"--key {m.key or repr('')} --prefix {m.prefix or repr('')}" for m in complete
            )
            raise CheckpointError(
                f"{path} holds {spec} {len(complete)} times, with different weights; choose one of: {choices}"
            )
    return first


def _misfit(path: Path, spec: str, found: list[_Match], network: Backbone) -> CheckpointError:
    if not found or not any(match.matched for match in found):
        names = listed(name for match in found[:1] for name in match.left)
        return CheckpointError(
            f"{path} holds no tensor of {spec}" + (f"; it holds {names}" if names else "")
        )
    nearest = max(found, key=lambda match: len(match.matched) - len(match.foreign(network)))
    problems = [
        f"{len(names)} {kind}: {listed(names)}"
        for kind, names in (
            ("missing", nearest.missing),
            ("of another shape", nearest.misfits),
            ("that are not the backbone's", nearest.foreign(network)),
        )
        if names
    ]
    return CheckpointError(
        f"{path} does not hold {spec}: at {nearest.place}, the nearest, {len(nearest.matched)} tensors fit; "
        f"{'; '.join(problems)}"
    )


def _load(path: Path, network: Backbone, match: _Match) -> list[str]:
    """Put the tensors in; returns what was changed on the way."""
    notes = []
    state = network.state_dict()
    formats = set()
    for name, tensor in match.matched.items():
        if not torch.isfinite(tensor.float()).all():
            raise CheckpointError(f"{path}: {match.prefix}{name} holds numbers that are not finite")
        if name.endswith("running_var") and (tensor < 0).any():
            raise CheckpointError(f"{path}: {match.prefix}{name} holds negative variances")
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


def normalisation_of(name: str) -> Normalisation:
    """A normalisation by its name.

    Raises:
        UserError: There is none of that name.
    """
    if name not in NORMALISATIONS:
        raise unknown("normalisation", name, NORMALISATIONS)
    return NORMALISATIONS[name]


__all__ = ["NORMALISATIONS", "ImportReport", "import_weights", "normalisation_of"]
