"""RoI features at exact locations, in every number format."""

import pytest
import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

from det.roi_extractor import Float32RoIExtractor

STRIDES = (4, 8, 16, 32)
IMAGE = 704
OPTIONS = dict(
    roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=2),
    out_channels=2,
    featmap_strides=list(STRIDES),
)
# Corners around 600 px that bfloat16 cannot hold; the last two belong to coarser levels.
ROIS = torch.tensor(
    [
        [0, 601.3, 610.7, 641.9, 655.2],
        [0, 590.1, 33.4, 633.3, 81.6],
        [0, 401.7, 398.2, 601.3, 603.9],
        [0, 102.3, 99.1, 601.7, 602.9],
    ]
)
# floor(log2(√area / 56)), as in FPN (1612.03144, Eq. 1) with 56 px for the finest level.
LEVELS = (0, 0, 1, 3)


def ramps(dtype):
    """Feature maps whose two channels hold the column and the row of each location."""
    maps = []
    for stride in STRIDES:
        places = torch.arange(IMAGE // stride, dtype=torch.float32)
        rows, columns = torch.meshgrid(places, places, indexing="ij")
        maps.append(torch.stack([columns, rows])[None].to(dtype))
    return tuple(maps)


def centres():
    """What pooling a ramp gives: the RoI's centre in locations, where location 0 has its centre at half a stride."""
    strides = torch.tensor([STRIDES[level] for level in LEVELS])
    x = (ROIS[:, 1] + ROIS[:, 3]) / 2 / strides - 0.5
    y = (ROIS[:, 2] + ROIS[:, 4]) / 2 / strides - 0.5
    return torch.stack([x, y], dim=1)


def pooled_centres(extractor, dtype):
    pooled = extractor(ramps(dtype), ROIS.to(torch.float32))
    return pooled.float().mean(dim=(2, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_pools_at_unrounded_rois(dtype):
    torch.testing.assert_close(
        pooled_centres(Float32RoIExtractor(**OPTIONS), dtype), centres(), atol=1e-3, rtol=0
    )


def test_bin_locations():
    first = Float32RoIExtractor(**OPTIONS)(ramps(torch.bfloat16), ROIS[:1])[0]
    _, x1, y1, x2, y2 = ROIS[0].tolist()
    bins = (torch.arange(7) + 0.5) / 7
    torch.testing.assert_close(first[0, 3], (x1 + bins * (x2 - x1)) / 4 - 0.5, atol=1e-3, rtol=0)
    torch.testing.assert_close(first[1, :, 3], (y1 + bins * (y2 - y1)) / 4 - 0.5, atol=1e-3, rtol=0)


def test_stock_extractor_is_off_by_a_quarter_location():
    stock = pooled_centres(SingleRoIExtractor(**OPTIONS), torch.bfloat16)
    assert (stock - centres()).abs().max() > 0.25


def test_gradient_reaches_bfloat16_features():
    features = tuple(f.requires_grad_() for f in ramps(torch.bfloat16))
    Float32RoIExtractor(**OPTIONS)(features, ROIS).sum().backward()
    for level, feature in enumerate(features):
        assert feature.grad.dtype == torch.bfloat16
        # Each pooled value is a weighted mean, so its weights sum to one.
        expected = 7 * 7 * LEVELS.count(level)
        assert feature.grad.float().sum(dim=(0, 2, 3)).tolist() == pytest.approx(
            [expected] * 2, rel=0.01
        )


def test_task_uses_it(tiny_voc, tmp_path):
    from det.train import Detection
    from engine.cli import Options
    from engine.job import Job
    from engine.runner.precision import choose_precision
    from engine.task import prepare

    options = Options(
        config="mini", data=tiny_voc.root.parent, work_dir=tmp_path, backbone="resnet10_d-w8"
    )
    config = prepare(
        Detection(), Job(options, "resnet10_d-w8", None, choose_precision("fp32", "cpu"))
    )
    assert config.model.roi_head.bbox_roi_extractor.type == "Float32RoIExtractor"
