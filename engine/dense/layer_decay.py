"""Layer-wise decay of the learning rate: the trick `layer_decay` of dense tasks."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from contract.errors import UserError


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor(DefaultOptimWrapperConstructor):
    """Smaller learning rates for earlier stages of the backbone: lr · decayᵈ, d stages below the heads.

    Neck and heads have d = 0, the last stage 1, the one before it 2, the stem 1 + the number of stages. The rule is
    the one of BEiT and ConvNeXt (2106.08254, 2201.03545) and of mmdet's `stage_wise`, for any network that lists its
    stages.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimiser and scale the rate of each parameter's group."""
        rules = dict(self.paramwise_cfg or {})
        decay = rules.pop("layer_decay")
        # Without any rule, mmengine puts all parameters into one group.
        self.paramwise_cfg = rules or dict(bias_lr_mult=1.0)
        wrapper = super().__call__(model)
        network: Any = model.module if hasattr(model, "module") else model
        stages = network.backbone.net.stages()
        below = {
            parameter: len(stages) - depth
            for depth, modules in enumerate(stages)
            for module in modules
            for parameter in module.parameters()
        }
        for group in wrapper.param_groups:
            (parameter,) = group["params"]
            group["lr"] *= decay ** below.get(parameter, 0)
        return wrapper


def wire_layer_decay(config: Config) -> None:
    """Remove `layer_decay` from a config and set the optimiser's constructor accordingly.

    Raises:
        UserError: The value is not a factor, or the backbone is frozen.
    """
    decay = config.pop("layer_decay", None)
    if decay is None:
        return
    if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 < decay <= 1:
        raise UserError(
            f"layer_decay={decay!r}; expected a factor above 0 and at most 1, such as 0.7, or None"
        )
    if config.model.backbone.get("frozen"):
        raise UserError(
            "layer_decay and frozen_backbone contradict each other: nothing of the backbone is trained; leave out one"
        )
    config.optim_wrapper.constructor = LayerDecayConstructor.__name__
    rules = config.optim_wrapper.get("paramwise_cfg") or ConfigDict()
    config.optim_wrapper.paramwise_cfg = ConfigDict(rules, layer_decay=float(decay))
