"""Train with several processes by torchrun: to the end, and with an error on one of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.acceptance.execute import Outcome
from benchmarks.acceptance.perform import Check
from benchmarks.acceptance.session import Case, Session
from benchmarks.acceptance.trainings import losses
from contract.acceptance import Line
from contract.result import RESULT_FILE

_CASE = Case("cls", "mini")
_CPU_PROCESSES = 2
# Longer than today's slowest way to end, and shorter than any time limit of a process group.
_LIMIT_SECONDS = 180.0
_MOST_SECONDS_TO_END = 30.0
_MESSAGE = "cannot be decoded"


def checks(session: Session) -> list[Check]:
    """Return the checks with all GPUs, or with two processes on a CPU."""
    return [
        Check("torchrun", partial(_train, session), limit_seconds=_LIMIT_SECONDS + 30),
        Check("error on one rank", partial(_fail, session), limit_seconds=_LIMIT_SECONDS + 30),
    ]


def _name(session: Session) -> str:
    count = _count(session)
    backend = "gloo" if session.device == "cpu" else "NCCL"
    return f"{count} process{'es' if count > 1 else ''} by {backend}"


def _count(session: Session) -> int:
    return session.gpus or _CPU_PROCESSES


def _torchrun(
    session: Session, work_dir: Path, iterations: int, data: Path, mark: str | None = None
) -> Outcome:
    launcher = (
        *("-m", "torch.distributed.run", "--standalone"),
        *("--nproc_per_node", str(_count(session))),
    )
    budget = {"smoke": {"iterations": iterations, "batch_size": 2, "test_images": 4}}
    command = session.task_command(
        _CASE, work_dir, "--set", f"budgets={budget!r}", data=data, launcher=launcher
    )
    return session.run(command, limit_seconds=_LIMIT_SECONDS, threads=1, mark=mark)


def _train(session: Session) -> Iterator[Line]:
    work_dir = session.place("torchrun")
    outcome = _torchrun(session, work_dir, 3, session.task_data(_CASE))
    problem = outcome.problem
    if problem is None and not (work_dir / RESULT_FILE).is_file():
        problem = f"{RESULT_FILE} is missing"
    found = problem or f"loss {', '.join(f'{value:.3f}' for value in losses(work_dir))}"
    yield Line(
        check=f"a training with {_name(session)}",
        found=f"{found}; {outcome.seconds:.0f} s",
        expected="it ends, with a result.json",
        verdict="failed" if problem else "ok",
    )


def _fail(session: Session) -> Iterator[Line]:
    """Damage one image: exactly one process reads it, and the others wait for that process's gradients."""
    data = session.place("damaged")
    # Hard links save the copy; the damaged file is a new one.
    shutil.copytree(session.task_data(_CASE), data, copy_function=os.link)
    first = min((data / "train").rglob("*.jpg"))
    first.unlink()
    first.write_bytes(b"this is no picture")
    images = len(list((data / "train").rglob("*.jpg")))
    iterations = images // (2 * _count(session))
    outcome = _torchrun(session, session.place("error"), iterations, data, mark=_MESSAGE)
    yield judge_error(outcome, _name(session))


def judge_error(outcome: Outcome, processes: str) -> Line:
    """Judge a training in which one process met a damaged image."""
    printed = outcome.marked_seconds is not None
    ending = outcome.seconds - (outcome.marked_seconds or 0.0)
    message = f"message {'printed' if printed else 'not printed'}"
    expected = f"all processes end within {_MOST_SECONDS_TO_END:.0f} s, and the error is printed"
    if outcome.status is None:
        found, good = f"killed after {outcome.limit_seconds:.0f} s, {message}", False
    elif outcome.status == 0:
        found, good = f"exit status 0, {message}", False
    else:
        after = f", {ending:.1f} s after the message" if printed else ""
        left = f", {outcome.remained} processes still ran" if outcome.remained else ""
        found = f"ended after {outcome.seconds:.1f} s{after}, {message}{left}"
        good = printed and not left and ending <= _MOST_SECONDS_TO_END
    return Line(
        check=f"an error on one of {processes}",
        found=found,
        expected=expected,
        verdict="ok" if good else "failed",
        numbers={"seconds": outcome.seconds, "seconds after the message": ending},
    )
