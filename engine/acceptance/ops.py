"""Compare forward and backward of every bridged op on the device with its definition in float64 on a CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import Tensor

from contract.acceptance import Line
from contract.errors import UserError
from engine.acceptance import references
from engine.mmcv_ops import install
from engine.runner.precision import choose_precision

# Largest difference, relative to the largest value. float32 has 24 bits, and a GPU adds gradients in any order.
# bfloat16 has 8 bits and float16 11: inputs and outputs are rounded, sums are not.
_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 2**-6, torch.float16: 2**-9}
_IMAGES, _CHANNELS, _SIDE = 2, 8, 12
_THRESHOLD = 0.5
_BOXES = 120


@dataclass(frozen=True)
class _Case:
    """An op, with its definition.

    Attributes:
        name: Its name.
        inputs: Float64 tensors that have gradients.
        run: The op, of the inputs in another dtype on another device.
        reference: The definition, of the inputs.
    """

    name: str
    inputs: Sequence[Tensor]
    run: Callable[..., Tensor]
    reference: Callable[..., Tensor]


def check_ops(device_type: str) -> Iterator[Line]:
    """Yield a line for each op and dtype, and one for NMS."""
    install()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mmcv warns at import about moved classes
        from mmcv import ops
    yield _check_nms(ops.nms, device_type)
    for case in _cases(ops, device_type):
        for dtype in _dtypes(device_type):
            # torchvision has no half-precision kernel of it on a CPU; under autocast it computes in float32.
            if case.name == "deform_conv2d" and dtype != torch.float32:
                continue
            yield _check(case, device_type, dtype)


def _dtypes(device_type: str) -> list[torch.dtype]:
    found = [torch.float32]
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        try:
            choose_precision(name, device_type)
        except UserError:
            continue
        found.append(dtype)
    return found


def _check_nms(nms: Callable[..., Any], device_type: str) -> Line:
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 60, (_BOXES, 2), generator=generator)
    sides = torch.randint(4, 24, (_BOXES, 2), generator=generator)
    # Thirds of a pixel, because integers make IoUs of exactly 1/2, which rounding would decide.
    boxes = torch.cat([corners, corners + sides + 1 / 3], dim=1).double()
    scores = torch.randperm(_BOXES, generator=generator).double() / 512
    expected = references.kept_boxes(boxes, scores, _THRESHOLD)
    _, kept = nms(boxes.float().to(device_type), scores.float().to(device_type), _THRESHOLD)
    found = kept.tolist()
    return Line(
        check=f"nms on {device_type}",
        found=f"{len(found)} of {_BOXES} boxes kept, {'equal' if found == expected else 'different'}",
        expected=f"the {len(expected)} boxes of the definition, in their order",
        verdict="ok" if found == expected else "failed",
    )


def _cases(ops: Any, device_type: str) -> list[_Case]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rois = torch.tensor([[0, 4.0, 5.0, 40.0, 37.0], [1, 2.5, 3.0, 20.0, 44.0]], dtype=torch.float64)
    pool = ops.RoIAlign(3, 0.25, 2, aligned=True)
    focal_loss = ops.sigmoid_focal_loss
    targets = torch.randint(0, _CHANNELS + 1, (40,), generator=generator)
    features = normal(_IMAGES, _CHANNELS, _SIDE, _SIDE)
    return [
        _Case(
            "roi_align",
            [features],
            lambda maps: pool(maps, rois.to(maps)),
            lambda maps: references.roi_align(maps, rois, 3, 0.25, 2),
        ),
        _Case(
            "sigmoid_focal_loss",
            [normal(40, _CHANNELS)],
            lambda logits: focal_loss(logits, targets.to(device_type), 2.0, 0.25, None, "none"),
            lambda logits: references.sigmoid_focal_loss(logits, targets, 2.0, 0.25),
        ),
        _Case(
            "deform_conv2d",
            [
                features,
                normal(_IMAGES, 18, _SIDE, _SIDE),
                normal(4, _CHANNELS, 3, 3),
                normal(_IMAGES, 9, _SIDE, _SIDE).sigmoid(),
            ],
            lambda maps, offset, weight, mask: torchvision.ops.deform_conv2d(
                maps, offset, weight, padding=(1, 1), mask=mask
            ),
            references.deform_conv2d,
        ),
    ]


def _check(case: _Case, device_type: str, dtype: torch.dtype) -> Line:
    # The definition takes the rounded inputs, so that only the op is compared.
    exact = [tensor.to(dtype).double().requires_grad_() for tensor in case.inputs]
    given = [tensor.to(device_type, dtype).requires_grad_() for tensor in case.inputs]
    forward, backward = case.run(*given), case.reference(*exact)
    # Weights that `dtype` represents exactly.
    weights = torch.linspace(-1, 1, 17, dtype=torch.float64)[torch.arange(backward.numel()) % 17]
    weights = weights.reshape(backward.shape)
    (forward * weights.to(forward)).sum().backward()
    (backward * weights).sum().backward()
    differences = {
        "forward": _difference(forward, backward),
        "backward": max(_difference(a.grad, b.grad) for a, b in zip(given, exact, strict=True)),
    }
    tolerance = _TOLERANCES[dtype]
    good = all(value <= tolerance for value in differences.values())
    kind = str(dtype).removeprefix("torch.")
    return Line(
        check=f"{case.name} on {device_type}, {kind}",
        found=", ".join(f"{name} {value:.1e} off" for name, value in differences.items()),
        expected=f"its definition in float64, within {tolerance:.0e} of the largest value",
        verdict="ok" if good else "failed",
        numbers={
            name: value if value < float("inf") else None for name, value in differences.items()
        },
    )


def _difference(found: Tensor | None, expected: Tensor | None) -> float:
    """Return the largest difference relative to the largest value; infinite if the op gives no number."""
    if found is None or expected is None:
        return float("inf")
    found, expected = found.detach().cpu().double(), expected.detach()
    if found.shape != expected.shape or not found.isfinite().all():
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max())
