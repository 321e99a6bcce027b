"""Parameters that get no gradient: distributed training would wait for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from backbones.gradients import without_gradient
from engine.measure.preserve_state import preserve_state

# A multiple of every stride.
_SIDE = 64


def unused_parameters(model: nn.Module) -> list[str]:
    """Return the names of the backbone's trained parameters that do not reach the maps that the model reads.

    Such are branches that lead only to other maps, as in HRNet. The backbone computes the maps of one small image; its
    state and the random generators stay as they are.

    Args:
        model: A task's model. Its attribute `maps_read`, if it has one, is the indices of the maps that it reads;
            otherwise it reads all. `parts_in_heads`, if it has them, are modules of the backbone that its heads use.
    """
    backbone = getattr(model, "backbone", None)
    parameter = next(backbone.parameters(), None) if isinstance(backbone, nn.Module) else None
    if backbone is None or parameter is None:
        return []
    image = torch.zeros(1, 3, _SIDE, _SIDE, device=parameter.device)
    with preserve_state(backbone), torch.enable_grad():
        maps = backbone(image)
        read = getattr(model, "maps_read", None)
        chosen = maps if read is None else [maps[index] for index in read]
        if any(values.requires_grad for values in chosen):
            names = without_gradient(backbone, chosen)
        else:
            names = [name for name, p in backbone.named_parameters() if p.requires_grad]
    parts: Any = getattr(model, "parts_in_heads", ())
    used = {id(p) for part in parts for p in part.parameters()}
    return [name for name in names if id(backbone.get_parameter(name)) not in used]
