"""Networks as users write them, for specs such as `own_networks:Maps`."""

from __future__ import annotations

import torch
from torch import nn

import backbones


def _step(channels, width, stride):
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )


class Maps(nn.Module):
    """Returns five maps, of strides 2 to 32."""

    def __init__(self):
        super().__init__()
        self.steps = nn.ModuleList(
            _step(a, b, 2) for a, b in ((3, 4), (4, 8), (8, 12), (12, 16), (16, 20))
        )

    def forward(self, x):
        found = []
        for step in self.steps:
            x = step(x)
            found.append(x)
        return found


class Scaled(Maps):
    """Computes its maps outside of its modules."""

    def forward(self, x):
        return [2 * values for values in super().forward(x)]


class Patches(nn.Module):
    """Returns one map, of stride 16."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 16, 16)

    def forward(self, x):
        return [self.embed(x)]


class Named(Maps):
    """The same in a dictionary, by a class that knows its output stride."""

    def __init__(self, output_stride=32):
        super().__init__()
        self.asked = output_stride
        for step, stride in zip(self.steps, (2, 4, 8, 16, 32), strict=True):
            if stride > output_stride:
                step[0].stride = (1, 1)
                taps = max(1, stride // 2 // output_stride)
                step[0].dilation = step[0].padding = (taps, taps)

    def forward(self, x):
        return {f"p{number}": values for number, values in enumerate(super().forward(x))}


class Classifier(nn.Module):
    """A classifier with every layer that can stride: convolutions, patches, pools; and a residual block."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(_step(3, 4, 2), nn.MaxPool2d([3, 3], 2, [1, 1]))
        self.stage1 = _step(4, 8, 1)
        self.stage2 = nn.Sequential(nn.MaxPool2d(2), _step(8, 8, 1))
        self.stage3 = nn.Sequential(nn.Conv2d(8, 12, 2, 2), nn.GELU(), _step(12, 12, 1))
        self.main, self.shortcut = _step(12, 16, 2), nn.Conv2d(12, 16, 1, 2)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.stage3(self.stage2(self.stage1(self.stem(x))))
        x = self.main(x) + self.shortcut(x)
        return self.head(x.mean((2, 3)))


class Averaging(Classifier):
    """Its last stage begins with an average pool, which at output stride 8 would have to dilate."""

    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(12, 16, 1))


class Flat(nn.Module):
    """Returns vectors."""

    def forward(self, x):
        return [x.mean((2, 3))]


def number():
    """No network."""
    return 7


def wants(size):
    """Cannot be called without arguments."""
    return size


def plain_backbone():
    """A `Backbone` that ignores the output stride and has 32."""
    return backbones.create("resnet10_d-w8")


class Silenced(Maps):
    """Dilates by itself, and wrongly: its residual branch, which starts silent, still sees the nearest locations."""

    def __init__(self, output_stride=32):
        super().__init__()
        self.branch = nn.Conv2d(20, 20, 3, padding=1, bias=False)
        self.gain = nn.Parameter(torch.zeros(20, 1, 1))
        if output_stride == 16:
            self.steps[-1][0].stride = (1, 1)

    def forward(self, x):
        found = super().forward(x)
        found[-1] = found[-1] + self.gain * self.branch(found[-1])
        return found


class Shifted(Maps):
    """Dilates by itself, and wrongly: the last stage sees the locations beside those it was trained on."""

    def __init__(self, output_stride=32):
        super().__init__()
        if output_stride == 16:
            convolution = self.steps[-1][0]
            convolution.stride = (1, 1)
            self.roll = True

    def forward(self, x):
        found = super().forward(x)
        if getattr(self, "roll", False):
            found[-1] = found[-1].roll(1, dims=3)
        return found


class Branched(Maps):
    """Its last step but one has a branch that leads only to its own map, as the fusions of HRNet."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Conv2d(16, 16, 1)

    def forward(self, x):
        found = super().forward(x)
        found[-2] = found[-2] + self.branch(found[-2])
        return found
