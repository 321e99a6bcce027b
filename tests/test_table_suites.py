"""Every row of the paper's tables, and of their small siblings, through its classification at the smoke budget.

The harness is left out: it starts a process for each run, and `test_chain.py` shows that it works. Rows of several
tables that are one and the same job run once. Of the full tables each network runs, with and without a teacher, at its
own image size in Table 2 and at a smaller one in the others; further rows of the same network, which take minutes and
whose tricks run in the small siblings, are assembled and checked.
"""

import json
import shutil
from pathlib import Path

import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer

from benchmarks.plan import preflight
from benchmarks.plan.make import make_plan
from benchmarks.run.command import task_command
from benchmarks.suite.load import load_suite, suite_names
from benchmarks.suite.select import Selection, select
from cls_train.train import Classification
from contract.tasks import TASKS
from engine.cli import parse
from engine.job import resolve_job
from engine.task import main, prepare

ROOT = Path(__file__).resolve().parents[1]
TABLES = [name for name in suite_names() if name.startswith("table")]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Where each job that has run left its checkpoint, and the full-size networks that have run."""
    return {}, set(), tmp_path_factory.mktemp("tables")


def _plan(name, run_dir):
    selection = Selection(budget="smoke")
    suite = select(load_suite(name), selection, preflight.available_tricks(ROOT))
    preflight.check_names(suite, ROOT)
    preflight.generate_missing(suite.datasets.values(), lambda text: None)
    data = {
        key: preflight.inspect_data(entry, ROOT / "runs" / ".cache")
        for key, entry in suite.datasets.items()
    }
    return make_plan(suite, selection, data, root=ROOT, run_dir=run_dir)


def test_six_tables_with_mini_suites():
    full = [f"table{number}" for number in range(2, 8)]
    assert sorted(TABLES) == sorted([*full, *(f"{name}-mini" for name in full)])
    for name in full:
        assert len(load_suite(name).rows) == len(load_suite(f"{name}-mini").rows)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TABLES)
def test_every_row_runs(name, done):
    hand_offs, networks, folder = done
    plan = _plan(name, folder / name)
    for run in plan.runs:
        words = task_command(plan, run)[3:]
        words = words[: words.index("--identity")]
        work_dir = folder / name / run.key.path
        words[words.index("--work-dir") + 1] = str(work_dir)
        if run.needs is not None:
            # The teacher that has run, whichever table it ran for.
            words += ["--teacher", str(hand_offs[_job(plan, plan.find(run.needs))])]
        job = _job(plan, run)
        if job in hand_offs:
            continue
        if not name.endswith("-mini"):
            words += [] if name == "table2" else ["--set", "image_size=96"]
            network = (run.row.backbone, run.row.teacher is None)
            if network in networks and run.row not in plan.suite.teachers:
                prepare(Classification(), resolve_job(parse("test", words, TASKS["cls"])))
                continue
            networks.add(network)
        assert main(Classification(), words) == 0, " ".join(words)
        _forget_run()
        result = json.loads((work_dir / "result.json").read_text())
        assert result["backbone"] == run.row.backbone
        assert result["tricks"] == list(run.row.tricks)
        hand_offs[job] = folder / f"{len(hand_offs)}.safetensors"
        if any(run.key == other.needs for other in plan.runs):
            shutil.move(work_dir / "backbone.safetensors", hand_offs[job])
        shutil.rmtree(work_dir)


def _forget_run():
    """mmengine names its runs by the second, and two of one second would mix."""
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    for manager in (MMLogger, MessageHub, Visualizer):
        manager._instance_dict.clear()


def _job(plan, run):
    row = run.row
    return (
        run.setup.config, run.data.root, row.backbone, row.recipe, row.tricks, plan.precision(run),
        row.teacher,
    )  # fmt: skip
