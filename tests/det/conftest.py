"""Tiny sets in the Pascal VOC layout, and hand-off checkpoints."""

import pytest
import torch
from PIL import Image, ImageDraw

import backbones
import det  # noqa: F401  (before any test module imports mmdet: it puts mmcv's ops in place)
from backbones import CheckpointMetadata

SPEC = "resnet10_d-w8"


class VocTree:
    """A tree of the VOC layout that is written file by file.

    An object is `(name, xmin, ymin, xmax, ymax)` in VOC's pixels, which count from 1, with an optional sixth
    entry for `difficult`.
    """

    def __init__(self, root):
        self.root = root
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / folder).mkdir(parents=True)

    def add(self, name, size, objects=(), told_size=None):
        """Write one image of `(width, height)` and its XML, which may tell another size."""
        image = Image.new("RGB", size, (90, 120, 90))
        pen = ImageDraw.Draw(image)
        for label, *corners in objects:
            if corners[0] < corners[2] and corners[1] < corners[3]:
                pen.rectangle(corners[:4], fill=(220, 40, 40) if label == "cat" else (40, 60, 220))
        image.save(self.root / "JPEGImages" / f"{name}.jpg", quality=95)
        width, height = told_size or size
        parts = [f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"]
        for label, x1, y1, x2, y2, *difficult in objects:
            parts.append(
                f"<object><name>{label}</name><difficult>{(difficult or [0])[0]}</difficult><bndbox>"
                f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            )
        self.xml(name).write_text(f"<annotation>{''.join(parts)}</annotation>")
        return self

    def xml(self, name):
        return self.root / "Annotations" / f"{name}.xml"

    def split(self, name, images):
        """Write `ImageSets/Main/NAME.txt`."""
        (self.root / "ImageSets" / "Main" / f"{name}.txt").write_text(
            "".join(f"{i}\n" for i in images)
        )
        return self


@pytest.fixture
def voc_tree():
    """The class, since test modules cannot import this file."""
    return VocTree


@pytest.fixture
def tiny_voc(tmp_path):
    """Four training and two test images of several sizes with two classes, in a devkit of one year."""
    tree = VocTree(tmp_path / "VOCdevkit" / "VOC2007")
    sizes = [(96, 64), (64, 96), (80, 80), (96, 72), (64, 64), (90, 70)]
    for number, size in enumerate(sizes):
        objects = [("cat", 8, 10, 40, 44), ("dog", 30 + number, 30, 60, 62)]
        tree.add(f"{number:03d}", size, objects)
    tree.split("trainval", ["000", "001", "002", "003"]).split("test", ["004", "005"])
    (tree.root.parent / "classes.txt").write_text("cat\ndog\n")
    return tree


@pytest.fixture
def checkpoint_metadata():
    """Unlike any default, so that what is taken from it can be told from what is not."""
    return CheckpointMetadata(
        spec=SPEC,
        recipe="efficient",
        tricks=("cosine",),
        top1=12.5,
        mean=(101.0, 102.0, 103.0),
        std=(51.0, 52.0, 53.0),
        channel_order="BGR",
        seed=5,
        weights="raw",
    )


@pytest.fixture
def checkpoint(tmp_path, checkpoint_metadata):
    """A hand-off file whose tensors differ from those of any fresh backbone."""
    torch.manual_seed(11)
    network = backbones.create(SPEC)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.01 * torch.rand(tensor.shape))
    path = tmp_path / "handed-off.safetensors"
    backbones.export_checkpoint(network, path, checkpoint_metadata)
    return path


@pytest.fixture
def run_det(tmp_path):
    """Runs `python -m det.train` in this process on a data folder and returns its exit status."""
    from mmdet.visualization import DetLocalVisualizer
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope

    from det.train import Detection, main

    def forget():
        # mmengine names a run by the second, and two runs of one second would share log and history.
        for logger in MMLogger._instance_dict.values():
            for handler in logger.handlers:
                handler.close()
        for manager in (DefaultScope, DetLocalVisualizer, MessageHub, MMLogger):
            manager._instance_dict.clear()

    def run(data, work_dir, *options, budget="smoke", config="mini"):
        forget()
        common = [config, "--data", str(data), "--work-dir", str(work_dir), "--budget", budget]
        return main(Detection(), [*common, *map(str, options)])

    yield run
    forget()


@pytest.fixture
def assemble_det(tiny_voc, tmp_path):
    """Assembles the mini config with tricks and overrides, and builds its detector."""
    from mmengine.registry import MODELS, DefaultScope

    from det.train import Detection
    from engine.cli import Options
    from engine.job import resolve_job
    from engine.task import prepare

    def assemble(*tricks, config="mini", spec=SPEC, **overrides):
        options = Options(
            config=config,
            data=tiny_voc.root.parent,
            work_dir=tmp_path / "work",
            backbone=spec,
            precision="fp32",
            tricks=tricks,
            overrides=overrides,
        )
        config = prepare(Detection(), resolve_job(options))
        with DefaultScope.overwrite_default_scope("mmdet"):
            return config, MODELS.build(config.model)

    return assemble
