"""The plan, as the report reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_run import edit_json

from benchmarks.results.read import read_run
from contract.errors import UserError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(schema_version=9), "schema_version 9"),
        (lambda p: p.update(budget="huge"), "'huge', expected one of"),
        (lambda p: p["rows"].pop(), "row 'tricks', which is not among its rows"),
        (lambda p: p["rows"][1].update(tricks="mixup"), r"'rows\[1\].tasks.cls.tricks' is 'mixup'"),
        (lambda p: p["rows"][1].update(det_lr="high"), r"'rows\[1\].tasks.det.lr' is 'high'"),
        (lambda p: p["rows"][0].pop("backbone"), r"'rows\[0\].backbone'"),
    ],
)
def test_refuses_a_plan(
    run_dir: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit_json(run_dir / "plan.json", change)
    with pytest.raises(UserError, match=message):
        read_run(run_dir)


def test_folder_without_plan(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"plan\.json does not exist.*python -m benchmarks run"):
        read_run(tmp_path)
