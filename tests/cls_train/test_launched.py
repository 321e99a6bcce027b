"""A run that a warm process forks gives the numbers of any other process, bit for bit."""

import json
import sys
from pathlib import Path

import torch
from support.classification import REPOSITORY
from support.world import wait_for

from benchmarks.run.launcher import Launcher, Launchers
from benchmarks.run.process import TaskProcess
from cls_train.train import Classification
from contract.timing import read_timing
from engine.task import main

MODULE = "cls_train.train"
# Those differ between any two runs.
MEASURED = ("costs", "wall_seconds", "peak_memory_mib")


def test_forked_run_has_the_numbers_of_a_process_of_its_own(tmp_path, image_folder, tiny_config):
    def arguments(folder: Path) -> list[str]:
        options = ["--data", image_folder, "--work-dir", folder, "--backbone", "resnet10_b-w8"]
        return [str(word) for word in (tiny_config, *options, "--budget", "smoke", "--seed", 3)]

    threads = str(torch.get_num_threads())
    environment = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": threads}
    launchers = Launchers(REPOSITORY, environment, {"cls": 2})
    launchers._launchers[MODULE] = Launcher(MODULE, REPOSITORY, environment, further=())
    forked, own = tmp_path / "forked", tmp_path / "own"
    # The second run of a launcher, which would show what the first one left behind.
    for folder in (tmp_path / "first", forked):
        process = TaskProcess(
            [sys.executable, "-m", MODULE, *arguments(folder)],
            log=tmp_path / "log.txt",
            cwd=REPOSITORY,
            environment=environment,
            on_progress=lambda _: None,
            launchers=launchers,
        )
        wait_for(lambda process=process: process.poll() is not None, seconds=120)
        assert process.poll() == 0, (tmp_path / "log.txt").read_text()
    launchers.close()
    assert main(Classification(), arguments(own)) == 0

    results = [json.loads((folder / "result.json").read_text()) for folder in (forked, own)]
    for result in results:
        for name in [key for key in result if key in MEASURED or key.startswith("train_images")]:
            del result[name]
    assert results[0] == results[1]
    name = "backbone.safetensors"
    assert (forked / name).read_bytes() == (own / name).read_bytes()
    states = [
        torch.load(folder / "epoch_1.pth", weights_only=False)["state_dict"]
        for folder in (forked, own)
    ]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    timing = read_timing(forked)
    assert timing is not None and timing.phases["training"] > 0
