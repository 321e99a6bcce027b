"""Reading is strict, and every run keeps its state."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_run import edit_json, fail_run, remove_result, result_file, work_dir, write_json

from benchmarks.results.read import Curves, RunFolder, read_run
from contract.errors import UserError
from contract.result import read_result

PLACE = ("tricks", "det", 1)


def state_of(run: RunFolder, row: str, task: str, seed: int) -> tuple[str, str]:
    record = next(r for r in run.of(row, task) if r.seed == seed)
    assert (record.result is not None) == (record.state == "completed")
    return record.state, record.message


def test_reads_every_key_of_a_result(run_dir: Path) -> None:
    result = read_result(result_file(run_dir, *PLACE))
    assert result.columns()["map"].value == pytest.approx(47.0)
    assert "miou" not in result.columns()
    assert result.data.test_images_total == 150
    assert result.load_report is not None and result.load_report.matched == 62
    assert (result.device.name, result.precision.dtype) == ("Xeon 8488C", "bfloat16")


BREAKS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a newer version": (lambda r: r.update(schema_version=2), "schema_version 2.*upgrade"),
    "no version": (lambda r: r.pop("schema_version"), "no key 'schema_version'"),
    "no metrics": (lambda r: r.pop("metrics"), "no key 'metrics'"),
    "a nested key": (lambda r: r["data"].pop("test_images_used"), "'data.test_images_used'"),
    "a metric's key": (lambda r: r["metrics"][0].pop("value"), r"'metrics\[0\].value'"),
    "another type": (lambda r: r.update(seed="1"), "'seed' is '1', expected a valid integer"),
    "a truth value for a number": (
        lambda r: r.update(seed=True),
        "'seed' is True, expected a valid integer",
    ),
    "a metric that is no object": (
        lambda r: r.update(metrics=[3]),
        r"'metrics\[0\]' is 3, expected an object",
    ),
    "not a number": (lambda r: r["metrics"][0].update(value=float("nan")), "finite"),
    "another metric": (lambda r: r["metrics"][0].update(name="ap"), r"also needs \['map'\]"),
    "an unknown task": (lambda r: r.update(stage="pose"), "'pose', expected one of"),
    "an unknown budget": (lambda r: r.update(budget="tiny"), "'tiny', expected one of"),
    "not completed": (lambda r: r.update(status="running"), "expected 'completed'"),
    "a load report without total": (lambda r: r["checkpoint"].pop("total"), "'checkpoint.total'"),
}


@pytest.mark.parametrize(("change", "message"), BREAKS.values(), ids=BREAKS.keys())
def test_refuses_a_result(
    run_dir: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    path = result_file(run_dir, *PLACE)
    edit_json(path, change)
    with pytest.raises(UserError, match=message) as caught:
        read_result(path)
    assert str(path) in str(caught.value)
    assert "python -m benchmarks run" in str(caught.value)


@pytest.mark.parametrize("text", ['{"schema_version": 1,', "[]", "\xff\xfe"])
def test_refuses_non_object(run_dir: Path, text: str) -> None:
    path = result_file(run_dir, *PLACE)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"result\.json.*(valid JSON|expected an object)"):
        read_result(path)


def test_completed_runs(run_dir: Path) -> None:
    run = read_run(run_dir)
    assert len(run.runs) == 3 * (3 + 3 + 2)
    assert {record.state for record in run.runs} == {"completed"}
    assert run.of("scratch", "cls") == ()
    assert run.of("tricks", "det")[0].command[:3] == ("python", "-m", "det.train")


def test_failed_missing_and_stale_runs(run_dir: Path) -> None:
    fail_run(run_dir, "tricks", "det", 0, "loss is not finite")
    remove_result(run_dir, "tricks", "det", 1)
    edit_json(result_file(run_dir, "tricks", "det", 2), lambda r: r.update(identity="0"))
    run = read_run(run_dir)
    assert state_of(run, "tricks", "det", 0) == ("failed", "loss is not finite")
    assert state_of(run, "tricks", "det", 1) == ("missing", "not run yet")
    assert state_of(run, "tricks", "det", 2)[0] == "stale"
    assert run.of("tricks", "det")[0].log_tail == ("loss nan", "<stop> & report")


def test_result_beats_old_failure(run_dir: Path) -> None:
    folder = work_dir(run_dir, *PLACE)
    write_json(folder / "failure.json", {"exit_status": 1, "message": "old", "log_tail": []})
    assert state_of(read_run(run_dir), *PLACE) == ("completed", "")
    edit_json(folder / "result.json", lambda r: r.update(identity="another"))
    assert state_of(read_run(run_dir), *PLACE) == ("failed", "old")


def forget_identity(run_dir: Path, row: str, task: str, seed: int) -> None:
    def change(plan: dict[str, Any]) -> None:
        for run in plan["cells"]:
            if (run["row"], run["stage"], run["seed"]) == (row, task, seed):
                run["identity"] = None

    edit_json(run_dir / "plan.json", change)


def test_unknown_identity_needs_its_classifier(run_dir: Path) -> None:
    forget_identity(run_dir, *PLACE)
    assert state_of(read_run(run_dir), *PLACE)[0] == "completed"
    fail_run(run_dir, "tricks", "cls", 1, "out of memory")
    state, message = state_of(read_run(run_dir), *PLACE)
    assert state == "stale" and "its classifier is failed" in message


def test_budgets_are_not_mixed(run_dir: Path) -> None:
    edit_json(result_file(run_dir, *PLACE), lambda r: r.update(budget="smoke"))
    with pytest.raises(UserError, match="different budgets never share a table"):
        read_run(run_dir)
    forget_identity(run_dir, *PLACE)
    state, message = state_of(read_run(run_dir), *PLACE)
    assert state == "stale" and "budget 'smoke'" in message


def test_refuses_a_result_of_another_seed(run_dir: Path) -> None:
    edit_json(result_file(run_dir, *PLACE), lambda r: r.update(seed=2))
    with pytest.raises(UserError, match="seed 2; the plan has task det, seed 1"):
        read_run(run_dir)


def test_curves_skip_missing_values(run_dir: Path) -> None:
    def curves() -> Curves:
        return next(r for r in read_run(run_dir).of(*PLACE[:2]) if r.seed == PLACE[2]).curves

    path = work_dir(run_dir, *PLACE) / "curves.json"
    train = [{"epoch": 0.5, "loss": 2.0}, {"epoch": 1, "loss": float("inf")}, {"loss": 1.0}]
    val = [{"epoch": 1, "map": 30.0}, {"epoch": 2, "loss": 0.1}]
    path.write_text(json.dumps({"train": train, "val": val}))
    assert curves() == Curves(((0.5, 2.0),), ((1.0, 30.0),))
    path.write_text(json.dumps({"train": train}))
    with pytest.raises(UserError, match=r"curves\.json: it has no key 'val'"):
        curves()
    path.unlink()
    assert curves() == Curves()
