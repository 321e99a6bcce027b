"""An error in one of several processes ends all of them, and is printed once."""

import time
from pathlib import Path

import pytest
from PIL import Image
from support.classification import write_images
from support.processes import torchrun

from engine.runner.seeding import SeededSampler

SCRIPT = Path(__file__).resolve().parents[2] / "support" / "failing_rank.py"
ITERATION, BATCH = 3, 8


def _train(failure, failing, data, config, folder, processes, *more):
    done, seconds = torchrun(
        SCRIPT, failure, failing, config, "--data", data, "--work-dir", folder, "--backbone", "resnet10_b-w8",
        *more, processes=processes,
    )  # fmt: skip
    print(f"{processes} processes, {failure}: all ended after {seconds:.1f} s, start included")
    if "failing at " in done.stdout:
        failed = float(done.stdout.partition("failing at ")[2].split()[0])
        print(f"{time.time() - failed:.1f} s after the failure")
    # torchrun's own status; the process's is in its report.
    assert done.returncode == 1, done.stderr[-3000:]
    assert not (folder / "result.json").exists()
    return done.stderr


def test_not_finite_loss_of_one_rank_ends_both(image_folder, tiny_config, tmp_path):
    said = _train("nan", 1, image_folder, tiny_config, tmp_path, 2)
    assert said.count("error (rank 1): the loss became nan in epoch 1, iteration 3") == 1
    assert said.count("error (rank") == 1
    assert "RuntimeError" not in said, "an error that follows from the first one was printed"


def test_damaged_image_of_one_rank_ends_four(tiny_config, tmp_path):
    data, failing = tmp_path / "data", 2
    write_images(data / "train", 16)
    write_images(data / "val", 4)
    sampler = SeededSampler(range(48), seed=0)
    sampler.rank, sampler.world_size, sampler.per_process = failing, 4, 12
    first = (ITERATION - 1) * BATCH // 4
    position = list(sampler)[first]
    damaged = sorted((data / "train").glob("*/*.png"))[position]
    damaged.write_bytes(damaged.read_bytes()[:300])
    with Image.open(damaged) as image, pytest.raises(OSError):
        image.load()
    # In a worker, whose traceback must not hide the sentence.
    said = _train(
        "none", failing, data, tiny_config, tmp_path / "run", 4, "--set", "workers=1",
        "--set", "epochs=1", "--set", "warmup_epochs=0",
    )  # fmt: skip
    assert said.count(f"error (rank {failing}): ") == said.count("error (rank") == 1
    assert damaged.name in said.partition(f"error (rank {failing}): ")[2].splitlines()[0]
