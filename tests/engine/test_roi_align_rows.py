"""RoIAlign by sums of rows, against torchvision's kernel in float64."""

import itertools

import pytest
import torch

from engine import roi_align_rows
from engine.roi_align_rows import Geometry, pool_levels

SHAPES = [(2, 5, 13, 17), (2, 5, 7, 9), (2, 5, 4, 5)]
SCALES = [1 / 4, 1 / 8, 1 / 16]


@pytest.fixture
def regions():
    """Regions inside, across each border, outside, without area, wide, and none at all on the last level."""
    generator = torch.Generator().manual_seed(3)
    corners = torch.rand(40, 2, generator=generator) * 90 - 15
    sizes = torch.rand(40, 2, generator=generator) * 60
    sizes[0], sizes[1] = 0.0, torch.tensor([80.0, 3.0])
    corners[2] = 500.0
    images = torch.randint(0, 2, (40, 1), generator=generator)
    levels = torch.arange(40) % 2
    return torch.cat([images, corners, corners + sizes], dim=1), levels


def _features(dtype):
    generator = torch.Generator().manual_seed(4)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in SHAPES]


@pytest.mark.parametrize(
    ("ratio", "aligned", "layout"),
    list(itertools.product([0, 2], [True, False], [torch.contiguous_format, torch.channels_last])),
)
def test_equals_torchvision(regions, ratio, aligned, layout):
    rois, levels = regions
    features = _features(torch.float32)
    exact = [feature.detach().double().requires_grad_() for feature in features]
    geometries = [
        Geometry(shape, 3, 2, scale, ratio, aligned)
        for shape, scale in zip(SHAPES, SCALES, strict=True)
    ]
    found = pool_levels(
        [feature.contiguous(memory_format=layout) for feature in features], rois, levels, geometries
    )
    expected = torch.zeros(len(rois), 5, 3, 2, dtype=torch.float64)
    for level, (feature, scale) in enumerate(zip(exact, SCALES, strict=True)):
        on_level = levels == level
        expected = expected.index_put(
            (on_level.nonzero().flatten(),),
            torch.ops.torchvision.roi_align(
                feature, rois[on_level].double(), scale, 3, 2, ratio, aligned
            ),
        )
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=1e-5)
    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(5))
    found.backward(upstream)
    expected.backward(upstream.double())
    for feature, reference in zip(features, exact, strict=True):
        torch.testing.assert_close(feature.grad.double(), reference.grad, atol=2e-5, rtol=1e-5)


def test_gradients_of_bfloat16_features_are_summed_in_float32(regions):
    rois, levels = regions
    geometries = [Geometry(s, 3, 2, f, 2, True) for s, f in zip(SHAPES, SCALES, strict=True)]
    coarse = _features(torch.bfloat16)
    fine = [feature.detach().float().requires_grad_() for feature in coarse]
    for features in (coarse, fine):
        pooled = pool_levels(features, rois, levels, geometries)
        assert pooled.dtype == torch.float32
        pooled.square().sum().backward()
    for feature, reference in zip(coarse, fine, strict=True):
        assert torch.equal(feature.grad, reference.grad.bfloat16())


def test_no_gradient_for_a_frozen_map(regions, monkeypatch):
    rois, levels = regions
    geometries = [Geometry(s, 3, 2, f, 2, True) for s, f in zip(SHAPES, SCALES, strict=True)]
    features = _features(torch.float32)
    features[0].requires_grad_(False)
    computed = []
    original = roi_align_rows._gradient
    monkeypatch.setattr(
        roi_align_rows,
        "_gradient",
        lambda *arguments: computed.append(arguments) or original(*arguments),
    )
    pool_levels(features, rois, levels, geometries).sum().backward()
    assert features[0].grad is None and len(computed) == 2


def test_without_regions():
    geometries = [Geometry(s, 3, 2, f, 0, True) for s, f in zip(SHAPES, SCALES, strict=True)]
    features = _features(torch.float32)
    pooled = pool_levels(features, torch.zeros(0, 5), torch.zeros(0, dtype=torch.long), geometries)
    pooled.sum().backward()
    assert pooled.shape == (0, 5, 3, 2)
    assert all(not feature.grad.any() for feature in features)
