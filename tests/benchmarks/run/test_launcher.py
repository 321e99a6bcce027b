"""Runs that a warm process forks: environment, output, exit status, termination, and the way back to a new process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest
from support.world import clean_environment, is_alive, wait_for

from benchmarks.run.launcher import Launcher, Launchers
from benchmarks.run.process import TaskProcess, terminate
from contract.tasks import Task

ROOT = Path(__file__).parents[3]
# Each word of the command line makes it do one thing.
FAKE = """
import os, random, signal, subprocess, sys, time, warnings
IMPORTED = f"imported by {os.getpid()} with GPUs {os.environ.get('CUDA_VISIBLE_DEVICES')!r}"
def command():
    for word in sys.argv[1:]:
        if word == "place":
            print(os.getcwd(), os.environ.get("OWN"), os.environ.get("GONE"), os.environ["CUDA_VISIBLE_DEVICES"])
            print(IMPORTED)
            print("leads", os.getpgrp() != os.getpid() and os.getsid(0) == os.getpgrp())
            print("input", repr(sys.stdin.buffer.raw.read()))
            print("error too", file=sys.stderr)
        elif word == "draw":
            print("draw", random.random())
        elif word == "raise":
            raise RuntimeError("the loss is no number")
        elif word == "exit":
            sys.exit("a sentence")
        elif word == "files":
            print("files", sorted(map(int, os.listdir("/proc/self/fd")))[:-1])
        elif word == "abort":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif word == "family":
            child = subprocess.Popen(["sleep", "60"])
            print("pid", os.getpid(), child.pid, flush=True)
            time.sleep(60)
    return 3
if __name__ == "__main__":
    sys.exit(command())
"""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "GONE": "yes"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launcher")
    (folder / "fake_launched.py").write_text(FAKE, encoding="utf-8")
    return folder


def _environment(place: Path) -> dict[str, str]:
    return {**ENVIRONMENT, "PYTHONPATH": f"{ROOT}{os.pathsep}{place}"}


@pytest.fixture(scope="module")
def launchers(place):
    with pytest.MonkeyPatch.context() as patch:
        _know_fake_task(patch)
        found = Launchers(ROOT, _environment(place), {"fake": 2})
    found._launchers["fake_launched"] = _launcher(place)
    yield found
    found.close()


def _know_fake_task(patch: pytest.MonkeyPatch) -> None:
    entry = Task.__new__(Task)
    object.__setattr__(entry, "module", "fake_launched")
    patch.setattr("benchmarks.run.launcher.TASKS", {"fake": entry})


def _launcher(place: Path) -> Launcher:
    return Launcher("fake_launched", ROOT, _environment(place), further=())


class _Run:
    def __init__(self, place: Path, launchers: Launchers | None, *words: str, **variables: str):
        self.log = place / f"{time.monotonic_ns()}.txt"
        environment = {**_environment(place), "CUDA_VISIBLE_DEVICES": "7", **variables}
        command = [sys.executable, "-m", "fake_launched", *words]
        self.process = TaskProcess(
            command,
            log=self.log,
            cwd=place,
            environment=environment,
            on_progress=lambda _: None,
            launchers=launchers,
        )

    def end(self) -> int:
        wait_for(lambda: self.process.poll() is not None)
        status = self.process.poll()
        assert status is not None
        return status

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")


def test_forked_run_has_its_own_place_and_reports_its_status(place, launchers):
    one, two = (_Run(place, launchers, "place", OWN=own) for own in ("a", "b"))
    assert (one.end(), two.end()) == (3, 3)
    first, imported, *rest = one.text().splitlines()
    # GONE is a variable of the launcher and of the run; GPUs are hidden from the import only.
    assert first == f"{place} a yes 7"
    assert imported.endswith("with GPUs ''")
    assert two.text().splitlines()[:2] == [f"{place} b yes 7", imported]
    assert rest == ["leads True", "input b''", "error too"]


def test_forked_runs_draw_other_random_numbers(place, launchers):
    runs = [_Run(place, launchers, "draw") for _ in range(2)]
    assert [run.end() for run in runs] == [3, 3]
    assert runs[0].text() != runs[1].text()


def test_forked_run_has_the_files_of_a_new_process_only(place, launchers):
    run = _Run(place, launchers, "files")
    assert run.end() == 3
    assert run.text().strip() == "files [0, 1, 2]"


@pytest.mark.parametrize(
    ("word", "status", "text"),
    [
        ("raise", 1, "RuntimeError: the loss is no number"),
        ("exit", 1, "a sentence"),
        ("abort", 128 + signal.SIGSEGV, ""),
    ],
)
def test_status_of_a_failed_run(place, launchers, word, status, text):
    run = _Run(place, launchers, word)
    assert run.end() == status
    assert text in run.text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL])
def test_signals_reach_the_run_and_its_children(place, launchers, number):
    run = _Run(place, launchers, "family")
    family = wait_for(lambda: [int(word) for word in run.text().split()[1:]])
    run.process.signal(number)
    status = run.end()
    # An interrupted run prints a traceback here; a real task returns 130.
    assert status == (1 if number == signal.SIGINT else 128 + number)
    wait_for(lambda: not any(map(is_alive, family)))


def test_forked_runs_die_with_the_killed_harness(place):
    script = textwrap.dedent(
        f"""
        import sys
        sys.path[:0] = {[str(Path(__file__).parents[2]), str(ROOT), str(Path(__file__).parent)]!r}
        from pathlib import Path
        import test_launcher
        launcher = test_launcher._launcher(Path({str(place)!r}))
        run = launcher.start(["family"], Path("/"), test_launcher._environment(Path({str(place)!r})))
        print("launcher", launcher._process.pid, run.stdout.readline().decode(), end="", flush=True)
        import time; time.sleep(60)
        """
    )
    harness = subprocess.Popen(
        [sys.executable, "-c", script], env=clean_environment(), stdout=subprocess.PIPE, text=True
    )
    with harness:
        assert harness.stdout is not None
        words = harness.stdout.readline().split()
        family = [int(word) for word in words if word.isdigit()]
        assert len(family) == 3
        assert all(map(is_alive, family))
        harness.kill()
    wait_for(lambda: not any(map(is_alive, family)))


def test_dead_launcher_is_replaced_by_a_new_process(place, launchers, monkeypatch):
    dead = _launcher(place)
    os.kill(dead._process.pid, signal.SIGSTOP)
    monkeypatch.setitem(launchers._launchers, "fake_launched", dead)
    accepted = _Run(place, launchers, "place")
    assert accepted.process.poll() is None
    dead.close()
    for run in (accepted, _Run(place, launchers, "place")):
        assert run.end() == 3
        # A new process imports the module where its GPU is visible.
        assert "with GPUs '7'" in run.text()


def test_run_that_should_end_is_not_started_again(place, launchers, monkeypatch):
    with closing(_launcher(place)) as dead:
        os.kill(dead._process.pid, signal.SIGSTOP)
        monkeypatch.setitem(launchers._launchers, "fake_launched", dead)
        run = _Run(place, launchers, "place")
    terminate([run.process], 0.1, lambda: False)
    assert run.process.poll() == 128 + signal.SIGKILL
    assert run.text() == ""


def test_module_without_the_function_is_started_as_a_process(place, launchers, monkeypatch):
    code = 'import sys; print("argument", sys.argv[1]); sys.exit(4)'
    folder = place / "other"
    folder.mkdir()
    (folder / "fake_launched.py").write_text(f"if __name__ == '__main__':\n    {code}\n")
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    with closing(Launcher("fake_launched", ROOT, environment, further=())) as other:
        monkeypatch.setitem(launchers._launchers, "fake_launched", other)
        monkeypatch.setattr(launchers, "_environment", environment)
        run = _Run(folder, launchers, "draw", PYTHONPATH=environment["PYTHONPATH"])
        assert run.end() == 4
    assert run.text() == "argument draw\n"


def test_other_commands_get_processes_of_their_own(place, launchers):
    environment = _environment(place)
    command = [sys.executable, "-m", "fake_launched"]
    for words, variables in (
        ([sys.executable, "fake_launched.py"], environment),
        ([sys.executable, "-m", "torch.distributed.run", "-m", "fake_launched"], environment),
        (command, {**environment, "OMP_NUM_THREADS": "2"}),
    ):
        assert launchers.start(words, place, variables) is None
    forked = launchers.start(command, place, environment)
    assert forked is not None
    wait_for(lambda: forked.poll() == 3)
    forked.stdin.close()
    forked.stdout.close()


def test_single_run_of_a_task_gets_no_launcher(monkeypatch, place):
    _know_fake_task(monkeypatch)
    single = Launchers(ROOT, _environment(place), {"fake": 1})
    command = [sys.executable, "-m", "fake_launched"]
    assert single.start(command, place, _environment(place)) is None
