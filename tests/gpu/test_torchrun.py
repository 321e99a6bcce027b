"""One process under torchrun: NCCL on a GPU, gloo on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.places import on

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
from torch import distributed
join = distributed.init_process_group
def tell(*args, **kwargs):
    join(*args, **kwargs)
    print("backend:", distributed.get_backend(), flush=True)
distributed.init_process_group = tell
from cls_train.train import Classification
from engine.task import main
sys.exit(main(Classification()))
"""


@pytest.mark.parametrize(("place", "backend"), [on("cpu", "gloo"), on("cuda", "nccl")])
def test_smoke_run(place, backend, image_folder, tiny_config, tmp_path):
    script, work = tmp_path / "train.py", tmp_path / "work"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1", str(script),
            str(tiny_config), "--data", str(image_folder), "--work-dir", str(work), "--budget", "smoke",
            "--backbone", "resnet10_b-w8",
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"backend: {backend}" in done.stdout
    result = json.loads((work / "result.json").read_text())
    assert result["device"]["type"] == place
