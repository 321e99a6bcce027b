"""Start a task in this process. The engine knows tasks only by the table in `contract.tasks`."""

from __future__ import annotations

import importlib
import inspect

from contract.tasks import TASKS
from engine.task import Task


def task_by_name(name: str) -> Task:
    """Return the task with this entry in `contract.tasks.TASKS`."""
    module = importlib.import_module(TASKS[name].module)
    (found,) = (
        one
        for one in vars(module).values()
        if inspect.isclass(one) and issubclass(one, Task) and one.__module__ == module.__name__
    )
    return found()
