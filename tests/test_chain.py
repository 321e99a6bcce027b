"""The whole chain, as a user runs it: generate, pretrain, transfer, evaluate, report; at the smoke budget."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run_suite(*arguments, run_dir):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "run", *arguments, "--run-dir", str(run_dir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=800,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("chain") / "mini-smoke"
    done = run_suite("mini", "--budget", "smoke", run_dir=run_dir)
    assert done.returncode == 0, done.stdout + done.stderr
    return run_dir, done.stdout


def results(run_dir):
    found = {}
    for path in run_dir.glob("cells/*/*/seed-0/result.json"):
        row, task = path.parts[-4], path.parts[-3]
        found[row, task] = json.loads(path.read_text())
    return found


@pytest.mark.timeout(900)
def test_every_run_has_result_and_full_load_report(finished):
    run_dir, _ = finished
    by_run = results(run_dir)
    assert set(by_run) == {
        (row, task)
        for row in ("scratch", "standard", "tricks")
        for task in ("cls", "det", "seg")
        if (row, task) != ("scratch", "cls")
    }
    for (row, task), result in by_run.items():
        report = result["checkpoint"]
        if task == "cls" or row == "scratch":
            assert report is None
            continue
        assert report["matched"] == report["total"] > 40
        top1 = {m["name"]: m["value"] for m in by_run[row, "cls"]["metrics"]}["top1"]
        # The score of the exported weights.
        assert report["source"]["top1"] == top1


def test_reports_exist_and_say_smoke(finished):
    run_dir, printed = finished
    for name in ("table.md", "table.csv", "table.tex", "report.html"):
        assert (run_dir / name).stat().st_size > 200, name
    assert "smoke" in (run_dir / "table.md").read_text().lower()
    assert "report.html" in printed
    html = (run_dir / "report.html").read_text()
    assert "<svg" in html and "data:image/" in html


def test_table_matches_results(finished):
    run_dir, _ = finished
    by_run = results(run_dir)
    with (run_dir / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    shown = {(r["row"], r["metric"]): r["mean"] for r in rows}
    for task, metric in (("det", "map"), ("seg", "miou"), ("seg", "pixacc")):
        for row in ("scratch", "standard", "tricks"):
            measured = {m["name"]: m["value"] for m in by_run[row, task]["metrics"]}[metric]
            assert float(shown[row, metric]) == pytest.approx(measured, abs=1e-9)


def test_second_run_skips_everything(finished):
    run_dir, _ = finished
    table = (run_dir / "table.md").read_bytes()
    times = {p: p.stat().st_mtime_ns for p in run_dir.glob("cells/**/result.json")}
    done = run_suite("mini", "--budget", "smoke", run_dir=run_dir)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {p: p.stat().st_mtime_ns for p in run_dir.glob("cells/**/result.json")} == times
    assert (run_dir / "table.md").read_bytes() == table
