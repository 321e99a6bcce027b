"""The learning rates that networks declare for some of their parameters."""

import pytest
from torch import nn

import backbones
from backbones.backbone import Feature
from backbones.foreign.wrapper import ForeignBackbone


@pytest.mark.parametrize(
    ("suffix", "factors"),
    [("", {}), ("-dcn", {}), ("-dcnv2", {"conv_offset": 0.1}), ("-dcnv2@4", {"conv_offset": 0.1})],
)
def test_zoo(suffix, factors):
    assert backbones.create(f"resnet10_d-w8{suffix}").lr_multipliers() == factors


class Deformable(nn.Conv2d):
    """A deformable convolution as mmcv and detectron2 build them."""

    def __init__(self, per_tap, groups=1):
        super().__init__(4, 4, 3)
        self.deform_groups = groups
        self.conv_offset = nn.Conv2d(4, per_tap * 9 * groups, 3)


def _foreign(trunk):
    return ForeignBackbone("own:Net", trunk, lambda *_: [], [Feature("map1", 4, 4)])


@pytest.mark.parametrize("groups", [1, 2])
def test_foreign_dcnv2_offset_lr(groups):
    assert _foreign(nn.Sequential(Deformable(3, groups))).lr_multipliers() == {"conv_offset": 0.1}
    # Version 1 predicts no mask, and its offsets learn as all else.
    assert _foreign(nn.Sequential(Deformable(2, groups))).lr_multipliers() == {}


def test_own_network_lr():
    by_module = nn.Sequential(nn.Linear(2, 2))
    by_module[0].lr_multiplier = 0.5
    assert _foreign(by_module).lr_multipliers() == {"0": 0.5}

    class Network(nn.Sequential):
        def lr_multipliers(self):
            return {"conv_offset": 1.0, "stem": 0.2}

    assert _foreign(Network(Deformable(3))).lr_multipliers() == {"conv_offset": 1.0, "stem": 0.2}
