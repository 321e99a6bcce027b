"""Check whether networks can be backbones, and at which output strides; print a table with a row for each."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from backbones import foreign
from backbones.backbone import OUTPUT_STRIDES, Backbone, OutputStrideError
from backbones.complexity import count_parameters
from backbones.gradients import without_gradient
from backbones.zoo import create
from contract.errors import UserError

# Neither square nor a multiple of any stride.
_IMAGE = (75, 100)
_FORMS = {"native": "native", "layers": "dilated", None: "pyramid"}
HEADER = (
    "| network | parameters | channels | stride 16 | stride 8 | notes |\n|---|---|---|---|---|---|"
)


def row(spec: str) -> tuple[str, bool]:
    """Build a network and test it.

    Args:
        spec: The network's spec.

    Returns:
        A row of the table under `HEADER`, and whether the network can be a backbone. An output stride is `native` if
        the network's library builds it, `dilated` if its layers are changed, and `pyramid` if the network has a
        single map.
    """
    try:
        network = create(spec)
        notes = list(_defects(network))
        if network.image_multiple > OUTPUT_STRIDES[0]:
            notes.append(f"images are padded to multiples of {network.image_multiple} pixels")
    except UserError as error:
        return f"| `{spec}` | | | | | no: {_short(spec, error)} |", False
    forms = []
    for stride in OUTPUT_STRIDES[1:]:
        try:
            forms.append(_form(spec, stride))
        except OutputStrideError as error:
            forms.append("no")
            notes.append(_short(spec, error))
    try:
        network.stages()
    except UserError:
        notes.append("no stage of it can be frozen")
    channels = ", ".join(str(f.channels) for f in network.feature_info)
    cells = (
        f"`{spec}`",
        f"{count_parameters(network) / 1e6:.1f} M",
        channels,
        *forms,
        "; ".join(dict.fromkeys(notes)),
    )
    return f"| {' | '.join(cells)} |", True


def _form(spec: str, output_stride: int) -> str:
    if foreign.is_foreign(spec):
        return _FORMS[foreign.dilated_form(spec, output_stride)]
    create(spec, output_stride=output_stride)
    return "native"


def _defects(network: Backbone) -> Iterator[str]:
    """Yield a note for maps that differ from their declaration, and for parameters without gradients."""
    maps = network(torch.rand(2, 3, *_IMAGE))
    declared = [
        (2, f.channels, *(math.ceil(side / f.stride) for side in _IMAGE))
        for f in network.feature_info
    ]
    if [tuple(values.shape) for values in maps] != declared:
        yield f"defect: its maps are {[tuple(values.shape) for values in maps]}, declared {declared}"
    last = without_gradient(network, maps[-1:])
    every = without_gradient(network, maps)
    if every:
        yield f"defect: {len(every)} parameters learn nothing, such as {every[0]}"
    elif last:
        yield f"{len(last)} parameters do not reach the last map"


def _short(spec: str, error: UserError) -> str:
    """Return the reason of an error, without the spec and the advice."""
    text = str(error)
    if isinstance(error, OutputStrideError):
        text = text.partition(": ")[2]
    return text.replace(f"{spec} ", "").partition("; ")[0].replace("|", "\\|")
