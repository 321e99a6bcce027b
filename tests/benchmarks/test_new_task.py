"""A new dense task needs an entry in `contract.tasks` and no edit of the harness."""

import subprocess
import sys

from benchmarks.suite.names import ROOT

SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath

from contract import tasks

sys.path[:0] = ["tests"]
depth = replace(
    tasks.TASKS["seg"],
    name="depth",
    label="depth",
    module="depth.train",
    configs=PurePosixPath("depth/configs"),
    tricks=(PurePosixPath("depth/configs/tricks"),),
    metrics=(tasks.Quantity("rmse", "RMSE", "m", False, required=True, by_default=True),),
    main_metric="rmse",
)
tasks.TASKS["depth"] = depth
tasks.TRANSFERS += ("depth",)

from benchmarks import cli
from benchmarks.commands.sweep import SWEPT
from benchmarks.plan.document import read_plan
from benchmarks.suite.load import load_suite
from support.world import World

folder = Path(sys.argv[1])
(folder / "own.py").write_text('''
tasks = dict(
    cls=dict(config="cls_train/configs/mini.py", data="cls"),
    depth=dict(config="depth/configs/mini.py", data="seg"),
)
datasets = dict(cls=dict(kind="imagefolder", path="cls"), seg=dict(kind="ade20k", path="seg"))
columns = ["top1", "rmse", "depth_latency", "depth_logme"]
rows = [
    dict(name="a", backbone="resnet10", recipe="standard", depth=dict(tricks=["smooth"], lr=0.3)),
    dict(name="b", backbone="resnet10", pretrain=False, depth_lr=3, reference=dict(rmse=1.5)),
]
''')
suite = load_suite(str(folder / "own.py"))
world = World(folder, suite=suite)
world.edit("depth/__init__.py", "")
world.edit("depth/train.py", "import engine.run\\n")
world.edit("depth/configs/mini.py", "lr = 1\\n")
world.edit("depth/configs/tricks/smooth.py", "smooth = True\\n")
outcomes = world.run()
assert {o.status for o in outcomes.values()} == {"completed"}, outcomes
document = read_plan(world.run_dir)
assert document.rows[0].overrides == ("depth: smooth, lr × 0.3",)
before = {str(run.key): run.identity for run in world.plan().runs}
world.edit("depth/train.py", "import engine.run\\nX = 1\\n")
after = {str(run.key): run.identity for run in world.plan().runs}
changed = {name for name in before if before[name] != after[name]}
assert changed == {"a · depth · seed 0", "b · depth · seed 0"}, changed
assert cli.parse(["run", "--depth-data", "d"]).depth_data == Path("d")
assert "depth" in SWEPT
print("done")
"""


def test_new_dense_task_registers_plans_and_runs(tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.stdout.endswith("done\n"), answer.stderr
