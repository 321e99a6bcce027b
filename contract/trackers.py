"""Experiment trackers that a run can report to."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from contract.errors import UserError

# Each is the name of its package too, and of the extra that installs it.
TRACKERS = ("tensorboard", "wandb", "mlflow")


def require_installed(names: Iterable[str]) -> None:
    """Check that the packages of trackers are installed.

    Raises:
        UserError: One is missing.
    """
    for name in names:
        if find_spec(name) is None:
            raise UserError(
                f"--tracker {name} was given, and the package {name} is not installed; install it with "
                f"pip install 'trickbench[{name}]'"
            )
