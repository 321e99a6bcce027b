"""Every row of the paper's tables, and of their small siblings, through its classification at the smoke budget.

The harness is left out: it starts a process a cell, and `test_chain.py` shows that it works. Rows of several tables
that are one and the same job run once. Of the full tables each network runs, with and without a teacher, at its own
image size in Table 2 and at a smaller one in the others; further rows of the same network, which take minutes and whose
tricks run in the small siblings, are assembled and checked.
"""

import json
import shutil
from pathlib import Path

import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer

from benchmarks import preflight
from benchmarks.plan import make_plan
from benchmarks.run import stage_command
from benchmarks.selection import Selection, select
from benchmarks.suite import load_suite, suite_names
from cls_train.train import Classification
from contract.tasks import TASKS
from engine.cli import parse
from engine.job import resolve_job
from engine.task import main, prepare

ROOT = Path(__file__).resolve().parents[1]
TABLES = [name for name in suite_names() if name.startswith("table")]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Where each job that has run left its hand-off, and the full-size networks that have run."""
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


def test_there_are_six_tables_and_a_small_one_of_each():
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
    for cell in plan.cells:
        words = stage_command(plan, cell)[3:]
        words = words[: words.index("--identity")]
        if cell.teacher is not None:
            # The one that has run, whichever table it ran for.
            words[words.index("--teacher") + 1] = str(hand_offs[_job(plan, plan.find(cell.needs))])
        job = _job(plan, cell)
        if job in hand_offs:
            continue
        if not name.endswith("-mini"):
            words += [] if name == "table2" else ["--set", "image_size=96"]
            network = (cell.row.backbone, cell.row.teacher is None)
            if network in networks and cell.row not in plan.suite.teachers:
                prepare(Classification(), resolve_job(parse("test", words, TASKS["cls"])))
                continue
            networks.add(network)
        work_dir = plan.folder(cell)
        assert main(Classification(), words) == 0, " ".join(words)
        _forget_run()
        result = json.loads((work_dir / "result.json").read_text())
        assert result["backbone"] == cell.row.backbone
        assert result["tricks"] == list(cell.row.tricks)
        hand_offs[job] = folder / f"{len(hand_offs)}.safetensors"
        if any(cell.key == other.needs for other in plan.cells):
            shutil.move(work_dir / "backbone.safetensors", hand_offs[job])
        shutil.rmtree(work_dir)


def _forget_run():
    """mmengine names its runs by the second, so that two of one second would mix."""
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    for manager in (MMLogger, MessageHub, Visualizer):
        manager._instance_dict.clear()


def _job(plan, cell):
    row = cell.row
    return (
        cell.stage.config, cell.data.root, row.backbone, row.recipe, row.tricks, plan.precision(cell),
        row.teacher,
    )  # fmt: skip
