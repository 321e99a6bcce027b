"""Submit the runs of a plan to Slurm through submitit."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cluster.job import RunJob
from benchmarks.cluster.jobs import Jobs
from benchmarks.cluster.resources import Resources
from benchmarks.plan.plan import Plan, PlannedRun
from benchmarks.plan.store import write_failure
from contract.errors import UserError

# Pauses after a refused submission. Schedulers are busy for seconds, and limits of jobs last until some have ended.
PAUSES_SECONDS = (2.0, 5.0, 15.0, 30.0, 60.0)
# Of these reasons no repetition helps.
_FINAL = re.compile(
    r"invalid|not permitted|not available|unrecognized|not found|access denied", re.I
)
# submitit's requeues after a time limit; each costs one start, and a run of weeks needs many.
_MOST_TIMEOUTS = 1000
# submitit's signal, sent to the process of the job alone.
_SIGNAL = "USR2"


@dataclass(frozen=True)
class Group:
    """Runs that are submitted with one call.

    Attributes:
        name: Name of the jobs.
        runs: The runs.
        resources: What each asks for.
        after: The job that must have ended; empty for none.
    """

    name: str
    runs: tuple[PlannedRun, ...]
    resources: Resources
    after: str = ""


@dataclass
class Submission:
    """What became of the runs.

    Attributes:
        jobs: Jobs by the folder of their run.
        failed: Why runs could not be submitted, by folder.
        groups: The groups that were submitted.
    """

    jobs: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    groups: list[tuple[Group, Sequence[str]]] = field(default_factory=list)


@dataclass(frozen=True)
class Settings:
    """How jobs are submitted.

    Attributes:
        partition: Slurm's partition; None for its default.
        account: Slurm's account.
        qos: Slurm's quality of service.
        more: Further options of sbatch.
        signal_seconds: Time to store a checkpoint before the time limit.
        parallel: Jobs of an array at a time.
        variables: Environment variables of the jobs.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    more: Mapping[str, str | bool] = field(default_factory=dict)
    signal_seconds: int = 180
    parallel: int = 1000
    variables: Mapping[str, str] = field(default_factory=dict)


class Submitter:
    """Submits groups of runs.

    Args:
        plan: The plan.
        settings: How.
        command: Returns the words of a run's command.
        pauses: Pauses after refused submissions, in seconds.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        command: Callable[[PlannedRun], list[str]],
        pauses: Sequence[float] = PAUSES_SECONDS,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._command = command
        self._pauses = self._all_pauses = tuple(pauses)
        self._jobs = Jobs(plan.run_dir)

    def submit(self, group: Group, found: Submission) -> None:
        """Submit a group as an array; if Slurm refuses it, submit each run alone, so that only some fail."""
        try:
            self._note(group, self._send(group), found)
            return
        except _Refused as error:
            if len(group.runs) == 1:
                self._fail(group.runs[0], str(error), found)
                return
        for run in group.runs:
            key = run.key
            name = f"{self._plan.suite.name}-{key.row}-{key.task}-{key.seed}"
            self.submit(Group(name, (run,), group.resources, group.after), found)

    def script(self, group: Group) -> str:
        """Return the script that sbatch gets for a group."""
        executor = self._executor(group)
        if len(group.runs) > 1:
            executor.parameters["map_count"] = len(group.runs)
        return executor._make_submission_file_text(executor._submitit_command_str, "dry-run")

    def _note(self, group: Group, jobs: Sequence[str], found: Submission) -> None:
        new = {run.key.path.as_posix(): job for run, job in zip(group.runs, jobs, strict=True)}
        self._jobs.record(new)
        found.jobs |= new
        found.groups.append((group, jobs))

    def _fail(self, run: PlannedRun, reason: str, found: Submission) -> None:
        message = f"it was not submitted: {reason}"
        write_failure(self._plan.store.view(run.key), None, message)
        found.failed[run.key.path.as_posix()] = message

    def _send(self, group: Group) -> list[str]:
        """Submit a group, repeatedly if Slurm is busy; return the jobs.

        Raises:
            _Refused: Slurm did not take it.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        jobs = [
            RunJob(self._command(run), os.getcwd(), self._settings.variables) for run in group.runs
        ]
        for pause in (*self._pauses, None):
            try:
                with _outside_of_jobs():
                    sent = [job.job_id for job in self._executor(group).submit_array(jobs)]
                self._pauses = self._all_pauses
                return sent
            except (FailedJobError, FailedSubmissionError, OSError) as error:
                reason = _reason(error)
                if _FINAL.search(reason):
                    raise _Refused(reason) from error
                if pause is None:
                    # Slurm is away for longer: the other runs are tried once, and wait for it no more.
                    self._pauses = ()
                    raise _Refused(reason) from error
                time.sleep(pause)
        raise AssertionError("the last pause is None")

    def _executor(self, group: Group) -> Any:
        from submitit.slurm.slurm import SlurmExecutor

        settings, asked = self._settings, group.resources
        executor = SlurmExecutor(
            self._jobs.folder,
            max_num_timeout=_MOST_TIMEOUTS,
            # The process takes the place of the script's shell, which alone gets the signal.
            python=f"exec {shlex.quote(sys.executable)}",
        )
        executor.update_parameters(
            job_name=group.name,
            time=asked.minutes,
            mem=f"{asked.memory_gib}G",
            nodes=1,
            ntasks_per_node=1,
            cpus_per_task=asked.cpus,
            gpus_per_node=asked.gpus or None,
            partition=settings.partition,
            account=settings.account,
            qos=settings.qos,
            dependency=f"afterany:{group.after}" if group.after else None,
            array_parallelism=settings.parallel,
            wckey=None,
            use_srun=False,
            stderr_to_stdout=True,
            setup=[
                f"export PYTHONPATH={shlex.quote(str(self._plan.root))}${{PYTHONPATH:+:$PYTHONPATH}}"
            ],
            additional_parameters={
                "signal": f"B:{_SIGNAL}@{settings.signal_seconds}",
                "requeue": True,
                **settings.more,
            },
        )
        return executor


class _Refused(Exception):
    """Slurm did not take a submission."""


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Hide variables of Slurm and submitit that would describe the job of this process to the new ones."""
    import submitit.helpers

    if "SLURM_JOB_ID" not in os.environ:
        # There, they are the user's own defaults.
        yield
        return
    configuration = os.environ.get("SLURM_CONF")
    with submitit.helpers.clean_env():
        if configuration is not None:
            os.environ["SLURM_CONF"] = configuration
        yield


def check_slurm() -> None:
    """Check that jobs can be submitted here.

    Raises:
        UserError: submitit or Slurm's commands are missing.
    """
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError(
            "--cluster slurm needs submitit, which is not installed: python -m pip install 'trickbench[slurm]', or "
            "python -m pip install submitit cloudpickle"
        ) from None
    for program in ("sbatch", "srun", "squeue"):
        if shutil.which(program) is None:
            raise UserError(
                f"--cluster slurm was given, and {program} is not in PATH; give the command on a machine that submits "
                "to Slurm, such as a login node."
            )


def job_log(run_dir: Path, job: str) -> Path:
    """Return the file that a job writes its output to."""
    return Jobs(run_dir).folder / f"{job}_0_log.out"


def _reason(error: Exception) -> str:
    """Return what sbatch said last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = next((line for line in reversed(lines) if line.startswith("sbatch: ")), None)
    return re.sub("^sbatch: (error: |fatal: )?", "", text or (lines or [type(error).__name__])[-1])
