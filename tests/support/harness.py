"""The harness's commands on a small repository, with fake tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cli
from benchmarks.commands import plan as plan_command
from benchmarks.commands import run as run_command
from benchmarks.plan import preflight
from support.world import SUITE_TASKS, World, answer, make_data

SUITE = f"""
title = "Tiny"
{SUITE_TASKS}
rows = [
    dict(name="scratch", backbone="resnet10_b", pretrain=False),
    dict(name="tricks", backbone="resnet10_d", recipe="efficient", tricks=["cosine"]),
]
"""


class Harness:
    """The command `run` on a small repository, with fake tasks."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World(folder)
        self.suite = folder / "tiny.py"
        self.suite.write_text(SUITE, encoding="utf-8")
        self.asked: list[str] = []
        self.data = make_data()
        inspect = lambda dataset, cache: self.data[dataset.path.name]  # noqa: E731
        monkeypatch.setattr(preflight, "inspect_data", inspect)
        monkeypatch.setattr(preflight, "peek_at_data", inspect)
        monkeypatch.setattr(preflight, "glance_at_data", inspect)

    def plan(self, *words: str) -> int:
        options = cli.parse(["plan", str(self.suite), "--no-measure", *words])
        return plan_command.plan(options, root=self.world.root, ask=self.ask)

    def run(self, *words: str) -> int:
        options = cli.parse(["run", str(self.suite), *words])
        return run_command.run(
            options,
            root=self.world.root,
            build_command=self.world.command,
            ask=self.ask,
        )

    def ask(self, specs: Sequence[str]) -> dict[str, Any]:
        self.asked += specs
        return answer(specs)
