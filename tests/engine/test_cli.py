"""The command line of the tasks."""

from pathlib import Path

import pytest
import torch

from contract.errors import UserError
from contract.tasks import TASKS
from engine.cli import Options, explain, parse

LEAST = ["mini", "--data", "d", "--work-dir", "w"]


def _cls(*more):
    return parse("python -m cls_train.train", [*LEAST, *more], TASKS["cls"])


def _det(*more):
    return parse("python -m det.train", [*LEAST, *more], TASKS["det"])


def test_minimal_options():
    assert _cls() == Options(config="mini", work_dir=Path("w"), data=Path("d"))


def test_all_options():
    words = "--backbone resnet50_d --recipe efficient --trick cosine --trick mixup --seed 7"
    words += " --budget smoke --precision bf16 --device cuda --resume --identity ab12 --lr-factor 3"
    words += " --set lr=0.5 --set schedule.milestones=[1,2] --set ema=None --set name=a=b"
    assert _cls(*words.split()) == Options(
        config="mini",
        work_dir=Path("w"),
        data=Path("d"),
        backbone="resnet50_d",
        recipe="efficient",
        tricks=("cosine", "mixup"),
        seed=7,
        lr_factor=3.0,
        budget="smoke",
        precision="bf16",
        device="cuda",
        resume=True,
        identity="ab12",
        overrides={"lr": 0.5, "schedule.milestones": [1, 2], "ema": None, "name": "a=b"},
    )
    assert _det("--checkpoint", "b.safetensors").checkpoint == Path("b.safetensors")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--backbon", "x"], "unknown option '--backbon'; did you mean '--backbone'"),
        (["--backbon=x"], "unknown option '--backbon'; did you mean '--backbone'"),
        (["--bud", "smoke"], "unknown option '--bud'"),
        (["surplus"], "'surplus' is one word too many; see python -m cls_train.train --help"),
        (
            ["--seed"],
            "argument --seed: expected one argument; see python -m cls_train.train --help",
        ),
        (["--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["--seed", "-1"], "--seed -1 was given; it must lie in 0 to 4294967295"),
        (["--seed", "4294967296"], "--seed 4294967296 was given; it must lie in"),
        (["--lr-factor", "0"], "--lr-factor 0 was given; it must be a finite number above 0"),
        (["--lr-factor", "-1"], "--lr-factor -1 was given"),
        (["--lr-factor", "inf"], "--lr-factor inf was given"),
        (["--lr-factor", "nan"], "--lr-factor nan was given"),
        (["--lr-factor", "3x"], "--lr-factor 3x was given"),
        (["--budget", "tiny"], "unknown budget 'tiny'; known: full, short, smoke"),
        (["--precision", "fp8"], "unknown precision 'fp8'.*auto"),
        (["--set", "lr"], "--set 'lr' was given; it must read KEY=VALUE, such as --set lr=0.05"),
        (["--set", "=3"], "--set '=3' was given; it must read KEY=VALUE"),
        (["--checkpoint", "f"], "unknown option '--checkpoint'"),
    ],
)
def test_mistakes(words, sentence):
    with pytest.raises(UserError, match=sentence):
        _cls(*words)


def test_only_classification_has_recipes():
    with pytest.raises(UserError, match="unknown option '--recipe'"):
        _det("--recipe", "standard")


@pytest.mark.parametrize("missing", ["config", "--data", "--work-dir"])
def test_required_options(missing):
    words = {"config": LEAST[1:], "--data": ["mini", *LEAST[3:]], "--work-dir": LEAST[:3]}
    with pytest.raises(UserError, match=f"following arguments are required: {missing}; see"):
        parse("python -m det.train", words[missing], TASKS["det"])


def test_largest_seed():
    assert _cls("--seed", "4294967295").seed == 4294967295


def test_full_device_outside_of_a_step():
    """A training step has its own message; a validation or a measurement gets this one, without a traceback."""
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the docs.")
    status, message = explain(error)
    assert status == 2
    assert message.startswith(
        "error: out of device memory (CUDA out of memory. Tried to allocate 2.00 GiB.); close other "
        "programs"
    )
    assert "--set val_dataloader.batch_size=1" in message


def test_gpu_is_another_word_for_cuda():
    assert _cls("--device", "gpu").device == "cuda"
