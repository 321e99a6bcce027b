"""Architectures of timm, a small one of each family: their maps, and a step of training in both dense tasks.

Dilated forms are compared in tests/backbones/foreign/test_build.py; docs/architectures.md has them all.
"""

import functools
import math

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import utils
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from support.smallest_sets import write_detection, write_segmentation

from det.train import Detection
from engine.cli import Options
from engine.job import resolve_job
from engine.task import prepare
from seg.train import Segmentation

FOUR_MAPS = """
resnet10t resnest14d regnetx_002 regnety_002 densenet121 dla46_c
repvgg_a0 hgnetv2_b0 ese_vovnet19b_dw gernet_s cs3darknet_focus_s
mobilenetv2_035 mobilenetv3_small_050 mobilenetv4_conv_small_050 efficientnet_lite0 tf_efficientnet_b0 mnasnet_small
ghostnet_050 ghostnetv2_100 rexnet_100 repghostnet_050 lcnet_035 tinynet_e
convnext_atto convnextv2_atto edgenext_xx_small inception_next_atto starnet_s1 repvit_m0_9 fastvit_t8 mambaout_femto
poolformer_s12 maxvit_pico_rw_256 pvt_v2_b0 tiny_vit_5m_224 efficientvit_b0 mobilevit_xxs mobilevitv2_050
"""
# One map each, and a pyramid; of patches of 16 pixels and of 14, with two class tokens, with rotary positions.
PLAIN = """
vit_tiny_patch16_224 deit_tiny_distilled_patch16_224 eva02_tiny_patch14_224
xcit_nano_12_p16_224
"""
DENSE_TASKS = {"det": Detection(), "seg": Segmentation()}
SIZE = (64, 96)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The smallest sets that the two layouts admit."""
    root = tmp_path_factory.mktemp("data")
    write_detection(root / "det")
    write_segmentation(root / "seg")
    return root


@pytest.fixture(scope="module", autouse=True)
def _read_package_index_once():
    """mmengine reads a hundred YAML files for every config that inherits from a package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "load", functools.cache(utils.load))
        yield


@pytest.fixture
def build(data, tmp_path):
    """Assemble a task's mini config for a network, and build its model and optimiser."""

    def build(task, name, **overrides):
        options = Options(
            config="mini",
            data=data / task,
            work_dir=tmp_path,
            backbone=f"timm:{name}",
            precision="fp32",
            overrides=overrides,
        )
        torch.manual_seed(0)
        config = prepare(DENSE_TASKS[task], resolve_job(options))
        with DefaultScope.overwrite_default_scope(DENSE_TASKS[task].scope):
            model = MODELS.build(config.model)
            return model.train(), build_optim_wrapper(model, config.optim_wrapper)

    return build


def _assert_maps_are_as_declared(backbone, size=(75, 100)):
    backbone.eval()
    with torch.no_grad():
        found = backbone(torch.rand(1, 3, *size))
    backbone.train()
    declared = [
        (f.channels, *(math.ceil(side / f.stride) for side in size)) for f in backbone.feature_info
    ]
    assert [tuple(values.shape[1:]) for values in found] == declared


def _detection_samples():
    height, width = SIZE
    boxes = torch.tensor([[8.0, 8.0, width - 20.0, height - 8.0]])
    info = dict(img_shape=SIZE, pad_shape=SIZE, batch_input_shape=SIZE)
    return [
        DetDataSample(
            metainfo=info,
            gt_instances=InstanceData(bboxes=boxes, labels=torch.tensor([label])),
            ignored_instances=InstanceData(bboxes=boxes[:0], labels=torch.zeros(0).long()),
        )
        for label in (0, 1)
    ]


def _segmentation_samples():
    labels = torch.arange(SIZE[1]).div(40, rounding_mode="floor").expand(1, *SIZE)
    return [SegDataSample(gt_sem_seg=PixelData(data=labels)) for _ in range(2)]


def _assert_trains(model, optim_wrapper, samples):
    """One step: a finite loss, a gradient for every parameter, and other weights than before."""
    loss, _ = model.parse_losses(model.loss(torch.randn(2, 3, *SIZE), samples))
    assert loss.isfinite()
    optim_wrapper.backward(loss)
    # Several processes would wait for a gradient that never comes.
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    net = model.backbone.net
    before = [parameter.detach().clone() for parameter in net.parameters()]
    optim_wrapper.step()
    pairs = zip(before, net.parameters(), strict=True)
    changed = [not torch.equal(old, new) for old, new in pairs]
    assert sum(changed) > len(changed) / 2
    assert all(parameter.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize("name", [*FOUR_MAPS.split(), *PLAIN.split()])
def test_trains_in_both_dense_tasks(build, name):
    detector, optim_wrapper = build("det", name)
    assert [f.stride for f in detector.backbone.feature_info] == [4, 8, 16, 32]
    _assert_maps_are_as_declared(detector.backbone)
    _assert_trains(detector, optim_wrapper, _detection_samples())

    # What dilates is found by building it twice more; a pyramid follows any output stride.
    stride = 8 if name in PLAIN.split() else 32
    segmentor, optim_wrapper = build("seg", name, **{"model.backbone.output_stride": stride})
    assert segmentor.backbone.feature_info[-1].stride == stride
    _assert_maps_are_as_declared(segmentor.backbone)
    _assert_trains(segmentor, optim_wrapper, _segmentation_samples())


def test_number_of_architectures():
    assert len({*FOUR_MAPS.split(), *PLAIN.split()}) >= 40
