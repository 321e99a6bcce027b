"""Schedules resolved from configs, and which configs count as equal steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmengine.config import Config
from support.runners import forget_runs
from support.small_world import SMALL

from cls_train.train import Classification
from contract.files import read_json
from contract.settings import SCHEDULES
from datasets.miniworld import generate
from engine.measure.schedule import schedule
from engine.task import main


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return generate(SMALL, tmp_path_factory.mktemp("world") / "small", processes=1)


def resolve(folder: Path, *lines: str) -> list[dict]:
    forget_runs()
    requests, target = folder / "requests.json", folder / "answers.json"
    requests.write_text(json.dumps([line.split() for line in lines]), encoding="utf-8")
    assert main(Classification(), [SCHEDULES, str(requests), str(target)]) == 0
    return (read_json(target) or {})["answers"]


def test_states_schedule_and_images(world, tmp_path):
    common = f"mini --data {world}/cls --work-dir {tmp_path}/run --backbone"
    standard, mixup, smoke, wrong = resolve(
        tmp_path,
        f"{common} resnet10_d-w24 --recipe standard",
        f"{common} resnet10_d-w24 --recipe standard --trick mixup",
        f"{common} resnet10_d-w24 --recipe standard --budget smoke",
        f"{common} resnett10 --recipe standard",
    )
    assert (standard["epochs"], standard["iterations"], standard["validations"]) == (5, None, 3)
    assert (standard["images"], standard["pass_images"], standard["drop_last"]) == (32, 32, True)
    assert (standard["train_samples"], standard["test_images"]) == (20, 10)
    # Mixup trains 200 epochs in place of 120.
    assert mixup["epochs"] == round(5 * 200 / 120)
    # Two iterations of two images, and four test images.
    assert (smoke["train_samples"], smoke["epochs"]) == (4, 1)
    assert (smoke["test_images"], smoke["test_images_total"]) == (4, 10)
    assert "resnett10" in wrong["error"]
    # Nothing was trained.
    assert not (tmp_path / "run").exists()


def test_equal_steps_have_equal_signatures(world, tmp_path):
    common = f"mini --data {world}/cls --work-dir {tmp_path}/run --recipe standard --precision fp32 --backbone"
    first, *others = resolve(
        tmp_path,
        f"{common} resnet10_d-w24",
        f"{common} resnet10_d-w24 --trick mixup --trick label_smoothing --trick cosine",
        f"{common} resnet10_d-w24 --trick label_smoothing --trick distillation --teacher /dev/null",
        f"{common} resnet10_d-w32",
        f"{common} resnet10_d-w24 --precision bf16",
        f"{common} resnet10_d-w24 --set image_size=96",
        f"{common} resnet10_d-w24 --set batch_size=16",
    )
    same = [facts["signature"] == first["signature"] for facts in others]
    assert same == [True, True, False, False, False, False]


def test_iterations_and_tests_of_an_iteration_based_loop():
    config = Config(
        dict(
            train_cfg=dict(max_iters=100, val_interval=40),
            train_dataloader=dict(batch_size=16, num_workers=2),
            custom_hooks=[],
        )
    )
    found = schedule(config)
    assert (found["epochs"], found["iterations"], found["validations"]) == (None, 100, 3)
    hook = dict(type="DeviceBatchHook", size=4, fixed=False, statistics="none")
    config.custom_hooks = [hook]
    assert schedule(config)["pass_images"] is None
    config.custom_hooks = [{**hook, "statistics": "pass"}]
    assert schedule(config)["pass_images"] == 4
