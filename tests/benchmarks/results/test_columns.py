"""The columns are those of the task table."""

from benchmarks.results.columns import cost_columns, estimate_columns, known_columns, main_column
from contract.tasks import COSTS, ESTIMATES, SOURCE, TASKS


def test_every_task_has_every_cost_as_a_column():
    for name, task in TASKS.items():
        prefix = "" if name == SOURCE else f"{name}_"
        further = [cost.name for cost in task.further_costs]
        expected = [prefix + cost.name for cost in COSTS] + further
        assert [column.name for column in cost_columns(name)] == expected


def test_every_quantity_is_one_column():
    scores = sum(len(task.metrics) for task in TASKS.values())
    costs = len(TASKS) * len(COSTS) + sum(len(task.further_costs) for task in TASKS.values())
    estimates = len(ESTIMATES) * sum(task.estimates for task in TASKS.values())
    assert len(known_columns()) == scores + costs + estimates
    assert all(name == column.name for name, column in known_columns().items())


def test_headings():
    columns = known_columns()
    assert main_column("cls") == columns["top1"]
    assert main_column("seg").heading == "mIoU ↑"
    assert columns["latency"].heading == "latency (ms) ↓ †"
    assert columns["det_latency"].heading == "det latency (ms) ↓ †"
    assert columns["probe_parameters"].heading == "probe parameters (M) ↓"
    assert estimate_columns("seg")[0].heading == "LogME, seg (nats)"
    assert estimate_columns("cls") == ()
