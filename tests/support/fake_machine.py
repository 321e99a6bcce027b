"""A machine whose tasks and torch checks are functions: commands of the acceptance are answered, not run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from benchmarks.acceptance.execute import Outcome
from contract.acceptance import Line
from contract.tasks import TASKS
from support.fake_run import make_result, write_json

FACTS = {
    "type": "cpu",
    "name": "Xeon",
    "dtypes": {"auto": "bfloat16", "fp32": "float32", "bf16": "bfloat16"},
    "refusals": {"fp16": "a CPU has no float16 kernels"},
    "gpus": [],
    "cuda": "13.0",
}
GPU_FACTS = {
    **FACTS,
    "type": "cuda",
    "name": "NVIDIA T4",
    "gpus": [{"name": "NVIDIA T4", "capability": [7, 5], "memory_bytes": 16 * 2**30}],
}


class FakeMachine:
    """Answers commands as `benchmarks.acceptance.execute.execute` does.

    Attributes:
        facts: What `engine.acceptance device` prints.
        device: The device of results.
        losses: Training losses by precision.
        faults: The outcome of commands that contain all of these words, in place of the usual one.
        change: Called with task, precision and the content of a result, to change it.
        commands: The commands, with their environment.
    """

    def __init__(self) -> None:
        self.facts = FACTS
        self.losses: dict[str, list[float]] = {"fp32": [2.0, 1.9, 1.8], "bf16": [2.001, 1.9, 1.8]}
        self.faults: list[tuple[tuple[str, ...], Outcome]] = []
        self.change: Callable[[str, str, dict[str, Any]], object] = lambda *_: None
        self.weights = np.ones(4, np.float32)
        self.commands: list[tuple[list[str], dict[str, str]]] = []

    def execute(self, command: list[str], **options: Any) -> Outcome:
        self.commands.append((command, options["environment"]))
        words = " ".join(command)
        for marks, outcome in self.faults:
            if all(mark in words for mark in marks):
                return outcome
        if "engine.acceptance" in command:
            return self._engine(command[3])
        if "pytest" in command:
            return done("....s\n4 passed, 1 skipped in 3.21s\n")
        work_dir = Path(command[command.index("--work-dir") + 1])
        if options.get("until") is not None:
            work_dir.mkdir(parents=True)
            (work_dir / "last_checkpoint").touch()
            return ended(None, stopped=options["until"]())
        if options.get("mark") is not None:
            return ended(1, "error: the image cannot be decoded\n", marked_seconds=4.0)
        self._train(command, work_dir, options["environment"])
        return done("top1 25.00%\n")

    def _engine(self, check: str) -> Outcome:
        line = Line(check=f"{check} of the engine", found="1", expected="1", verdict="ok")
        facts = f"@facts {json.dumps(self.facts)}\n" if check == "device" else ""
        return done(f"{facts}@check {line.model_dump_json()}\n")

    def _train(self, command: list[str], work_dir: Path, environment: dict[str, str]) -> None:
        task = next(one.name for one in TASKS.values() if one.module in command)
        precision = (
            command[command.index("--precision") + 1] if "--precision" in command else "fp32"
        )
        scores = {metric.name: 25.0 for metric in TASKS[task].metrics if metric.required}
        content = make_result({"row": {"cls": scores, task: scores}}, "row", task, 0, "smoke", "0")  # pyright: ignore[reportArgumentType]
        content["device"]["type"] = (
            "cpu" if environment.get("CUDA_VISIBLE_DEVICES") == "" else "cuda"
        )
        self.change(task, precision, content)
        steps = [
            {"step": step, "epoch": step, "loss": loss, "lr": 0.1}
            for step, loss in enumerate(self.losses.get(precision, self.losses["fp32"]), 1)
        ]
        write_json(work_dir / "curves.json", {"train": steps, "val": []})
        if task == "cls":
            save_file({"weight": self.weights}, work_dir / "backbone.safetensors")
        write_json(work_dir / "result.json", content)


def done(output: str = "") -> Outcome:
    """Return the outcome of a command that succeeded."""
    return ended(0, output)


def ended(status: int | None, output: str = "", **options: Any) -> Outcome:
    """Return an outcome after five seconds."""
    return Outcome(status=status, seconds=5.0, output=output, limit_seconds=60.0, **options)
