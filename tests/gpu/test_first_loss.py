"""The loss of the first step in every precision, against the CPU in float32."""

import pytest
from support.dense_world import dense_world
from support.gpu_tasks import SMALL
from support.one_step import batches_of, config_of, one_step
from support.places import on, placed, require

from cls_train.train import Classification
from engine.runner.device import pinned_to

# float32 without TF32 differs in the order of sums; 16 bits have 11 (float16) or 8 (bfloat16) of a mantissa.
TOLERANCE = {"fp32": 1e-3, "fp16": 0.03, "bf16": 0.1}
# Nothing random: a GPU has other random numbers.
WITHOUT_DRAWS = {
    "cls": {},
    "det": {"model.train_cfg.rpn.sampler.num": 10**5, "model.train_cfg.rcnn.sampler.num": 10**5},
    "seg": {"model.decode_head.dropout_ratio": 0.0, "model.auxiliary_head.dropout_ratio": 0.0},
}
STEPS = [on("pretended", name, "bf16") for name in WITHOUT_DRAWS]
STEPS += [on("cuda", name, precision) for name in WITHOUT_DRAWS for precision in TOLERANCE]


@pytest.mark.parametrize(("place", "name", "precision"), STEPS)
def test_first_loss(place, name, precision, image_folder, tiny_config, tmp_path):
    require(place, precision)
    if name == "cls":
        task, config, data = Classification(), tiny_config, image_folder
    else:
        world = dense_world(name, tmp_path)
        task, config, data = world.task, "mini", world.data
    overrides = {**SMALL.get(name, {}), **WITHOUT_DRAWS[name]}
    # Statistics over the two images of the smoke budget, whose last map is one location, magnify rounding.
    budget = "full" if name == "cls" else "smoke"
    words = dict(backbone="resnet10_b-w8", overrides=overrides, budget=budget)
    # The reference is computed on the CPU where there is a GPU, too.
    with pinned_to("cpu"):
        plain = config_of(task, config, data, precision="fp32", device="cpu", **words)
        batches = batches_of(task, plain)
        expected = one_step(task, plain, batches)
    assert expected.devices == {"cpu"}
    with placed(place):
        made = config_of(task, config, data, precision=precision, **words)
        found = one_step(task, made, batches)
    assert found.devices == {"cuda"}
    assert found.losses["loss"] == pytest.approx(expected.losses["loss"], rel=TOLERANCE[precision])
