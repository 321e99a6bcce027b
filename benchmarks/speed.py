"""Training speed of the three stages: mixed precision against float32, as ratios within one run.

Command: python -m benchmarks.speed [--size mini|full] [--stages cls det seg] [--iterations N] [--rounds N]

Each round trains every stage for some iterations in both precisions, one after the other, on generated data; the
median over rounds is told. A shared machine changes speed between two runs, hardly within one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import miniworld

ROOT = Path(__file__).resolve().parents[1]
PRECISIONS = ("fp32", "auto")


@dataclass(frozen=True)
class Setting:
    """What is measured at one size.

    Attributes:
        preset: The generated data.
        backbone: Spec of the network.
        configs: Config by stage.
        batch_sizes: Images of an iteration by stage.
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
MODULES = {"cls": "cls_train.train", "det": "det.train", "seg": "seg.train"}
FOLDERS = {"cls": "cls", "det": "VOCdevkit", "seg": "ADEChallengeData2016"}


def main() -> int:
    """Measure, print the table and write `runs/speed-SIZE.json`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--size", choices=SETTINGS, default="mini")
    parser.add_argument("--stages", nargs="+", choices=MODULES, default=list(MODULES))
    parser.add_argument("--iterations", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    setting = SETTINGS[options.size]
    data = miniworld.prepare(setting.preset, ROOT / "data" / "miniworld")
    measured: dict[str, dict[str, list[float]]] = {}
    facts: dict[str, object] = {}
    for number in range(options.rounds):
        for stage in options.stages:
            for precision in PRECISIONS:
                result = _train(setting, stage, precision, options.iterations, data)
                speed = result["train_images_per_second"]
                measured.setdefault(stage, {}).setdefault(precision, []).append(speed)
                facts[precision] = result["precision"]["dtype"]
                facts["device"] = result["device"]
                facts["packages"] = result["packages"]
                print(f"round {number + 1} {stage} {precision}: {speed} images/s", flush=True)
    rows = {
        stage: {precision: statistics.median(values) for precision, values in by.items()}
        for stage, by in measured.items()
    }
    print(f"\n{options.size}: {setting.backbone}, fp32 against {facts['auto']}")
    print("| stage | fp32 images/s | auto images/s | ratio |\n|---|---|---|---|")
    for stage, row in rows.items():
        ratio = row["auto"] / row["fp32"]
        print(f"| {stage} | {row['fp32']:.2f} | {row['auto']:.2f} | {ratio:.2f} |")
    target = ROOT / "runs" / f"speed-{options.size}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"facts": facts, "medians": rows, "all": measured}, indent=1))
    print(f"written: {target.relative_to(ROOT)}")
    return 0


def _train(
    setting: Setting, stage: str, precision: str, iterations: int, data: Path
) -> dict[str, Any]:
    budget = dict(iterations=iterations, batch_size=setting.batch_sizes[stage], test_images=1)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", MODULES[stage], setting.configs[stage]),
            *("--backbone", setting.backbone, "--data", str(data / FOLDERS[stage])),
            *("--work-dir", folder, "--precision", precision, "--budget", "smoke"),
            *("--set", f"budgets={ {'smoke': budget} }"),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"error: {stage} with {precision} failed:\n{done.stderr[-2000:]}")
        return json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
