"""GPUs are hidden from all tests but those marked `gpu`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TEST = """
import os
import pytest

def test_plain():
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""

@pytest.mark.gpu
def test_marked():
    raise RuntimeError("a machine without a GPU runs this test")
"""
# What a conftest file of a folder of tests sees at its import.
FOLDER = """
import os
from pathlib import Path
Path(__file__).with_name("seen").write_text(repr(os.environ["CUDA_VISIBLE_DEVICES"]))
"""


@pytest.fixture
def suite(tmp_path):
    folder = tmp_path / "tests" / "task"
    folder.mkdir(parents=True)
    shutil.copy(HERE / "conftest.py", tmp_path / "tests")
    (folder / "conftest.py").write_text(FOLDER)
    (folder / "test_some.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --import-mode=importlib\nmarkers = gpu: x\n"
    )
    # A torch without a GPU, which takes no second to import.
    (tmp_path / "torch.py").write_text(
        "class cuda:\n    is_available = staticmethod(lambda: False)\n"
    )

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", *words, "tests/task"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "0"},
        )  # fmt: skip
        return done.stdout, (folder / "seen").read_text()

    return run


def test_other_tests_see_no_gpu(suite):
    output, seen = suite()
    assert seen == "''"
    assert "1 passed, 1 skipped" in output
    assert (
        "needs a GPU, and GPUs are hidden from other tests; run python -m pytest -m gpu" in output
    )


def test_marked_tests_see_gpus(suite):
    output, seen = suite("-m", "gpu")
    assert seen == "'0'"
    assert "1 skipped, 1 deselected" in output
    assert "needs a GPU that torch can use; there is none" in output


def test_no_gpu_in_this_process():
    import torch

    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert not torch.cuda.is_available()
