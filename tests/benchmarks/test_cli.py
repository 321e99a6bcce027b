"""The command line: its mistakes, exit statuses, and what a run prints."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
from rich.console import Console
from support.harness import Harness
from support.world import (
    answer,
    clean_environment,
    forget_digests,
    make_data,
    wait_for,
)

from benchmarks import cli
from benchmarks.commands import doctor
from benchmarks.commands import plan as plan_command
from benchmarks.commands import run as run_command
from benchmarks.plan import hardware, preflight
from benchmarks.suite.names import ROOT
from contract.errors import UserError
from contract.files import read_json


@pytest.fixture
def harness(tmp_path, monkeypatch) -> Harness:
    return Harness(tmp_path, monkeypatch)


def test_run_prints_table_and_report_path(harness, capsys, monkeypatch):
    monkeypatch.setenv(run_command.SETUP_SECONDS_VARIABLE, "3")
    assert harness.run() == 0
    text = capsys.readouterr().out
    run_dir = harness.world.root / "runs" / "tiny"
    assert f"Report: {run_dir / 'report.html'}" in text
    assert re.search(r"Set-up: 3 s\. Suite: .* Runs: 5 run, 0 cached, 0 failed, 0 skipped\.", text)
    assert "[5/5]" in text
    for name in ("table.md", "table.csv", "table.tex", "report.html"):
        assert (run_dir / name).is_file()
    assert "tricks" in (run_dir / "table.md").read_text(encoding="utf-8")
    assert harness.run() == 0
    assert "0 run, 5 cached" in capsys.readouterr().out
    assert sorted(harness.asked) == ["resnet10_b", "resnet10_d"]


def test_failed_run_sets_exit_status(harness, capsys):
    harness.world.behaviour["tricks/cls"] = "user-error"
    assert harness.run() == 1
    text = capsys.readouterr().out
    assert "FAILED tricks · cls · seed 0: the image a.jpg is truncated; remove it Log: " in text
    assert "FAILED tricks · det · seed 0: skipped: its classifier failed" in text
    assert "2 run, 0 cached, 1 failed, 2 skipped" in text


def test_wrong_data_sets_exit_status(harness, capsys):
    harness.data = make_data(seg="the folder is empty; fill it")
    assert harness.run() == 1
    assert "FAILED scratch · seg · seed 0: the folder is empty; fill it" in capsys.readouterr().out


def test_ctrl_c_explains_resume(harness, capsys):
    harness.world.behaviour["scratch/seg"] = "hang"

    def interrupt() -> None:
        wait_for(lambda: len(harness.world.journal_lines("end")) == 4)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert harness.run("--jobs", "2") == 130
    thread.join()
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(r"Interrupted: \d of 5 runs are done and kept. Run the same command", text)


def test_plan_prints_runs_and_time(harness, capsys, monkeypatch):
    assert harness.plan() == 0
    text = capsys.readouterr().out
    assert re.search(r"scratch · det · seed 0 +will run +not run yet +unknown +unknown", text)
    assert "Time left: unknown" in text
    assert not (harness.world.root / "runs" / "tiny").exists()
    monkeypatch.setattr(hardware, "cpu_model", lambda: "this CPU")
    harness.run()
    capsys.readouterr()
    harness.world.edit("seg/train.py", "from engine import run\nEPOCHS = 3\n")
    forget_digests()
    assert harness.plan() == 0
    text = capsys.readouterr().out
    assert re.search(
        r"scratch · det · seed 0 +cached +done +2.0 s +0.5 GiB +unknown +earlier", text
    )
    assert re.search(
        r"scratch · seg · seed 0 +will run +will run again: code of seg/train.py differs", text
    )
    assert "2 runs left (2 earlier run): 0.00" in text
    assert re.search(r"With N at a time, each as fast as here: 1: 4.0 s, 2: 2.0 s, 4: 2.0 s", text)
    assert re.search(r"Longest chain: 2.0 s, \w+ · seg · seed 0\.", text)
    assert "Memory: up to 0.5 GiB a run" in text
    # Times belong to a machine.
    monkeypatch.setattr(hardware, "cpu_model", lambda: "another CPU")
    assert harness.plan() == 0
    assert "Time left: unknown" in capsys.readouterr().out


def test_plan_measures_what_is_unknown(harness, capsys):
    asked = []

    def measure(plan, slots, measured, say, *, again):
        asked.append((len(plan.wanted), again))
        say("[1/1] resnet10_b")
        raise KeyboardInterrupt

    for words in ([], ["--measure", "again"], ["--no-measure"], ["--budget", "smoke"]):
        options = cli.parse(["plan", str(harness.suite), *words])
        root = harness.world.root
        assert plan_command.plan(options, root=root, ask=harness.ask, measure=measure) == 0
    assert asked == [(5, False), (5, True)]
    assert "Interrupted; what was measured is kept." in capsys.readouterr().out


def test_plan_reports_data_problem_once(harness, capsys):
    harness.data = make_data(det="the folder is empty\nfill it")
    assert harness.plan() == 0
    text = capsys.readouterr().out
    assert re.search(r"scratch · det · seed 0 +cannot run +its data, see below +unknown", text)
    assert text.count("Data: the folder is empty\nfill it") == 1


def test_doctor_checks_packages_and_data(capsys):
    assert doctor.examine(Console(width=200), ROOT) in (0, 1)
    text = capsys.readouterr().out
    for part in ("Python", "packages", "free disk", "mmcv ops served by", "voc_ade20k"):
        assert part in text


def test_backbone_option_adds_row(harness, capsys):
    assert harness.run("--backbone", "resnet18_d") == 0
    table = (harness.world.root / "runs/tiny/table.md").read_text(encoding="utf-8")
    assert "resnet18\\_d" in table
    assert "8 run" in capsys.readouterr().out


def test_budgets_have_own_folders(harness):
    assert harness.run("--budget", "smoke", "--rows", "scratch") == 0
    assert (harness.world.root / "runs" / "tiny-smoke" / "plan.json").is_file()
    assert not (harness.world.root / "runs" / "tiny").exists()


def _folders(harness: Harness) -> set[str]:
    return {path.parent.name for path in (harness.world.root / "runs").glob("*/plan.json")}


def test_overrides_have_own_folder_and_shared_store(harness):
    assert harness.run() == 0
    before = (harness.world.root / "runs/tiny/table.md").read_text(encoding="utf-8")
    assert harness.run("--set", "det.lr=0.03") == 0
    assert _folders(harness) == {"tiny", "tiny+det.lr=0.03"}
    # The classifiers and the segmentors are those of the first command.
    assert len(harness.world.journal_lines("start")) == 5 + 2
    assert harness.run("--precision", "bf16", "--rows", "scratch", "--tasks", "seg") == 0
    assert _folders(harness) == {"tiny", "tiny+det.lr=0.03", "tiny+bf16"}
    assert (harness.world.root / "runs/tiny/table.md").read_text(encoding="utf-8") == before
    # Loaders change no number.
    assert harness.run("--set", "det.train_dataloader.num_workers=4") == 0
    assert len(_folders(harness)) == 3
    assert len(harness.world.journal_lines("start")) == 5 + 2 + 1


def test_user_data_has_own_folder(harness, tmp_path):
    harness.data["pictures"] = harness.data["cls"]
    assert harness.run("--cls-data", str(tmp_path / "pictures"), "--tasks", "cls") == 0
    [folder] = _folders(harness)
    assert folder.startswith("tiny+cls-data=pictures-")


def test_named_run_folder_takes_any_settings(harness, tmp_path):
    words = ["--run-dir", str(tmp_path / "mine")]
    for more in ([], ["--set", "det.lr=2"], []):
        assert harness.run(*words, *more) == 0
    assert len(harness.world.journal_lines("start")) == 5 + 2
    assert (tmp_path / "store").is_dir()


def test_partial_run_keeps_table(harness):
    assert harness.run() == 0
    table = harness.world.root / "runs/tiny/table.md"
    before = table.read_text(encoding="utf-8")
    for words in (["--rows", "tricks"], ["--tasks", "cls"], ["--stages", "seg"], ["--seeds", "0"]):
        assert harness.run(*words) == 0
        assert table.read_text(encoding="utf-8") == before
    assert len(harness.world.journal_lines("start")) == 5


def test_checks_only_data_of_selected_tasks(harness, monkeypatch):
    checked, glanced = [], []
    inspect = preflight.inspect_data
    monkeypatch.setattr(
        preflight, "inspect_data", lambda d, c: (checked.append(d.path.name), inspect(d, c))[1]
    )
    monkeypatch.setattr(
        preflight, "glance_at_data", lambda d, c: (glanced.append(d.path.name), inspect(d, c))[1]
    )
    assert harness.run("--tasks", "det") == 0
    assert (checked, glanced) == (["cls", "det"], ["seg"])


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("tricks", ["cls", "mixup", "det", "giou"]),
        ("suites", ["mini", "TrickBench mini", "cls, det, seg"]),
        ("tasks", ["probe", "segmentation", "ade20k", "python -m det.train"]),
        ("datasets", ["miniworld", "imagenet", "data prepare voc"]),
    ],
)
def test_list(kind, parts, capsys):
    assert cli.main(["list", kind]) == 0
    text = capsys.readouterr().out
    for part in parts:
        assert part in text


def test_list_backbones(monkeypatch):
    started = []
    answer = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: started.append(command) or answer)
    assert cli.main(["list", "backbones"]) == 0
    assert started[0][1:] == ["-m", "backbones"]


@pytest.mark.parametrize("command", ["run", "plan"])
def test_unusable_gpu_stops_before_training(harness, monkeypatch, command):
    problem = "1 GPU is present (A100), but torch cannot use it: …; update the driver"
    facts = {"device": None, "problem": problem}
    monkeypatch.setattr(harness, "ask", lambda specs: {**answer(specs), **facts})
    with pytest.raises(UserError, match=r"1 GPU is present \(A100\)"):
        getattr(harness, command)()
    assert harness.world.journal_lines() == []


def test_device_is_asked_for_printed_and_passed_on(harness, monkeypatch, capsys):
    gpus = [
        {"id": "0", "name": "A100", "left_out": None},
        {"id": "1", "name": "A100", "left_out": None},
        {"id": "2", "name": "T4", "left_out": "another number format"},
    ]
    facts = {"device": "cuda", "gpus": gpus, "device_reason": "torch can use it"}
    monkeypatch.setattr(harness, "ask", lambda specs: {**answer(specs), **facts})
    assert harness.run("--tasks", "cls") == 0
    text = capsys.readouterr().out
    assert "2 at a time (one per GPU)" in text
    assert "Device: 2 × A100. Left out: GPU 2 (T4): another number format." in text
    monkeypatch.setattr(
        harness, "ask", lambda specs: {**answer(specs), "device_reason": "asked for"}
    )
    assert harness.run("--tasks", "cls", "--device", "cpu") == 0
    assert "Device: CPU (asked for)." in capsys.readouterr().out
    record = read_json(harness.world.root / "runs/tiny+cpu/cells/tricks/cls/seed-0/run.json")
    assert record is not None
    assert record["command"][record["command"].index("--device") + 1] == "cpu"


def test_precision_that_the_device_does_not_have(harness):
    with pytest.raises(UserError, match=r"--precision fp16 was given, which the CPU does not supp"):
        harness.run("--precision", "fp16")
    assert harness.world.journal_lines() == []


def test_unknown_backbone(harness):
    with pytest.raises(UserError, match="unknown backbone 'vgg'"):
        harness.run("--backbone", "vgg")
    assert harness.world.journal_lines() == []


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["rnu"], "unknown command 'rnu'; did you mean 'run'?"),
        (["data", "prepaer"], "unknown data command 'prepaer'; did you mean 'prepare'?"),
        (["run", "--bugdet", "smoke"], "unknown option '--bugdet'; did you mean '--budget'?"),
        (["plan", "--seed=0"], "unknown option '--seed'; did you mean '--seeds'?"),
        (["run", "mini", "short"], "'short' is one word too many"),
        (["run", "mnii"], "unknown suite 'mnii'; did you mean 'mini'?"),
        (["list", "trick"], "unknown kind 'trick'; did you mean 'tricks'?"),
        (["run", "--rows"], "--rows: expected at least one argument"),
        (["run", "--seeds", "x"], "a seed is a whole number"),
        (["run", "--jobs", "0"], "expected auto or a whole number, 1 or more"),
        (["run", "--budget", "ful"], "unknown budget 'ful'; did you mean 'full'?"),
        (["run", "--device", "cudda"], "unknown device 'cudda'; did you mean 'cuda'?"),
        (["run", "--precision", "fp61"], "unknown precision 'fp61'; did you mean 'fp16'?"),
        (["run", "--rows", "trick"], "unknown row 'trick'; did you mean 'tricks'?"),
        (["run", "--stages", "sge"], "unknown task 'sge'; did you mean 'seg'?"),
        (["run", "--set", "lr=1"], "Write TASK.key=value"),
        (["data", "prepare", "vco"], "unknown dataset 'vco'; did you mean 'voc'?"),
        (["data", "prepare", "miniworld", "--preset", "mnii"], "unknown miniworld preset 'mnii'"),
        (["verify", "vco", "/data"], "did you mean 'voc'?"),
        (["report", "/absent"], "/absent"),
        ([], "are required"),
    ],
)
def test_mistakes(words, part, capsys):
    assert cli.main(words) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert part in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("error", "status", "part"),
    [
        # It cannot go on where it was.
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
        (OSError(errno.ENOSPC, "No space", "log"), 2, "The disk is full while writing log."),
        (UserError("do this"), 2, "error: do this"),
    ],
)
def test_ending(monkeypatch, capsys, error, status, part):
    def fail(options: object) -> int:
        raise error

    monkeypatch.setattr(doctor, "doctor", fail)
    assert cli.main(["doctor"]) == status
    assert part in capsys.readouterr().err


def test_help_lists_commands():
    command = [sys.executable, "-m", "benchmarks", "--help"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in cli.COMMANDS:
        assert name in text


def test_harness_does_not_import_torch():
    code = (
        "import sys, pkgutil, benchmarks.cli, benchmarks.report.write, benchmarks.commands as c\n"
        "for m in pkgutil.iter_modules(c.__path__): __import__(f'{c.__name__}.{m.name}')\n"
        "print('torch' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "False"


@pytest.mark.parametrize(
    "words", [("--budget", "ful"), ("--precision", "fp61"), ("--rows", "x"), ("--tasks", "x")]
)
def test_mistake_makes_no_run_folder(tmp_path, capsys, words):
    folder = tmp_path / "run"
    assert cli.main(["run", "mini", "--run-dir", str(folder), *words]) == 2
    assert capsys.readouterr().err.startswith("error: unknown ")
    assert not folder.exists()


@pytest.mark.parametrize("seconds", ["-1", "0", "nan", "inf", "x"])
def test_a_wrong_interval_of_status_is_refused(seconds):
    with pytest.raises(UserError, match="--watch"):
        cli.parse(["status", "runs/mini", "--watch", seconds])
