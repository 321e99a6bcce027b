"""Wrap a network of another library as a backbone: find, name, measure and crop its maps."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.backbone import Backbone, Feature, OutputStrideError
from backbones.nets.layers import OFFSET_LR_MULTIPLIER, predicts_modulated_offsets
from contract.errors import UserError

# The strides that pyramids and heads need; the modules before the first of these maps are the stem.
STRIDES = (4, 8, 16, 32)
# Height and width of the dummy input: not square, to detect swapped sides, and large enough for all maps.
DUMMY_SIZE = (128, 192)
# A correct dilated form differs by rounding, by gates, or by the pool in the shortcut of ResNet-D, which averages
# nearer locations (0.04 to 0.06). A wrong form differs more (windows by 0.17 or more, shifted locations by 0.7).
_TOLERANCE = 0.1
# The same after zero-initialised branches are re-initialised: correct forms differ by at most 0.13 (ResNet-D), wrong
# ones by 0.25 or more (timm's GENet, whose last 3×3 convolution does not dilate; HaloNet's windows).
_DRAWN_TOLERANCE = 0.17
# A constant weight below this counts as zero-initialised; ConvNeXt's layer scale starts at 1e-6.
_NEAR_ZERO = 0.1

# (trunk, images, n) → the first n maps. The trunk is an argument because a copy of the backbone has another trunk.
Run = Callable[[nn.Module, Tensor, int], Sequence[Tensor]]


class ForeignBackbone(Backbone):
    """A network of another library.

    Libraries round sizes that are not multiples of a stride differently. Images are therefore padded with zeros, at
    the right and bottom, to a multiple of the coarsest stride, or of a larger size if the network's windows need it.
    Maps are then cropped to ⌈H / stride⌉ × ⌈W / stride⌉.

    Args:
        spec: The requested spec.
        trunk: The network, without a classifier.
        run: Computes the first n maps of a batch, each of shape (N, C, H, W), from `trunk`, the batch and n.
        features: The maps' names, channels and strides.
        ends: The module in `trunk` that outputs the map of each stage or block; empty if unknown.
        input_size: Published height and width of input images.
        image_multiple: The sides of images must be multiples of this; None for the coarsest stride.
        library_names: Tensor names of the library's whole network, in its order; `trunk` has no tensors after the
            last map.
    """

    own_initialisation = True

    def __init__(
        self,
        spec: str,
        trunk: nn.Module,
        run: Run,
        features: Sequence[Feature],
        *,
        ends: Sequence[str] = (),
        input_size: int = 224,
        image_multiple: int | None = None,
        library_names: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.spec = spec
        self.trunk = trunk
        self.feature_info = list(features)
        self.input_size = input_size
        self.image_multiple = image_multiple or max(feature.stride for feature in features)
        self.library_names = tuple(library_names)
        self._run = run
        self._ends = tuple(ends)

    def forward(self, x: Tensor, maps: int | None = None) -> list[Tensor]:
        """Compute the feature maps of a batch; see `Backbone`."""
        features = self.feature_info[:maps]
        height, width = x.shape[-2:]
        multiple = self.image_multiple
        padded = functional.pad(x, (0, -width % multiple, 0, -height % multiple))
        found = self._run(self.trunk, padded, len(features))
        return [
            values[..., : math.ceil(height / f.stride), : math.ceil(width / f.stride)]
            for f, values in zip(features, found, strict=True)
        ]

    def stages(self) -> list[list[nn.Module]]:
        """List the modules by depth, in the library's order; see `Backbone`.

        Raises:
            UserError: The module that outputs a map is unknown.
        """
        if not self._ends:
            raise UserError(
                f"{self.spec} does not show which of its parameters belong to which map, and none of its stages can be "
                "frozen; set model.backbone.frozen_stages=-1"
            )
        groups: list[list[nn.Module]] = [[] for _ in range(len(self._ends) + 1)]
        _distribute(self.trunk, "", _depths(self.trunk, self._ends), groups)
        return groups

    def lr_multipliers(self) -> dict[str, float]:
        """Return the factors that modules declare, and that of offsets; see `Backbone`."""
        factors: dict[str, float] = {}
        for module in self.trunk.modules():
            for name, child in module.named_children():
                if predicts_modulated_offsets(module, child, name):
                    factors[name] = OFFSET_LR_MULTIPLIER
        own = getattr(self.trunk, "lr_multipliers", dict)()
        return {**factors, **super().lr_multipliers(), **own}


def _depths(trunk: nn.Module, ends: Sequence[str]) -> dict[str, int]:
    """Return the depth of each module: 0 before the first map's module, else the number of the next map.

    Libraries register modules in the order of computation. Modules after the last map belong to it.
    """
    names = [name for name, _ in trunk.named_modules()]
    first = names.index(ends[0])
    last = [
        max(i for i, name in enumerate(names) if f"{name}.".startswith(f"{end}.")) for end in ends
    ]
    deepest = len(ends)
    return {
        name: 0
        if index < first
        else next((depth for depth, end in enumerate(last, start=1) if index <= end), deepest)
        for index, name in enumerate(names)
    }


def _distribute(
    module: nn.Module, name: str, depths: dict[str, int], groups: list[list[nn.Module]]
) -> None:
    """Add each outermost module whose tensors have a single depth to the group of that depth."""
    inside = {
        depths[".".join(filter(None, (name, part)))]
        for part, inner in module.named_modules()
        if any(True for _ in _own_tensors(inner))
    }
    if not inside:
        return
    if len(inside) == 1 and name:
        groups[inside.pop()].append(module)
        return
    for part, child in module.named_children():
        _distribute(child, f"{name}.{part}" if name else part, depths, groups)
    for part, tensor in _own_tensors(module):
        # A parameter of the network itself, such as a position embedding, does not belong to a submodule.
        holder = nn.Module()
        if isinstance(tensor, nn.Parameter):
            holder.register_parameter(part, tensor)
        else:
            holder.register_buffer(part, tensor)
        groups[depths[name]].append(holder)


def _own_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)


def run_dummy(
    spec: str,
    call: Callable[[Tensor], Any],
    network: nn.Module,
    *,
    in_channels: int = 3,
    size: tuple[int, int] = DUMMY_SIZE,
) -> Any:
    """Return a network's output on a black, non-square dummy input, in evaluation mode.

    Raises:
        UserError: The network fails.
    """
    try:
        with _evaluating(network), torch.no_grad():
            return call(torch.zeros(1, in_channels, *size))
    except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{spec} cannot compute on an image of {size[0]}×{size[1]} pixels ({reason}); it cannot be the backbone of "
            "detectors and segmentors, whose images have any size"
        ) from None


def measure(
    spec: str,
    run: Run,
    trunk: nn.Module,
    maps: int,
    *,
    in_channels: int = 3,
    size: tuple[int, int] = DUMMY_SIZE,
) -> list[tuple[int, int]]:
    """Measure channels and stride of each map of a network with a dummy input.

    Raises:
        UserError: The network fails on a non-square image, or an output is not a map with an integer stride.
    """
    found = run_dummy(
        spec, lambda x: run(trunk, x, maps), trunk, in_channels=in_channels, size=size
    )
    measured = []
    for values in found:
        if not isinstance(values, Tensor) or values.ndim != 4:
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise UserError(
                f"{spec} returns {shape} as a feature; expected maps of shape (N, C, H, W)"
            )
        strides = [pixels / side for pixels, side in zip(size, values.shape[-2:], strict=True)]
        if strides[0] != strides[1] or strides[0] != int(strides[0]):
            raise UserError(
                f"{spec} returns a map of {values.shape[-2]}×{values.shape[-1]} locations for {size[0]}×{size[1]} "
                "pixels; expected one of a whole stride"
            )
        measured.append((values.shape[1], int(strides[0])))
    return measured


def require_strides(spec: str, strides: Sequence[int], output_stride: int) -> None:
    """Raise unless the maps have the strides 4, 8, 16 and 32, each limited to the output stride.

    Raises:
        OutputStrideError: The strides differ, and the output stride is below 32.
        UserError: The strides differ, and the output stride is 32.
    """
    required = [min(stride, output_stride) for stride in STRIDES]
    if list(strides) == required:
        return
    listed = ", ".join(map(str, strides)) or "none"
    if output_stride != STRIDES[-1]:
        raise OutputStrideError(
            f"{spec} cannot be built at output stride {output_stride}: its maps are at {listed}"
        )
    raise UserError(
        f"{spec} has maps at the strides {listed}; pyramids and heads need four, at "
        f"{', '.join(map(str, required))}"
    )


def same_on_common_grid(dilated: Backbone, plain: Backbone) -> bool:
    """Return whether a network computes the same at a smaller output stride as at 32, at common locations.

    Initial weights are compared first. In many networks, the last scale of residual branches starts at zero, which
    hides the branch. Therefore zero-initialised weights are re-initialised for a second comparison.

    Args:
        dilated: The network at the smaller output stride; its weights may change.
        plain: The same network at 32; it gets the weights of the first.
    """
    image = torch.rand(1, 3, *DUMMY_SIZE)
    if not _largest_error(dilated, plain, image) < _TOLERANCE:
        return False
    return not _draw_zeros(dilated) or _largest_error(dilated, plain, image) < _DRAWN_TOLERANCE


def _draw_zeros(network: nn.Module) -> bool:
    """Re-initialise constant weights near zero; return whether there are any."""
    zeros = [
        parameter
        for name, parameter in network.named_parameters()
        if not name.endswith("bias")
        and parameter.numel()
        and float(parameter.detach().abs().max()) < _NEAR_ZERO
        and float(parameter.detach().max() - parameter.detach().min()) == 0
    ]
    for parameter in zeros:
        gain = max(parameter.shape, default=1) == parameter.numel()
        # Each row of a matrix keeps the scale of its input.
        low, high = (0.5, 1.5) if gain else (-1.0, 1.0)
        nn.init.uniform_(parameter, low, high)
        if not gain:
            parameter.data.mul_((3 / parameter[0].numel()) ** 0.5)
    return bool(zeros)


@torch.no_grad()
def _largest_error(dilated: Backbone, plain: Backbone, image: Tensor) -> float:
    """Return the largest `_common_grid_error` of all maps; infinity if one is not a number."""
    plain.load_state_dict(dilated.state_dict())
    with _evaluating(dilated), _evaluating(plain):
        pairs = zip(dilated(image), plain(image), strict=True)
        errors = [_common_grid_error(found, expected) for found, expected in pairs]
    return max(errors) if all(map(math.isfinite, errors)) else math.inf


@contextlib.contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def _common_grid_error(found: Tensor, expected: Tensor) -> float:
    step = [a // b for a, b in zip(found.shape[-2:], expected.shape[-2:], strict=True)]
    difference = found[..., :: step[0], :: step[1]] - expected
    return float(difference.norm() / expected.norm().clamp(min=1e-12))


def choose(spec: str, strides: Sequence[int]) -> list[int]:
    """Return the indices of the last map at each of the strides 4, 8, 16 and 32.

    Raises:
        UserError: One of these strides has no map.
    """
    last = {stride: index for index, stride in enumerate(strides)}
    require_strides(spec, [stride for stride in STRIDES if stride in last], STRIDES[-1])
    return [last[stride] for stride in STRIDES]
