"""Kill a training by SIGKILL, resume it, and compare it with one that ran to its end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from benchmarks.acceptance.perform import Check
from benchmarks.acceptance.session import Case, Session
from benchmarks.acceptance.trainings import losses
from contract.acceptance import Line
from contract.result import CHECKPOINT_FILE, RESULT_FILE, read_result

# The first checkpoint comes early, so that the training is still far from its end when it is killed.
_EPOCHS = ("epochs=8", "batch_size=4", "workers=1", "validate_every_epochs=8")
_ITERATIONS = (
    "train_cfg.max_iters=24",
    "train_cfg.val_interval=24",
    "train_dataloader.batch_size=2",
    "auto_scale_lr.base_batch_size=2",
    "default_hooks.checkpoint.interval=6",
    "param_scheduler=[]",
)
_TRAININGS = (
    (Case("cls", "mini"), _EPOCHS, "epoch_2.pth"),
    (Case("det", "mini_c4"), _ITERATIONS, "iter_6.pth"),
)
# On a GPU, sums are in no fixed order. Other images or another learning rate would change a loss by far more.
_TOLERANCE = 0.02
_EXPECTED = {
    "cpu": "equal to the last bit",
    "cuda": f"the same data: losses within {_TOLERANCE:.0%} of the uninterrupted run's",
}


def checks(session: Session) -> list[Check]:
    """Return a check by epochs (a classifier) and one by iterations (a detector that groups images by shape)."""
    return [
        Check(f"kill and resume: {case}", partial(_resume, session, case, settings, checkpoint))
        for case, settings, checkpoint in _TRAININGS
    ]


def _resume(
    session: Session, case: Case, settings: tuple[str, ...], checkpoint: str
) -> Iterator[Line]:
    name = f"kill and resume: {case}"
    options = ["--precision", "fp32", *(word for text in settings for word in ("--set", text))]
    whole, killed = session.place(f"{case}-whole"), session.place(f"{case}-killed")
    expected = _EXPECTED[session.device]

    def failed(found: str) -> Line:
        return Line(check=name, found=found, expected=expected, verdict="failed")

    def command(work_dir: Path, *more: str) -> list[str]:
        return session.task_command(case, work_dir, *options, *more, budget="full")

    outcome = session.run(command(whole))
    if outcome.problem is not None:
        yield failed(f"uninterrupted: {outcome.problem}")
        return
    # `last_checkpoint` is written once the checkpoint is complete.
    pointer = killed / "last_checkpoint"
    outcome = session.run(command(killed), until=pointer.is_file)
    if not outcome.stopped or (killed / RESULT_FILE).is_file():
        yield failed(outcome.problem or f"it ended before it was killed after {checkpoint}")
        return
    steps = len(losses(whole))
    outcome = session.run(command(killed, "--resume"))
    if outcome.problem is not None:
        yield failed(f"resumed: {outcome.problem}")
        return
    yield _compare(name, session.device, whole, killed, steps)


def _compare(name: str, device: str, whole: Path, resumed: Path, steps: int) -> Line:
    ours, theirs = losses(resumed), losses(whole)
    if len(ours) != steps:
        found = f"{len(ours)} losses for {steps} iterations"
        return Line(check=name, found=found, expected=_EXPECTED[device], verdict="failed")
    apart = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))
    numbers: dict[str, float | None] = {"largest relative difference of a loss": apart}
    parts = [f"{steps} losses {_amount(apart)}"]
    scores = [
        {metric.name: metric.value for metric in read_result(folder / RESULT_FILE).metrics}
        for folder in (whole, resumed)
    ]
    equal = apart == 0 and scores[0] == scores[1]
    parts.append(f"scores {'equal' if scores[0] == scores[1] else 'differ'}")
    if (whole / CHECKPOINT_FILE).is_file():
        distance = _distance(whole / CHECKPOINT_FILE, resumed / CHECKPOINT_FILE)
        equal = equal and distance == 0
        numbers["relative distance of the weights"] = distance
        parts.append(f"weights {_amount(distance)}")
    good = equal if device == "cpu" else apart <= _TOLERANCE
    return Line(
        check=name,
        found=", ".join(parts),
        expected=_EXPECTED[device],
        verdict="ok" if good else "failed",
        numbers=numbers,
    )


def _amount(difference: float) -> str:
    return "equal" if difference == 0 else f"up to {difference:.2e} apart"


def _distance(first: Path, second: Path) -> float:
    """Return the distance of two checkpoints' weights, relative to the length of the first."""
    ours, theirs = load_file(first), load_file(second)
    pairs = [(ours[key].astype(np.float64), theirs[key].astype(np.float64)) for key in ours]
    squares = sum(float(((a - b) ** 2).sum()) for a, b in pairs)
    length = sum(float((a**2).sum()) for a, _ in pairs)
    return float(np.sqrt(squares / length))
