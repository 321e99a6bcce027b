"""Dilate any convolutional network: a dummy input finds the strides, and dilation replaces them.

This is the à-trous method of https://arxiv.org/abs/1606.00915, for any network. If the input of a layer had stride r
and now has the output stride o < r, the layer reads every (r / o)-th location; a layer that would exceed o keeps the
stride o. On the common grid all maps equal those of the original network, except for layers that see the whole map,
such as the gates of squeeze-and-excitation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional

from backbones.backbone import OutputStrideError
from backbones.foreign.wrapper import DUMMY_SIZE, run_dummy

_LAYERS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_SAME: Any = Conv2dSame


def dilate(
    spec: str,
    network: nn.Module,
    output_stride: int,
    call: Callable[[Tensor], Any] | None = None,
) -> None:
    """Dilate the layers of a network in place, until no map is coarser than the output stride.

    Args:
        spec: The spec, for messages.
        network: The network, at output stride 32.
        output_stride: 16 or 8.
        call: Computes the maps; None calls the network itself.

    Raises:
        OutputStrideError: A layer that needs dilation cannot be dilated.
    """
    strides: dict[str, tuple[int, int]] = {}
    hooks = [
        module.register_forward_hook(functools.partial(_note, strides, name))
        for name, module in network.named_modules()
        if name and not any(True for _ in module.children())
    ]
    try:
        run_dummy(spec, call or network, network)
    finally:
        for hook in hooks:
            hook.remove()
    for name, (before, after) in strides.items():
        layer: Any = network.get_submodule(name)
        if type(layer) is _SAME:
            network.set_submodule(name, _change_same(layer, before, after, output_stride))
        elif isinstance(layer, _LAYERS):
            _change(spec, name, layer, before, after, output_stride)
        elif after > output_stride and after != before:
            raise OutputStrideError(
                f"{spec} cannot be built at output stride {output_stride}: its layer {name} ({type(layer).__name__}) "
                "strides, and is no convolution or pool that could dilate instead"
            )


def _note(
    strides: dict[str, tuple[int, int]], name: str, _module: nn.Module, inputs: Any, output: Any
) -> None:
    """Record the strides of a layer's input and output if both are feature maps."""
    if not (inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor)):
        return
    found = [_stride(inputs[0]), _stride(output)]
    if found[0] is not None and found[1] is not None:
        strides[name] = (found[0], found[1])


def _stride(values: Tensor) -> int | None:
    if values.ndim != 4 or min(values.shape[-2:]) < 2:
        return None
    ratios = {size / side for size, side in zip(DUMMY_SIZE, values.shape[-2:], strict=True)}
    ratio = ratios.pop()
    return int(ratio) if not ratios and ratio == int(ratio) else None


def _change(spec: str, name: str, layer: Any, before: int, after: int, output_stride: int) -> None:
    factor = max(1, before // output_stride)
    stride = min(after, output_stride) // min(before, output_stride)
    if factor == 1 and stride == after // before:
        return
    kernel, padding, dilation = (
        _pair(value) for value in (layer.kernel_size, layer.padding, getattr(layer, "dilation", 1))
    )
    centred = all(2 * p == d * (k - 1) for k, p, d in zip(kernel, padding, dilation, strict=True))
    # Adjacent patches, as in ConvNeXt and VGG; at stride 1 they need locations beyond the last one.
    patches = padding == (0, 0) and kernel == _pair(layer.stride) and dilation == (1, 1)
    dilates = factor == 1 or hasattr(layer, "dilation")
    if type(layer) not in _LAYERS or not (centred or patches) or not dilates:
        raise OutputStrideError(
            f"{spec} cannot be built at output stride {output_stride}: its layer {name} ({type(layer).__name__}, "
            f"kernel {kernel[0]}×{kernel[1]}, padding {layer.padding}) cannot dilate without shifting the map"
        )
    layer.stride = (stride, stride)
    layer.padding = tuple(factor * p for p in padding)
    if hasattr(layer, "dilation"):
        layer.dilation = tuple(factor * d for d in dilation)
    if patches and stride < kernel[0]:
        missing = [factor * (int(k) - 1) - (stride - 1) for k in kernel]
        fill = -math.inf if type(layer) is nn.MaxPool2d else 0.0
        layer.register_forward_pre_hook(functools.partial(_pad_after, missing, fill))


def _change_same(layer: nn.Conv2d, before: int, after: int, output_stride: int) -> nn.Conv2d:
    """Return the same convolution with other strides; a hook pads according to the size of the input.

    TensorFlow pads an input of n locations to get ⌈n / stride⌉, with the odd location at the end. The position of the
    first window would differ between strides 2 and 1; the new convolution keeps the original position.
    """
    factor = max(1, before // output_stride)
    stride = min(after, output_stride) // min(before, output_stride)
    if factor == 1 and stride == after // before:
        return layer
    size, dilation = layer.kernel_size, layer.dilation
    plain = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        (size[0], size[1]),
        stride=stride,
        dilation=(factor * dilation[0], factor * dilation[1]),
        groups=layer.groups,
        bias=layer.bias is not None,
        device="meta",
    )
    plain.weight, plain.bias = layer.weight, layer.bias
    reach = [d * (k - 1) for k, d in zip(size, dilation, strict=True)]
    plain.register_forward_pre_hook(
        functools.partial(_pad_same, reach, after // before, factor, stride)
    )
    return plain


def _pad_same(
    reach: list[int],
    old_stride: int,
    factor: int,
    stride: int,
    _layer: nn.Module,
    inputs: tuple[Tensor, ...],
) -> Any:
    """Pad as the original layer does on every `factor`-th location, for an output of ⌈n / stride⌉."""
    padding: list[int] = []
    for side, taps in zip(inputs[0].shape[-2:], reach, strict=True):
        old_side = -(-side // factor)
        missing = (-(-old_side // old_stride) - 1) * old_stride + taps + 1 - old_side
        before = factor * (max(missing, 0) // 2)
        total = (-(-side // stride) - 1) * stride + factor * taps + 1 - side
        # torch lists the last dimension first.
        padding = [before, total - before, *padding]
    return (functional.pad(inputs[0], padding), *inputs[1:])


def _pad_after(
    missing: list[int], fill: float, _layer: nn.Module, inputs: tuple[Tensor, ...]
) -> Any:
    """Pad a layer's input at the bottom and right, to keep the size of its output."""
    return (functional.pad(inputs[0], (0, missing[1], 0, missing[0]), value=fill), *inputs[1:])


def _pair(value: Any) -> tuple[float, float]:
    if isinstance(value, str):
        # torch's "same" does not support strides and is not centred for even kernels; its "valid" is 0.
        return (math.nan, math.nan) if value == "same" else (0, 0)
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)
