"""The interface of all backbones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from contract.errors import UserError

OUTPUT_STRIDES = (32, 16, 8)


class OutputStrideError(UserError):
    """A network cannot be built at the requested output stride, but it can at 32."""


class Feature(NamedTuple):
    """One feature map of a backbone; necks and heads take their widths from it.

    Attributes:
        name: The stage that yields the map, as in `"layer1"`.
        channels: Number of channels of the map.
        stride: Input pixels per location of the map, at the output stride that was built.
    """

    name: str
    channels: int
    stride: int


class Backbone(nn.Module, ABC):
    """A network that turns images into feature maps, one per stage.

    Attributes:
        input_size: Published height and width of input images; other sizes work too.
        feature_info: One `Feature` per map that `forward` returns, in the same order.
        image_multiple: `forward` pads the sides of images to multiples of this number of pixels.
        aligned: Whether location i of a map is centred near pixel i · stride of the image, as necks and heads assume.
            False for a network without padding, which can only classify.
        aligned_spec: A spec of the same network with aligned maps; None if there is none.
        output_stride: The output stride that the network was built with.
        own_initialisation: Whether the network's library initialises the weights, instead of `backbones.initialise`.
    """

    input_size: int = 224
    feature_info: list[Feature]
    image_multiple: int = 1
    aligned: bool = True
    aligned_spec: str | None = None
    output_stride: int = 32
    own_initialisation: ClassVar[bool] = False

    @property
    def plain(self) -> bool:
        """Whether it has a single map, like a plain vision transformer; the output stride does not apply to it."""
        return len(self.feature_info) == 1

    @abstractmethod
    def forward(self, x: Tensor, maps: int | None = None) -> list[Tensor]:
        """Compute the feature maps of a batch.

        Args:
            x: Float images of shape (N, C, H, W), normalised.
            maps: Stop after this many maps; None computes all.

        Returns:
            One float map per entry of `feature_info`, or per one of the first `maps`. Each has the shape
            (N, feature.channels, ⌈H / feature.stride⌉, ⌈W / feature.stride⌉); without padding it is smaller.
        """

    @abstractmethod
    def stages(self) -> list[list[nn.Module]]:
        """List the modules that hold parameters, by depth.

        Returns:
            One list for the stem (index 0), then one per feature map, or per block of a plain transformer. Together
            they contain every parameter and every buffer exactly once.
        """

    def lr_multipliers(self) -> dict[str, float]:
        """Return learning-rate factors of modules that need a different rate.

        A module declares it by its attribute `lr_multiplier`; a network may override this method.

        Returns:
            Factors on the learning rate by the last part of a module's name, such as
            `{"conv_offset": 0.1}`; empty if all parameters have the same rate.
        """
        declared = {}
        for name, module in self.named_modules():
            factor: Any = getattr(module, "lr_multiplier", 1)
            if factor != 1:
                declared[name.rpartition(".")[2]] = float(factor)
        return declared

    def freeze(self, stages: int) -> list[nn.Module]:
        """Freeze the stem and the first stages.

        `stages` has the meaning of MMDetection's `frozen_stages`. Only `requires_grad` is changed. Batch statistics
        are still updated in training mode: a caller that overrides `train` has to call `eval` on the returned
        modules.

        Args:
            stages: -1 freezes nothing, 0 the stem, n ≥ 1 the stem and the first n stages.

        Returns:
            The frozen modules, in the order of the forward pass.

        Raises:
            UserError: The network has fewer stages.
        """
        if stages == -1:
            return []
        by_depth = self.stages()
        deepest = len(by_depth) - 1
        if not -1 <= stages <= deepest:
            raise UserError(
                f"frozen stages {stages} is out of range; expected -1 (nothing), 0 (the stem) "
                f"or 1 to {deepest} (the stem and that many stages)"
            )
        frozen = [module for group in by_depth[: stages + 1] for module in group]
        for module in frozen:
            module.requires_grad_(False)
        return frozen
