"""Names that the results and the report take from here until they read `contract.tasks`."""

from benchmarks.suite.names import COLUMNS, columns_of
from contract.tasks import COSTS as _COSTS
from contract.tasks import ESTIMATES, TASKS

STAGES = tuple(TASKS)
SCORES = {estimate.name: estimate.unit for estimate in ESTIMATES}
SCORE_COLUMNS = tuple(name for name, column in COLUMNS.items() if column.kind == "estimate")
PERCENTAGES = tuple(name for name, column in COLUMNS.items() if column.kind == "score")
COSTS = tuple(cost.name for cost in _COSTS)


def cost_column(stage: str, cost: str) -> str:
    """Return the name of a task's cost among the columns."""
    return TASKS[stage].cost_column(cost)


__all__ = ["COLUMNS", "COSTS", "PERCENTAGES", "SCORES", "SCORE_COLUMNS", "STAGES", "columns_of"]
