"""Train every task for a few iterations in every precision; compare the first losses and the memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.acceptance.perform import Check
from benchmarks.acceptance.session import Case, Session, cases
from contract.acceptance import Line
from contract.errors import UserError
from contract.files import read_json
from contract.result import CURVES_FILE, RESULT_FILE, Result, read_result
from contract.settings import PRECISIONS
from contract.tasks import SOURCE, TASKS

ITERATIONS = 3
_BUDGET = {"smoke": {"iterations": ITERATIONS, "batch_size": 4, "test_images": 4}}
_EXPECTED = "finite losses, a valid result.json"
# Relative differences of the first loss from the CPU's in float32, same weights and images. A detector's loss is of
# sampled regions, and two equally good regions may change places. A segmentor's last layer starts near zero, so its
# first loss depends little on the features, and must be the closer.
_TOLERANCES = {
    "cls": {"float32": 1e-3, "mixed": 0.05},
    "det": {"float32": 0.02, "mixed": 0.1},
    "seg": {"float32": 1e-4, "mixed": 1e-3},
}


def checks(session: Session) -> list[Check]:
    """Return the checks of all tasks in all precisions."""
    return [
        *(
            Check(f"{case}, {precision}", partial(_train, session, case, precision))
            for case in cases(session.root)
            for precision in session.precisions
        ),
        Check("precisions", partial(_missing_precisions, session)),
    ]


def comparisons(session: Session) -> list[Check]:
    """Return the checks that compare finished trainings with each other."""
    first_losses = [
        Check(f"first loss of {case}", partial(_first_losses, session, case))
        for case in cases(session.root)
        if TASKS[case.task].trains
    ]
    return [*first_losses, Check("peak memory", partial(_memory, session))]


def losses(work_dir: Path) -> list[float]:
    """Return the training losses that a task has written.

    Raises:
        UserError: Its curves are missing or damaged.
    """
    curves = read_json(work_dir / CURVES_FILE)
    if curves is None:
        raise UserError(f"{CURVES_FILE} is missing or damaged")
    return [float(point["loss"]) for point in curves["train"]]


def _options(session: Session, case: Case, precision: str) -> list[str]:
    budgets = ["--set", f"budgets={_BUDGET!r}"] if TASKS[case.task].trains else []
    return ["--precision", precision, *budgets]


def _train(session: Session, case: Case, precision: str) -> Iterator[Line]:
    name = f"{case}, {precision}, {session.device}"
    work_dir = session.place(f"{case}-{precision}")
    command = session.task_command(case, work_dir, *_options(session, case, precision))
    outcome = session.run(command)
    if outcome.problem is not None:
        yield Line(check=name, found=outcome.problem, expected=_EXPECTED, verdict="failed")
        return
    try:
        result = read_result(work_dir / RESULT_FILE)
        values = losses(work_dir) if TASKS[case.task].trains else []
    except UserError as error:
        yield Line(check=name, found=str(error), expected=_EXPECTED, verdict="failed")
        return
    problem = _problem(session, case, result, values)
    if problem is None:
        session.trained[case, precision] = work_dir
    yield Line(
        check=name,
        found=problem or _summary(result, values),
        expected=_EXPECTED,
        verdict="failed" if problem else "ok",
        numbers={f"loss_{step}": value for step, value in enumerate(values, 1)}
        if all(map(math.isfinite, values))
        else {},
    )


def _problem(session: Session, case: Case, result: Result, values: list[float]) -> str | None:
    if result.device.type != session.device:
        return f"it was computed on {result.device.type}"
    if not all(map(math.isfinite, values)):
        return f"losses {', '.join(f'{value:.4g}' for value in values)}"
    if TASKS[case.task].trains and len(values) != ITERATIONS:
        return f"{len(values)} losses for {ITERATIONS} iterations"
    return None


def _summary(result: Result, values: list[float]) -> str:
    main = TASKS[result.task].main
    score = next(metric.value for metric in result.metrics if metric.name == main.name)
    parts = [f"loss {', '.join(f'{value:.3f}' for value in values)}"] if values else []
    return "; ".join([*parts, f"{main.label} {score:.1f}%"])


def _missing_precisions(session: Session) -> Iterator[Line]:
    for name in PRECISIONS:
        if name == "auto" or name in session.precisions:
            continue
        reason = session.facts.get("refusals", {}).get(name) or "the device does not support it"
        yield Line(check=f"every task, {name}", found=str(reason), verdict="skipped", seconds=0.0)


def _first_losses(session: Session, case: Case) -> Iterator[Line]:
    """Compare each precision with the CPU's float32."""
    name = f"first loss of {case}"
    reference = session.trained.get((case, "fp32")) if session.device == "cpu" else None
    others = [p for p in session.precisions if (case, p) in session.trained]
    if session.device == "cpu":
        others = [p for p in others if p != "fp32"]
    elif others:
        reference = session.place(f"{case}-cpu")
        command = session.task_command(case, reference, *_options(session, case, "fp32"))
        outcome = session.run(command, device="cpu")
        if outcome.problem is not None:
            found = f"on the CPU: {outcome.problem}"
            yield Line(check=name, found=found, expected="a loss", verdict="failed")
            return
    if reference is None or not others:
        found = "no two trainings to compare"
        yield Line(check=name, found=found, verdict="skipped")
        return
    expected = losses(reference)[0]
    for precision in others:
        yield _compare(case, precision, losses(session.trained[case, precision])[0], expected)


def _compare(case: Case, precision: str, found: float, expected: float) -> Line:
    tolerances = _TOLERANCES.get(case.task, _TOLERANCES[SOURCE])
    tolerance = tolerances["float32" if precision == "fp32" else "mixed"]
    difference = abs(found - expected) / abs(expected)
    return Line(
        check=f"first loss of {case}, {precision}",
        found=f"{found:.5f} ({difference:.3%} off)",
        expected=f"{expected:.5f} by the CPU in float32, within {tolerance:.2%}",
        verdict="ok" if difference <= tolerance else "failed",
        numbers={"loss": found, "loss_cpu_float32": expected},
    )


def _memory(session: Session) -> Iterator[Line]:
    """Check that every recorded peak lies between 0 and what the device has."""
    total = _total_mib(session)
    peaks: dict[str, float | None] = {
        f"{case}, {precision}": read_result(work_dir / RESULT_FILE).peak_memory_mib
        for (case, precision), work_dir in session.trained.items()
    }
    wrong = [f"{name}: {peak}" for name, peak in peaks.items() if not 0 < (peak or 0) < total]
    values = [peak for peak in peaks.values() if peak is not None]
    found = "; ".join(wrong)
    if not peaks:
        yield Line(check="peak memory", found="no training succeeded", verdict="skipped")
        return
    yield Line(
        check="peak memory of the trainings",
        found=found or f"{min(values):.0f} to {max(values):.0f} MiB",
        expected=f"above 0 and below {total:.0f} MiB",
        verdict="failed" if wrong else "ok",
        numbers={f"{name} MiB": peak for name, peak in peaks.items()},
    )


def _total_mib(session: Session) -> float:
    gpus: list[dict[str, Any]] = session.facts.get("gpus", [])
    if session.device == "cuda" and gpus:
        return max(gpu["memory_bytes"] for gpu in gpus) / 2**20
    return psutil.virtual_memory().total / 2**20
