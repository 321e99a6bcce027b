"""Every trick alone, and all compatible ones together, through training, evaluation and export."""

import json
from pathlib import Path

import pytest

import backbones
from cls_train.assemble import CONFIGS, assemble
from cls_train.metric import TopKAccuracy
from cls_train.train import Classification
from contract.errors import UserError
from engine import config as configs
from engine.cli import Options
from engine.job import Job
from engine.runner.precision import Precision
from engine.task import main

TRICKS = configs.names(CONFIGS / "tricks")
# The first of each group of alternatives is used.
ALTERNATIVES = (
    ("cosine", "exponential", "polynomial", "step_cosine", "step_every"),
    ("mixup", "cutmix", "ricap"),
    ("trivial_augment", "auto_augment", "rand_augment"),
    ("random_erasing", "random_erasing_mean", "random_erasing_constant"),
    ("distillation", "distillation_gluoncv"),
    ("clip_grad_norm", "clip_grad_value"),
    ("lars", "adam", "adabound"),
    # For labels of one class only.
    ("label_smoothing", "focal_loss"),
    # Small images are enough.
    ((), "image_299"),
)


def together():
    left_out = {name for group in ALTERNATIVES for name in group[1:]}
    return [name for name in TRICKS if name not in left_out]


@pytest.fixture(scope="module")
def teacher(image_folder, tiny_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    assert _train(image_folder, tiny_config, folder) == 0
    return folder / "backbone.safetensors"


def _train(data, config, folder, *words, backbone="resnet10_d-w8"):
    return main(
        Classification(),
        [
            str(config), "--data", str(data), "--work-dir", str(folder), "--budget", "smoke",
            "--backbone", backbone, *map(str, words),
        ],
    )  # fmt: skip


def _words(tricks, teacher):
    words = [word for name in tricks for word in ("--trick", name)]
    return [*words, "--teacher", teacher] if any("distil" in name for name in tricks) else words


def test_each_split_is_read_where_it_belongs(image_folder):
    config = _assemble(image_folder)
    assert config.train_dataloader.dataset.root == str(image_folder / "train")
    assert config.val_dataloader.dataset.root == str(image_folder / "val")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("trick", TRICKS)
def test_single_trick(trick, image_folder, tiny_config, tmp_path, teacher):
    assert _train(image_folder, tiny_config, tmp_path, *_words([trick], teacher)) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["tricks"] == [trick]
    metadata = backbones.read_metadata(tmp_path / "backbone.safetensors")
    assert metadata.tricks == (trick,)
    assert metadata.weights == ("ema" if trick == "ema" else "raw")
    assert ("weights" in result["protocol"]) == (trick == "ema")


@pytest.mark.filterwarnings("ignore")
def test_combined_tricks(image_folder, tiny_config, tmp_path, teacher):
    tricks = together()
    assert len(tricks) > 20
    assert _train(image_folder, tiny_config, tmp_path, *_words(tricks, teacher)) == 0
    assert json.loads((tmp_path / "result.json").read_text())["tricks"] == tricks


def _assemble(data, *tricks, teacher=None, **options):
    made = Options("imagenet", Path("unused"), data, tricks=tricks, teacher=teacher, **options)
    return assemble(Job(made, "resnet10_b-w8", None, Precision("float32", "cpu", "test")))


PAIRS = [
    (group[i], group[j])
    for group in ALTERNATIVES
    if group[0]
    for i in range(len(group))
    for j in range(i)
]


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_alternatives_are_refused(pair, image_folder, teacher):
    with pytest.raises(UserError, match=r"choose one|leave out one"):
        _assemble(image_folder, *pair, teacher=teacher)


def test_focal_loss_refuses_mixed_labels(image_folder):
    with pytest.raises(
        UserError, match="focal loss is defined for labels of one class, and CutMix"
    ):
        _assemble(image_folder, "focal_loss", "cutmix")


def test_distillation_needs_teacher_and_vice_versa(image_folder, teacher):
    with pytest.raises(UserError, match=r"distillation needs a teacher; name .* with --teacher"):
        _assemble(image_folder, "distillation")
    with pytest.raises(UserError, match="nothing distils; add --trick distillation"):
        _assemble(image_folder, "cosine", teacher=teacher)


@pytest.mark.filterwarnings("ignore")
def test_early_stopping(image_folder, tiny_config, tmp_path, monkeypatch):
    scores = iter([40.0, 50.0, 50.05, 50.0, 50.0, 60.0, 60.0, 60.0])
    monkeypatch.setattr(
        TopKAccuracy, "compute_metrics", lambda self, results: {"top1": next(scores), "top5": 100.0}
    )
    words = [str(tiny_config), "--data", str(image_folder), "--work-dir", str(tmp_path)]
    words += ["--backbone", "resnet10_b-w8", "--trick", "early_stopping", "--set", "epochs=8"]
    assert main(Classification(), words) == 0
    curve = json.loads((tmp_path / "curves.json").read_text())["val"]
    # Three validations without 0.1 points more than 50.0, which came in epoch 2.
    assert [point["top1"] for point in curve] == [40.0, 50.0, 50.05, 50.0, 50.0]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["metrics"][0]["value"] == 50.0
