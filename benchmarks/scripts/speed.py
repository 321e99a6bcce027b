"""Measure the training speed of the tasks: ratios of mixed precision to float32 within one run.

Command: python -m benchmarks.scripts.speed [--size mini|full] [--tasks cls det seg] [--iterations N] [--rounds N]
    [--workers N]

Each round trains every task for some iterations in both precisions, one after the other, on generated data. The result
is the median over the rounds. The speed of a shared machine changes between two runs, but hardly within one.

The ratio is that of the device: the time that a step waits for its images is left out. The speed with this time is in
brackets; if it is much lower, the loader is too slow for the device, and more workers may help.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.files import write_json
from contract.machine import cpu_cores
from contract.result import RESULT_FILE
from contract.settings import ROOT
from contract.tasks import TASKS
from datasets import miniworld

PRECISIONS = ("fp32", "auto")
DEVICE = "train_images_per_second_without_loading"
WHOLE = "train_images_per_second"
# task -> precision -> field -> one value for each round
Measured = dict[str, dict[str, dict[str, list[float]]]]


@dataclass(frozen=True)
class Setting:
    """The measurement at one size.

    Attributes:
        preset: The generated data.
        backbone: Spec of the network.
        configs: Config by task.
        batch_sizes: Images per iteration by task.
    """

    preset: str
    backbone: str
    configs: dict[str, str]
    batch_sizes: dict[str, int]


SETTINGS = {
    "mini": Setting(
        "mini-smoke",
        "resnet10_d-w24",
        {"cls": "mini", "det": "mini", "seg": "mini"},
        {"cls": 32, "det": 4, "seg": 4},
    ),
    "full": Setting(
        "fullsize-smoke",
        "resnet50_d",
        {"cls": "imagenet", "det": "voc0712", "seg": "ade20k"},
        {"cls": 32, "det": 2, "seg": 2},
    ),
}
FOLDERS = {"cls": "cls", "det": "VOCdevkit", "seg": "ADEChallengeData2016"}


def main() -> int:
    """Measure, print the table and write `runs/speed-SIZE.json`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scripts.speed", description=__doc__)
    parser.add_argument("--size", choices=SETTINGS, default="mini")
    parser.add_argument(
        "--tasks",
        "--stages",
        nargs="+",
        choices=FOLDERS,
        default=list(FOLDERS),
        help="default: all",
    )
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--workers", type=int, default=cpu_cores(), help="loader processes; default: one per core"
    )
    options = parser.parse_args()
    setting = SETTINGS[options.size]
    data = miniworld.prepare(setting.preset, ROOT / "data" / "miniworld")
    measured: Measured = {}
    facts: dict[str, object] = {"workers": options.workers}
    for number in range(options.rounds):
        for task in options.tasks:
            for precision in PRECISIONS:
                limits = dict(iterations=options.iterations, workers=options.workers)
                result = _train(setting, task, precision, limits, data)
                found = measured.setdefault(task, {}).setdefault(precision, {DEVICE: [], WHOLE: []})
                for field, values in found.items():
                    values.append(result[field])
                facts[precision] = result["precision"]["dtype"]
                facts["device"] = result["device"]
                facts["packages"] = result["packages"]
                print(
                    f"round {number + 1} {task} {precision}: {result[DEVICE]} images/s "
                    f"({result[WHOLE]} with loading)",
                    flush=True,
                )
    rows = {
        task: {precision: _medians(found) for precision, found in by.items()}
        for task, by in measured.items()
    }
    print(f"\n{options.size}: {setting.backbone}, fp32 compared with {facts['auto']}")
    print("| task | fp32 images/s (with loading) | auto images/s (with loading) | ratio |")
    print("|---|---|---|---|")
    for task, row in rows.items():
        print(f"| {task} | {_cell(row['fp32'])} | {_cell(row['auto'])} | {ratio(row):.2f} |")
    target = ROOT / "runs" / f"speed-{options.size}.json"
    write_json(target, {"facts": facts, "medians": rows, "all": measured})
    print(f"written: {target.relative_to(ROOT)}")
    return 0


def _medians(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {field: statistics.median(values) for field, values in found.items()}


def ratio(row: Mapping[str, Mapping[str, float]]) -> float:
    """Return how much faster the device is with `auto` than with `fp32`."""
    return row["auto"][DEVICE] / row["fp32"][DEVICE]


def _cell(speeds: Mapping[str, float]) -> str:
    return f"{speeds[DEVICE]:.2f} ({speeds[WHOLE]:.2f})"


def _train(
    setting: Setting, task: str, precision: str, limits: Mapping[str, int], data: Path
) -> dict[str, Any]:
    budget = dict(**limits, batch_size=setting.batch_sizes[task], test_images=1)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", TASKS[task].module, setting.configs[task]),
            *("--backbone", setting.backbone, "--data", str(data / FOLDERS[task])),
            *("--work-dir", folder, "--precision", precision, "--budget", "smoke"),
            *("--set", f"budgets={ {'smoke': budget} }"),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"error: {task} with {precision} failed:\n{done.stderr[-2000:]}")
        return json.loads((Path(folder) / RESULT_FILE).read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
