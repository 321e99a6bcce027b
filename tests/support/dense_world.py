"""A dense task with a tiny dataset, for the tests of common code."""

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from support.checkpoints import SPEC
from support.dataset_trees import tiny_ade20k, tiny_devkit
from support.tasks import resolved, run_task

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of OpenMMLab's packages at their import
    import engine  # noqa: F401, I001  (it stands in for mmcv's compiled ops, which mmdet wants)
    from mmdet.models import FasterRCNN
    from mmengine.registry import MODELS, DefaultScope
    from mmseg.models import EncoderDecoder

    from det.train import Detection
    from seg.train import Segmentation
from engine.dense.task import DenseTask


@dataclass
class DenseWorld:
    """One dense task.

    Attributes:
        task: The task.
        folder: For data and work dirs.
        full: Its config of the published schedule; the other one is `mini`.
        network: mmdet's or mmseg's class of the whole network.
        by_epoch: Whether `mini` counts epochs.
        age: Mean age of averaged weights with the trick `ema`, in epochs.
        classes: Names of the classes.
        train_images: The folder of images that a truncated one breaks training in.
    """

    task: DenseTask
    folder: Path
    full: str
    network: type
    by_epoch: bool
    age: float
    classes: tuple[str, ...]
    tree: object = field(init=False)

    def __post_init__(self):
        if self.task.name == "det":
            self.tree = tiny_devkit(self.folder / "VOCdevkit")
        else:
            self.tree = tiny_ade20k(self.folder / "ADEChallengeData2016")

    @property
    def name(self):
        return self.task.name

    @property
    def data(self):
        return self.tree.root.parent if self.name == "det" else self.tree.root

    @property
    def train_images(self):
        within = "JPEGImages" if self.name == "det" else "images/training"
        return self.tree.root / within

    def run(self, work, *options, data=None, budget="smoke", config="mini"):
        """Run the task in this process; return its exit status."""
        return run_task(self.task, data or self.data, work, *options, budget=budget, config=config)

    def command(self, work, *options):
        """Return the command that starts the task in another process."""
        common = ["-m", self.task.entry.module, "mini", "--data", self.data, "--work-dir", work]
        return [str(word) for word in (*common, *options)]

    def assembled(
        self, config="mini", backbone=None, checkpoint=None, tricks=(), data=None, **overrides
    ):
        """Assemble a config, by default with random weights."""
        backbone = backbone or (None if checkpoint else SPEC)
        data, work_dir = data or self.data, self.folder / "work"
        return resolved(
            self.task, data, work_dir, config, backbone, checkpoint, tricks, **overrides
        )

    def build(self, config):
        """Build the network of a config."""
        with DefaultScope.overwrite_default_scope(self.task.scope):
            return MODELS.build(config.model)

    def own_config(self, text, base="mini"):
        """Write a config that inherits from one of the task's."""
        path = self.folder / "own.py"
        path.write_text(f"_base_ = {str(self.task.configs / f'{base}.py')!r}\n{text}\n")
        return path

    def settings(self, epochs, validate, batch=2):
        """Options of a short training on the four images, validated every few epochs."""
        per_epoch = 4 // batch
        length = ("max_epochs", 1) if self.by_epoch else ("max_iters", per_epoch)
        found = {
            f"train_cfg.{length[0]}": epochs * length[1],
            "train_cfg.val_interval": validate * length[1],
            "train_dataloader.batch_size": batch,
            "auto_scale_lr.base_batch_size": batch,
            "train_dataloader.num_workers": 0,
            "val_dataloader.num_workers": 0,
            "image_scale": (96, 96),
        }
        if not self.by_epoch:
            found["default_hooks.checkpoint.interval"] = length[1]
        if self.name == "seg":
            found["crop_size"] = (64, 64)
        return [word for key, value in found.items() for word in ("--set", f"{key}={value}")]

    def saved(self, work, epoch):
        """The file that a run saves after an epoch of two steps."""
        return Path(work) / (f"epoch_{epoch}.pth" if self.by_epoch else f"iter_{2 * epoch}.pth")


def dense_world(name, folder):
    """The world of `det` or `seg`."""
    if name == "det":
        return DenseWorld(Detection(), folder, "voc0712", FasterRCNN, True, 0.5, ("cat", "dog"))
    classes = ("sky", "tree", "road")
    return DenseWorld(Segmentation(), folder, "ade20k", EncoderDecoder, False, 1.0, classes)


def result_of(work):
    """What a run wrote as its result."""
    return json.loads((Path(work) / "result.json").read_text())
