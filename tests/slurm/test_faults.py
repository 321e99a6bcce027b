"""A suite on a real cluster, which the test disturbs in every way that clusters have.

`python -m pytest -m slurm tests/slurm -s` starts Slurm's daemons in a temporary folder and prints what it observes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.suite.names import ROOT

sys.path.insert(0, str(Path(__file__).parent))
from cluster import Cluster, missing

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

SUITE = ["run", "mini", "--budget", "smoke", "--device", "cpu"]
# Refuses jobs of a name for good, and all others twice.
SBATCH = """#!/usr/bin/env bash
if grep -q -- '--job-name=mini-seg$' "$1"; then
  echo 'sbatch: error: Batch job submission failed: Invalid account or account/partition combination' >&2
  exit 1
fi
count="$(cat '{folder}/calls' 2>/dev/null || echo 0)"
echo "$((count + 1))" >'{folder}/calls'
if [ "$count" -lt 2 ]; then
  echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
  exit 1
fi
exec '{sbatch}' "$@"
"""


class Study:
    """The suite on a cluster, with one core for each run as in the local one.

    Args:
        cluster: The cluster.
        folder: A folder for runs.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.run_dir = folder / "cluster" / "mini"
        self.observed: list[tuple[str, str]] = []

    def command(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Call `python -m benchmarks`."""
        paths = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
        return subprocess.run(
            [sys.executable, "-m", "benchmarks", *words],
            cwd=ROOT,
            env={**self.cluster.environment, "PYTHONPATH": paths, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def submit(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Submit what is left."""
        asked = ["--cpus-per-run", "1", "--memory-per-run", "2", "--signal-seconds", "20"]
        cluster = ["--cluster", "slurm", "--run-dir", str(self.run_dir), *asked]
        return self.command(*SUITE, *cluster, *words, **variables)

    def status(self) -> dict[str, dict[str, Any]]:
        """Return what `status --json` says of each run, by `row/task`, and `/1` for seed 1."""
        runs = json.loads(self.command("status", str(self.run_dir), "--json").stdout)["runs"]
        return {
            f"{run['row']}/{run['task']}" + (f"/{run['seed']}" if run["seed"] else ""): run
            for run in runs
        }

    def note(self, fault: str, seen: str) -> None:
        """Note what was observed."""
        self.observed.append((fault, seen))
        print(f"| {fault} | {seen} |", flush=True)

    def until(self, what: str, condition: Callable[[], Any], seconds: float = 240.0) -> Any:
        """Wait until a condition holds, and return its value."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > deadline:
                logs = "\n".join(
                    f"{path.name}: {path.read_text(errors='replace')[-1500:]}"
                    for path in (self.run_dir / "slurm").glob("*.out")
                )
                raise AssertionError(f"{what}: not within {seconds:.0f} s\n{self.status()}\n{logs}")
            time.sleep(1)
        return value

    def running(self, run: str) -> psutil.Process:
        """Return the training process of a run once it runs."""
        state = self.until(f"{run} runs", lambda: self._state(run, "running"))
        pid = int(state["owner"].split()[1])

        def task() -> psutil.Process | None:
            module = run.split("/")[1]
            names = {"cls": "cls_train.train", "det": "det.train", "seg": "seg.train"}
            with contextlib.suppress(psutil.Error):
                for child in psutil.Process(pid).children(recursive=True):
                    words = child.cmdline()
                    if names[module] in words and "guard.py" not in " ".join(words):
                        return child
            return None

        return self.until(f"the task of {run} runs", task)

    def hold(self, run: str) -> psutil.Process:
        """Suspend the training process of a run, so that it does not end before a fault arrives."""
        task = self.running(run)
        task.suspend()
        return task

    def start_again(self, job: str) -> None:
        """Start a requeued job, for which Slurm waits two minutes otherwise."""
        self.until(f"{job} is requeued", lambda: self.cluster.queue().get(job) == "PENDING")
        self.cluster.call(["scontrol", "update", f"jobid={job}", "starttime=now"])

    def _state(self, run: str, state: str) -> dict[str, Any] | None:
        found = self.status()[run]
        return found if found["state"] == state else None

    def becomes(self, run: str, *states: str, seconds: float = 240.0) -> dict[str, Any]:
        """Wait until a run is in one of some states."""

        def look() -> dict[str, Any] | None:
            found = self.status()[run]
            return found if found["state"] in states else None

        return self.until(f"{run} is {' or '.join(states)}", look, seconds)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Iterator[Study]:
    folder = tmp_path_factory.mktemp("slurm")
    with Cluster(folder / "daemons") as cluster:
        found = Study(cluster, folder)
        yield found
    print("\n" + "\n".join(f"| {fault} | {seen} |" for fault, seen in found.observed))


def test_suite_survives_faults(study: Study) -> None:
    """In the end its results are those of a local run."""
    cluster = study.cluster
    _busy_scheduler(study)
    held = [study.hold(run) for run in ("standard/cls", "tricks/cls")]
    _killed_task(study, "standard/cls", held[0])
    _killed_command(study, "tricks/cls", held[1])
    study.submit()
    _requeue(study, "standard/cls")
    _time_limit(study, "standard/det")
    study.until("all jobs end", lambda: not cluster.queue())
    study.submit()
    study.until("all jobs end", lambda: not cluster.queue())
    _drained_node(study)
    _dead_node(study)
    study.until("all jobs end", lambda: not cluster.queue())
    # The table has seed 1 of all rows, of which only one row was submitted.
    states = [run["state"] for run in study.status().values()]
    assert states.count("done") == 10 and set(states) == {"done", "waiting", "not started"}
    again = study.submit("--seeds", "0", "1", "--rows", "scratch")
    assert "4 done before" in again.stdout and "Submitted 0 runs" in again.stdout
    assert study.command("report", str(study.run_dir)).returncode == 0
    _compare_with_local_run(study)


def _busy_scheduler(study: Study) -> None:
    stub = study.folder / "stub"
    stub.mkdir()
    sbatch = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True).stdout
    (stub / "sbatch").write_text(
        SBATCH.format(folder=stub, sbatch=sbatch.strip()), encoding="utf-8"
    )
    (stub / "sbatch").chmod(0o755)
    answer = study.submit(PATH=f"{stub}:{os.environ['PATH']}")
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "Submitted 7 runs" in answer.stdout
    assert int((stub / "calls").read_text()) > 3
    study.note("sbatch times out twice", "repeated after 2 and 5 s, then accepted")
    failed = study.status()["scratch/seg"]
    assert failed["state"] == "failed" and "Invalid account" in failed["note"]
    study.note("sbatch refuses one run for good", f"this run alone fails: “{failed['note']}”")


def _killed_task(study: Study, run: str, task: psutil.Process) -> None:
    task.send_signal(signal.SIGKILL)
    failed = study.becomes(run, "failed")
    assert "killed (signal 9)" in failed["note"] and Path(failed["log"]).is_file()
    study.note(
        "kill -9 of a training process",
        "the run fails with the signal and its log; the next submission resumes it",
    )


def _killed_command(study: Study, run: str, task: psutil.Process) -> None:
    job = study.status()[run]["job"]
    study.cluster.call(["scancel", "--batch", "--signal=KILL", job])
    study.until(f"{run} is not running", lambda: study.status()[run]["state"] != "running")
    state = study.status()[run]["state"]
    study.until("the task is gone", lambda: not _is_alive(task))
    assert state in ("lost", "stopped", "queued")
    study.note(
        "scancel --signal=KILL of a job",
        f"its task is killed too; the run is “{state}” at once, and the next submission resumes it",
    )
    # Dependents waited for the job, not for its success.
    dependent = study.becomes(run.replace("cls", "det"), "failed")
    assert "its classifier tricks · cls · seed 0 has no result" in dependent["note"]
    study.note(
        "a classifier without a result", f"what starts from it does not hang: “{dependent['note']}”"
    )


def _requeue(study: Study, run: str) -> None:
    task = study.hold(run)
    job = study.status()[run]["job"]
    study.cluster.call(["scontrol", "requeue", job])
    study.until("the task is gone", lambda: not _is_alive(task))
    study.start_again(job)
    study.becomes(run, "done")
    study.note(
        "scontrol requeue (as preemption does)",
        "the same job starts again, takes the run over at once and ends it",
    )


def _time_limit(study: Study, run: str) -> None:
    task = study.hold(run)
    job = study.status()[run]["job"]
    study.cluster.call(["scontrol", "update", f"jobid={job}", "timelimit=1"])
    study.until("the task is gone", lambda: not _is_alive(task))
    study.cluster.call(["scontrol", "update", f"jobid={job}", "timelimit=15"])
    study.start_again(job)
    log = (study.run_dir / "slurm" / f"{job}_0_log.out").read_text(encoding="utf-8")
    assert "Caught signal SIGUSR2" in log and "Calling checkpoint method" in log
    study.becomes(run, "done")
    log = (study.run_dir / "slurm" / f"{job}_0_log.out").read_text(encoding="utf-8")
    assert "Requeued job" in log
    study.note(
        "a time limit",
        "signal before the limit; the run stops, its job is requeued by itself, resumes and ends",
    )


def _drained_node(study: Study) -> None:
    call = study.cluster.call
    call(["scontrol", "update", "nodename=node1", "state=drain", "reason=test"])
    answer = study.submit("--rows", "scratch", "--seeds", "1")
    assert answer.returncode == 0, answer.stdout
    study.hold("scratch/det/1")
    assert _node(study, "scratch/det/1") == "node2"
    assert study.cluster.states()["node1"] == "drained"
    call(["scontrol", "update", "nodename=node1", "state=resume"])
    study.note("a node is drained", "jobs start on the other node; no command is needed")


def _dead_node(study: Study) -> None:
    """Kill the daemon and all processes of the node that still trains a run."""
    run = "scratch/det/1"
    job = study.status()[run]["job"]
    task = study.running(run)
    study.cluster.kill_node("node2")
    study.until("the task is gone", lambda: not _is_alive(task))
    study.until("the node is down", lambda: "down" in study.cluster.states()["node2"])
    study.start_again(job)
    study.becomes(run, "done")
    study.note(
        "a node dies (slurmd and all of its processes killed)",
        "Slurm requeues the job on the other node, which takes the run over and ends it",
    )
    study.cluster.start_node("node2")


def _node(study: Study, run: str) -> str:
    job = study.status()[run]["job"]
    words = ["squeue", "--noheader", "-r", "--job", job, "--format", "%N"]
    return study.cluster.call(words).strip()


def _compare_with_local_run(study: Study) -> None:
    local = study.folder / "local" / "mini"
    cores = os.cpu_count() or 1
    for words in ([], ["--rows", "scratch", "--seeds", "1"]):
        answer = study.command(*SUITE, *words, "--jobs", str(cores), "--run-dir", str(local))
        assert answer.returncode == 0, answer.stdout + answer.stderr
    compared = 0
    for path in sorted(local.glob("cells/*/*/*/result.json")):
        other = study.run_dir / path.relative_to(local)
        ours, theirs = (json.loads(file.read_text()) for file in (path, other))
        assert ours["identity"] == theirs["identity"], path
        assert ours["metrics"] == theirs["metrics"], path
        compared += len(ours["metrics"])
    assert compared > 20
    tables = [(folder / "table.md").is_file() for folder in (local, study.run_dir)]
    assert all(tables)
    study.note(
        "the table in the end", f"all {compared} scores equal those of a local run, digit for digit"
    )


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def test_whole_nodes_share_a_folder(study: Study) -> None:
    """Two jobs run the ordinary command, each with the cores of a node; each run is trained by one of them."""
    run_dir = study.folder / "nodes" / "mini"
    words = [*SUITE, "--rows", "scratch", "standard", "--jobs", "2", "--run-dir", str(run_dir)]
    command = f"exec {sys.executable} -m benchmarks {' '.join(words)}"
    logs = [study.folder / f"node{number}.log" for number in (1, 2)]
    for log in logs:
        options = ["--nodes=1", "--exclusive", "--requeue", "--signal=B:USR1@30", f"--chdir={ROOT}"]
        study.cluster.call(
            ["sbatch", *options, f"--output={log}", "--wrap", command],
            {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
        )
    study.until("all jobs end", lambda: not study.cluster.queue())
    texts = [log.read_text(encoding="utf-8") for log in logs]
    answer = study.command("status", str(run_dir), "--json")
    assert json.loads(answer.stdout)["counts"]["done"] == 5, texts
    for run in (
        "scratch · det",
        "scratch · seg",
        "standard · cls",
        "standard · det",
        "standard · seg",
    ):
        assert sum(f"{run} · seed 0: started" in text for text in texts) == 1, (run, texts)
    assert all("0 failed, 0 skipped" in text and "report.html" in text for text in texts), texts
    started = [text.count(": started on") for text in texts]
    study.note(
        "two whole-node jobs on one run folder",
        f"{started[0]} and {started[1]} of 5 runs trained, each by one of them; both print the table",
    )
