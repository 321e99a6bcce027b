"""The command line of a run's task."""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks.plan.limits import KEY
from benchmarks.plan.plan import Plan, PlannedRun
from contract.tasks import SOURCE, TASKS

CommandBuilder = Callable[[Plan, PlannedRun], list[str]]


def task_command(plan: Plan, run: PlannedRun) -> list[str]:
    """Return the command line of a run, without `--resume`."""
    row, key = run.row, run.key
    command = [*_launcher(run), "-m", TASKS[key.task].module, run.setup.config]
    command += ["--backbone", row.backbone, "--data", str(run.data.root)]
    command += ["--work-dir", str(plan.work_dir(run)), "--seed", str(key.seed)]
    if key.task == SOURCE:
        command += ["--recipe", str(row.recipe)]
        if run.teacher is not None:
            command += ["--teacher", str(run.teacher)]
    elif run.checkpoint is not None:
        command += ["--checkpoint", str(run.checkpoint)]
    for trick in run.tricks:
        command += ["--trick", trick]
    if run.lr_factor != 1:
        command += ["--lr-factor", repr(run.lr_factor)]
    command += ["--budget", plan.selection.budget, "--precision", plan.precision(run)]
    # The resolved device: its name is part of the run's identity.
    command += ["--device", plan.compute.device]
    if plan.selection.deterministic:
        command.append("--deterministic")
    for name, value in run.setup.overrides.items():
        command += ["--set", f"{name}={value!r}"]
    limit = plan.limits.of(row.name, key.task)
    if limit is not None and KEY not in run.setup.overrides:
        command += ["--set", f"{KEY}={limit.images}"]
    trackers = plan.selection.trackers if TASKS[key.task].trains else ()
    for name in trackers:
        command += ["--tracker", name]
    if trackers:
        command += ["--tracker-run", f"{plan.suite.name}/{row.name}/{key.task}/seed-{key.seed}"]
    command += ["--data-fingerprint", str(run.data.fingerprint)]
    return [*command, "--identity", str(run.identity)]


def _launcher(run: PlannedRun) -> list[str]:
    """Return the words before `-m TASK`: Python, or torchrun for several processes."""
    if run.processes == 1:
        return [sys.executable]
    # Not the script `torchrun`, which may belong to another Python. `--standalone` chooses a free port.
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc_per_node", str(run.processes)]
