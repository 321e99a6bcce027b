"""The classifier on a pretended GPU: every trick that touches the model, the loss, mixing or the optimiser."""

import runpy

import pytest
import torch
from support.checkpoints import METADATA, write_classifier
from support.gpu_tasks import ON_THE_CPU
from support.one_step import batches_of, config_of, one_step
from support.pretend_cuda import pretend_cuda

from cls_train.assemble import CONFIGS
from cls_train.train import Classification
from engine import config as configs

TASK = Classification()
SPEC = "resnet10_b-w8"


def _keys(trick):
    found = runpy.run_path(str(configs.find(CONFIGS / "tricks", trick, "trick")))
    return {key for key in found if not key.startswith("_")}


TRICKS = [trick for trick in configs.names(CONFIGS / "tricks") if _keys(trick) - ON_THE_CPU]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A classifier with another normalisation than the student's, which Distillation converts."""
    path = tmp_path_factory.mktemp("teacher") / "backbone.safetensors"
    write_classifier(path, METADATA, classes=3, seed=1)
    return path


@pytest.fixture(scope="module")
def batches(image_folder, tiny_config):
    return batches_of(TASK, config_of(TASK, tiny_config, image_folder, backbone=SPEC))


@pytest.fixture
def step(image_folder, tiny_config, batches, teacher):
    def take(*tricks, **options):
        with_teacher = {"teacher": teacher} if any("distil" in trick for trick in tricks) else {}
        config = config_of(
            TASK, tiny_config, image_folder, backbone=SPEC, tricks=tricks, **with_teacher, **options
        )
        return one_step(TASK, config, batches)

    return take


def test_tricks_of_several_kinds_are_found():
    assert {"mixup", "focal_loss", "lars", "distillation", "clip_grad_norm", "l2"} <= set(TRICKS)
    assert not {"cosine", "cutout", "ema"} & set(TRICKS)


@pytest.mark.parametrize("trick", TRICKS)
def test_step_with_trick(trick, step):
    expected = step(trick, precision="fp32")
    with pretend_cuda():
        found = step(trick, precision="fp32")
    assert expected.devices == {"cpu"} and found.devices == {"cuda"}
    assert found.losses == expected.losses
    assert len(found.predictions) == len(expected.predictions)
    # Norms of many tensors are added in another order.
    for name, weight in expected.weights.items():
        torch.testing.assert_close(found.weights[name], weight)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_step_in_mixed_precision(precision, step):
    exact = step(precision="fp32").losses["loss"]
    with pretend_cuda():
        found = step(precision=precision)
    # The head's bfloat16 logits have eight bits.
    assert found.losses["loss"] == pytest.approx(exact, rel=0.3)
    assert found.losses["loss"] != exact
    assert found.devices == {"cuda"}
