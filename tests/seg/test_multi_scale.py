"""The further test protocols: several scales, flipped, and sliding windows."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel
from mmseg.structures import SegDataSample
from support.processes import run_ranks
from torch import nn

from engine.cli import Options
from engine.job import resolve_job
from engine.runner.distributed import join, leave
from engine.task import prepare
from seg.multi_scale import StreamedTTA, evaluate, pipeline
from seg.train import Segmentation

STEPS = [
    dict(type="LoadImage"),
    dict(type="Resize", scale=(160, 100), keep_ratio=True),
    dict(type="LoadLabels", num_classes=3),
    dict(type="PackSegInputs"),
]


def test_pipeline_multiplies_scales_and_keeps_labels():
    load, augment = pipeline(STEPS, dict(scales=(0.5, 1.75), flip=True))
    assert load == dict(type="LoadImage")
    sizes, flips, labels, pack = augment["transforms"]
    assert [size["scale"] for size in sizes] == [(80, 50), (280, 175)]
    assert all(size["keep_ratio"] for size in sizes)
    assert [flip["prob"] for flip in flips] == [0, 1]
    # After resizing and flipping, so that they stay as they are in the file.
    assert (labels, pack) == ([STEPS[2]], [STEPS[3]])
    assert STEPS[1]["scale"] == (160, 100)
    (_, augment) = pipeline(STEPS, dict(scales=(1.0,), flip=False))
    assert len(augment["transforms"][0]) == len(augment["transforms"][1]) == 1


class _Canned(nn.Module):
    """Returns its inputs as logits."""

    out_channels = 4

    def test_step(self, data):
        return [SegDataSample(seg_logits=PixelData(data=data["inputs"][0]))]


@pytest.mark.filterwarnings("ignore:The shape of value")
def test_sum_matches_mmseg_mean():
    variants = list(torch.randn(6, 4, 5, 7) * 3)
    ours = StreamedTTA(_Canned()).test_step(
        {"inputs": [[logits] for logits in variants], "data_samples": [[None]] * 6}
    )
    samples = [
        SegDataSample(seg_logits=PixelData(data=logits), metainfo=dict(img_path="a"))
        for logits in variants
    ]
    theirs = SegTTAModel(_Canned()).merge_preds([samples])
    mean = torch.stack([logits.softmax(dim=0) for logits in variants]).mean(dim=0)
    assert torch.equal(ours[0].pred_sem_seg.data[0], mean.argmax(dim=0))
    assert torch.equal(ours[0].pred_sem_seg.data[0], theirs[0].pred_sem_seg.data.squeeze())


def _run(run_seg, data, work, *options):
    assert run_seg(data, work, "--backbone", "resnet10_b-w8", *options) == 0
    result = json.loads((work / "result.json").read_text())
    return {metric["name"]: metric["value"] for metric in result["metrics"]}, result["protocol"]


def test_one_unflipped_scale_is_single_test(tiny_ade, tmp_path, run_seg):
    settings = "multi_scale={'scales':[1.0],'flip':False}"
    words = ("--trick", "multi_scale_flip", "--set", settings)
    values, protocol = _run(run_seg, tiny_ade.root, tmp_path / "work", *words)
    assert values["pixacc"] > 0
    for name in ("pixacc", "miou", "macc"):
        assert values[f"{name}_ms"] == pytest.approx(values[name], rel=1e-12)
    assert protocol["test"].endswith("; _ms: mean probability over the scales 1.0")


def _assemble(root, tmp_path, *tricks, **overrides):
    options = Options(
        config="mini",
        data=root,
        work_dir=tmp_path / "work",
        backbone="resnet10_b-w8",
        precision="fp32",
        tricks=tricks,
        overrides=overrides,
    )
    config = prepare(Segmentation(), resolve_job(options))
    with DefaultScope.overwrite_default_scope("mmseg"):
        return config, MODELS.build(config.model).eval()


def test_sliding_windows_by_loop(tiny_ade, tmp_path):
    config, model = _assemble(tiny_ade.root, tmp_path, "sliding", crop_size=(48, 64))
    assert config.model.test_cfg == dict(mode="slide", crop_size=(48, 64), stride=(32, 43))
    image = torch.randn(1, 3, 90, 100)
    metas = [dict(ori_shape=(90, 100), img_shape=(90, 100), pad_shape=(90, 100))]
    with torch.no_grad():
        found = model.inference(image, metas)
        total, count = torch.zeros(1, 3, 90, 100), torch.zeros(1, 1, 90, 100)
        # From the top and left in steps, the last window pushed back to the border.
        for top in (0, 32, 42):
            for left in (0, 36):
                window = (..., slice(top, top + 48), slice(left, left + 64))
                total[window] += model.encode_decode(image[window], metas)
                count[window] += 1
    torch.testing.assert_close(found, total / count, rtol=1e-4, atol=1e-4)
    assert "sliding windows of 64x48 every 43x32 pixels" in Segmentation().protocol(config)["test"]


def _evaluate(model, config):
    join("cpu")
    runner = SimpleNamespace(cfg=config, model=model, hooks=[])
    with DefaultScope.overwrite_default_scope("mmseg"):
        found = evaluate(runner, {"scales": (0.5, 1.0), "flip": True})
    leave()
    return found


@pytest.mark.parametrize("processes", [2, 3])  # for two images
def test_processes_share_images(tiny_ade, tmp_path, processes):
    config, model = _assemble(tiny_ade.root, tmp_path)
    config.val_dataloader.num_workers = 0
    with torch.no_grad():
        # Fresh weights predict one class everywhere.
        model.decode_head.conv_seg.weight.normal_(std=1.0)
    alone = _evaluate(model, config)
    assert 0 < alone.pixacc < 1 and len(set(alone.accuracy.nan_to_num().tolist())) > 1
    for shared in run_ranks(_evaluate, model, config, processes=processes):
        assert (shared.pixacc, shared.miou, shared.macc) == (alone.pixacc, alone.miou, alone.macc)
        assert torch.equal(shared.iou.nan_to_num(2), alone.iou.nan_to_num(2))


def test_flipped_prediction_is_flipped_back(tiny_ade, tmp_path):
    _, model = _assemble(tiny_ade.root, tmp_path)
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)

    def sample(**more):
        meta = dict(ori_shape=(64, 64), img_shape=(64, 64), pad_shape=(64, 64), **more)
        return SegDataSample(metainfo=meta)

    mirrored = sample(flip=True, flip_direction="horizontal")
    with torch.no_grad():
        ours = StreamedTTA(model).test_step(
            {"inputs": [[image], [image.flip(2)]], "data_samples": [[sample()], [mirrored]]}
        )
        parts = []
        for view in (image, image.flip(2)):
            (answer,) = model.test_step({"inputs": [view], "data_samples": [sample()]})
            parts.append(answer.seg_logits.data.softmax(dim=0))
    expected = (parts[0] + parts[1].flip(2)).argmax(dim=0)
    assert torch.equal(ours[0].pred_sem_seg.data[0], expected)
