"""Time the harness with many finished runs, and the first plan of many networks.

Command: python -m benchmarks.scripts.plan_scale [--runs N …] [--networks N] [--accuracy]

A short real run of three tasks gives the files of a finished run. They are copied, with the identities of a large
suite, into a run folder of N finished runs; then `plan`, `run` (which finds everything done) and `report` are timed,
each in a new process. At last a suite of many networks of timm and torchvision is planned without a cache.

`--accuracy` instead measures the steps of `mini`, runs it, and compares the expected times with the real ones.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import cli
from benchmarks.commands.request import (
    check_names_and_backbones,
    plan_request,
    read_request,
)
from benchmarks.plan import preflight
from benchmarks.plan.estimate import measured_cost, measurements_of, timings_of
from benchmarks.plan.plan import Plan, PlannedRun
from benchmarks.plan.store import RUN_FILE
from benchmarks.suite.names import ROOT
from contract.files import read_json
from contract.result import CHECKPOINT_FILE, RESULT_FILE
from contract.tasks import SOURCE

SEEDS = 3
TASKS = 3
NETWORKS = [
    f"{library}:{name}"
    for library, names in (
        ("timm", [
        "resnet18", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "seresnet50", "wide_resnet50_2",
        "resnetrs50", "resnest50d", "res2net50_26w_4s", "efficientnet_b0", "efficientnet_b2", "efficientnet_b4",
        "efficientnetv2_rw_s", "tf_efficientnetv2_b0", "mobilenetv3_large_100", "mobilenetv2_100",
        "mobilenetv4_conv_medium", "regnety_016", "regnety_040", "regnetx_032", "convnext_tiny", "convnext_small",
        "convnextv2_tiny", "swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224",
        "swinv2_tiny_window8_256", "vit_small_patch16_224", "vit_base_patch16_224", "deit_small_patch16_224",
        "hrnet_w18", "hrnet_w32", "densenet121", "densenet169", "dla34", "dla60", "vgg16_bn", "cspresnet50",
        "cspdarknet53", "darknet53", "ghostnet_100", "mnasnet_100", "fbnetc_100", "hardcorenas_a", "rexnet_100",
        "pvt_v2_b2", "poolformer_s12", "maxvit_tiny_rw_224", "edgenext_small", "repvgg_b0",
        ]),
        ("torchvision", [
        "resnet50", "regnet_y_1_6gf", "convnext_tiny", "densenet121", "mobilenet_v3_large", "efficientnet_b0",
        "swin_t", "vgg16", "resnext50_32x4d", "mnasnet1_0",
        ]),
    )
    for name in names
]  # fmt: skip
SUITE = """
tasks = dict(
    cls=dict(config="cls_train/configs/mini.py", data="cls"),
    det=dict(config="det/configs/mini.py", data="det"),
    seg=dict(config="seg/configs/mini.py", data="seg"),
)
datasets = dict(
    cls=dict(kind="imagefolder", path="{data}/cls", generate="mini-smoke"),
    det=dict(kind="voc", path="{data}/VOCdevkit", generate="mini-smoke"),
    seg=dict(kind="ade20k", path="{data}/ADEChallengeData2016", generate="mini-smoke"),
)
seeds = {seeds}
rows = [{rows}]
"""
_ROW = 'dict(name="row-{number:03d}", backbone="{backbone}", recipe="standard"),'


def main() -> int:
    """Build the folders, time the commands and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scripts.plan_scale")
    parser.add_argument("--runs", type=int, nargs="+", default=[108, 1008])
    parser.add_argument(
        "--networks", type=int, default=len(NETWORKS), help=f"at most {len(NETWORKS)}"
    )
    parser.add_argument(
        "--accuracy", action="store_true", help="compare expected times with real ones"
    )
    options = parser.parse_args()
    if options.accuracy:
        _compare_times()
        return 0
    with tempfile.TemporaryDirectory(prefix="plan-scale-") as name:
        folder = Path(name)
        print("Training the run whose files are copied", flush=True)
        templates = _train_templates(folder / "template" / "run")
        print("| finished runs | plan | run | report |")
        print("|--:|--:|--:|--:|")
        for count in options.runs:
            print(_row(folder / f"runs-{count}", count, templates), flush=True)
        seconds, cpu = _first_plan(folder, NETWORKS[: options.networks])
        print(f"\nFirst plan of {options.networks} networks: {seconds:.1f} s ({cpu:.1f} CPU s)")
    return 0


def _compare_times() -> None:
    """Measure the steps of `mini`, run it, and print the ratio of expected to real time by task."""
    _time(["plan", "mini", "--measure", "again"])
    with tempfile.TemporaryDirectory(prefix="plan-accuracy-") as name:
        run_dir = Path(name) / "runs" / "mini"
        plan = _plan(Path("mini"), run_dir)
        measured = measurements_of(plan)
        expected = {run.key: measured_cost(plan, run, measured)[0] for run in plan.runs}
        _time(["run", "mini", "--run-dir", str(run_dir)])
        taken = timings_of(plan).estimate(plan.runs, "full")
    print("| task | expected | taken | ratio |")
    print("|---|--:|--:|--:|")
    for task in dict.fromkeys(run.key.task for run in plan.runs):
        pairs = [
            (before.seconds, after.seconds)
            for run, after in zip(plan.runs, taken, strict=True)
            if run.key.task == task and (before := expected[run.key]) and after
        ]
        one, other = (sum(values) for values in zip(*pairs, strict=True))
        print(f"| {task} | {one:.0f} s | {other:.0f} s | {one / other:.2f} |")


def _train_templates(run_dir: Path) -> dict[str, Path]:
    """Return the work dir of a finished run of each task."""
    command = ["run", "mini", "--rows", "standard", "--budget", "smoke", "--run-dir", str(run_dir)]
    _time(command)
    return {
        task: run_dir / "cells" / "standard" / task / "seed-0" for task in (SOURCE, "det", "seg")
    }


def write_suite(path: Path, backbones: Sequence[str], seeds: int) -> Path:
    """Write a suite with a row for each backbone and return its path."""
    rows = "".join(
        _ROW.format(number=number, backbone=spec) for number, spec in enumerate(backbones)
    )
    data = ROOT / "data" / "miniworld" / "mini-smoke"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SUITE.format(data=data, seeds=list(range(seeds)), rows=rows), encoding="utf-8")
    return path


def _row(folder: Path, count: int, templates: dict[str, Path]) -> str:
    """Return the table's line for one number of finished runs."""
    rows = max(1, count // (SEEDS * TASKS))
    # Different networks, because equal rows share their results.
    specs = [f"resnet10_{'bd'[number % 2]}-w{8 * (number // 2 + 1)}" for number in range(rows)]
    suite = write_suite(folder / "large.py", specs, SEEDS)
    run_dir = folder / "runs" / "large"
    for _ in range(2):  # classifiers, then what starts from them
        finish(_plan(suite, run_dir), templates)
    words = [str(suite), "--run-dir", str(run_dir)]
    _time(["run", *words])  # writes the views once
    figures = [
        _time(command)
        for command in (
            ["plan", *words, "--no-measure"],
            ["run", *words],
            ["report", str(run_dir)],
        )
    ]
    cells = " | ".join(f"{seconds:.1f} s ({cpu:.1f} CPU s)" for seconds, cpu in figures)
    return f"| {rows * SEEDS * TASKS:,} | {cells} |"


def _plan(suite: Path, run_dir: Path) -> Plan:
    # A built-in suite is named, not pointed at.
    options = cli.parse(["plan", str(suite), "--run-dir", str(run_dir)])
    request = read_request(options, ROOT)
    table = request.table()
    compute = check_names_and_backbones(table, request, None)
    data = {
        name: preflight.inspect_data(dataset, request.cache)
        for name, dataset in table.used_datasets.items()
    }
    return plan_request(table, request, data, compute)


def finish(plan: Plan, templates: dict[str, Path]) -> None:
    """Write the work dir of each run whose identity is known, from the files of a finished run of its task."""
    for run in plan.runs:
        if run.identity is not None and not (plan.work_dir(run) / RESULT_FILE).exists():
            _copy(run, plan.work_dir(run), templates[run.key.task])


def _copy(run: PlannedRun, target: Path, template: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for source in template.rglob("*"):
        file = target / source.relative_to(template)
        if source.is_dir() or source.name in (RUN_FILE, RESULT_FILE):
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(source.read_bytes())
    if run.key.task == SOURCE:
        # Each classifier has its own weights, so that what starts from them has its own identity.
        with (target / CHECKPOINT_FILE).open("ab") as weights:
            weights.write(str(run.key).encode())
    started: dict[str, Any] = read_json(template / RUN_FILE) or {}
    started |= {"identity": run.identity, "components": run.components}
    _write(target / RUN_FILE, started)
    result: dict[str, Any] = read_json(template / RESULT_FILE) or {}
    result |= {"identity": run.identity, "seed": run.key.seed, "budget": "full"}
    _write(target / RESULT_FILE, result)


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON without waiting for the disk, as `contract.files` does."""
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _first_plan(folder: Path, networks: Sequence[str]) -> tuple[float, float]:
    """Return the seconds of a plan whose networks are not in the cache."""
    suite = write_suite(folder / "networks.py", networks, 1)
    cache = ROOT / "runs" / ".cache" / "backbones.json"
    aside = cache.with_suffix(".aside")
    if cache.exists():
        os.replace(cache, aside)
    try:
        words = [str(suite), "--run-dir", str(folder / "first"), "--no-measure"]
        return _time(["plan", *words])
    finally:
        if aside.exists():
            os.replace(aside, cache)


def _time(words: Sequence[str]) -> tuple[float, float]:
    """Run a command of the harness; return its seconds, and the CPU seconds of all its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode != 0:
        raise SystemExit(
            f"error: `{' '.join(command)}` failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, sum((after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime))


if __name__ == "__main__":
    sys.exit(main())
