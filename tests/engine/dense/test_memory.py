"""The estimated memory of dense tasks against the training memory that mmdet and mmsegmentation publish."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from support.smallest_sets import write_detection, write_segmentation

from det.train import Detection
from engine.cli import Options
from engine.job import resolve_job
from engine.measure.memory import GIB, step_memory
from engine.task import prepare
from seg.train import Segmentation

# GB of 2 images of 1333×800 in float32 with a frozen stem and first stage (faster_rcnn/metafile.yml, `pytorch` style),
# and of 4 crops of 512×512 with 150 classes (fcn/metafile.yml). Both libraries report max_memory_allocated / 2**30.
PUBLISHED = [
    ("det", "voc0712", "resnet50_b", 2, (800, 1344), 4.0),
    ("det", "voc0712", "resnet101_b", 2, (800, 1344), 6.0),
    ("seg", "ade20k", "resnet50_b", 4, (512, 512), 8.5),
    ("seg", "ade20k", "resnet101_b", 4, (512, 512), 12.0),
]


@pytest.mark.parametrize(("name", "config", "spec", "images", "size", "gb"), PUBLISHED)
def test_estimate_is_near_published_memory(tmp_path, name, config, spec, images, size, gb):
    task = {"det": Detection, "seg": Segmentation}[name]()
    {"det": write_detection, "seg": write_segmentation}[name](tmp_path)
    options = Options(config=config, work_dir=Path(tmp_path), data=tmp_path, backbone=spec)
    model = prepare(task, resolve_job(options)).model
    if name == "det":
        model.backbone.update(frozen_stages=1, norm_eval=True)
    else:
        model.decode_head.num_classes = model.auxiliary_head.num_classes = 150
    with DefaultScope.overwrite_default_scope(task.scope), torch.device("meta"):
        network = MODELS.build(model).train()

    def run(net, count, device):
        return task.loss_of_shapes(net, torch.empty(count, 3, *size, device=device))

    memory = step_memory(network, run)
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    assert 0.9 * gb < (memory.of(images) + weights) / GIB < 1.1 * gb
