"""Where the time of a command went."""

import io
import json

import pytest
from rich.console import Console

from benchmarks.plan.store import RunKey
from benchmarks.run import times as module
from benchmarks.run.times import RUNNING, Times
from contract.timing import PHASES, TIMING_FILE

CLS, DET = RunKey("plain", "cls", 0), RunKey("plain", "det", 0)


def _write_timing(folder, *, began, ended, **phases):
    folder.mkdir(exist_ok=True)
    document = {"began": began, "ended": ended, "phases": {**dict.fromkeys(PHASES, 0.0), **phases}}
    (folder / TIMING_FILE).write_text(json.dumps(document))


@pytest.fixture
def times(tmp_path, monkeypatch):
    """A classifier that trains from 10 to 30, after 4 s of imports, and a detector that waits until 30."""
    now = [10.0]
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    found = Times(places=2, harness={RUNNING: 40.0})
    found.ready(CLS)
    found.started(CLS)
    _write_timing(tmp_path / "cls", began=14.0, ended=29.0, preparing=2.0, training=13.0)
    now[0] = 20.0
    found.ready(DET)
    now[0] = 25.0
    found.ready(DET)
    now[0] = 30.0
    found.ended(CLS, tmp_path / "cls")
    found.started(DET)
    now[0] = 50.0
    # Of an earlier process.
    _write_timing(tmp_path / "det", began=1.0, ended=2.0, training=1.0)
    found.ended(DET, tmp_path / "det")
    return found


def test_seconds_of_each_run(times):
    runs = times.by_run()
    assert runs[CLS] == {
        **dict.fromkeys(PHASES, 0.0),
        "waiting": 0.0,
        "start": 4.0,
        "preparing": 2.0,
        "training": 13.0,
        "end": 1.0,
        "all": 20.0,
    }
    assert runs[DET] == {"waiting": 10.0, "all": 20.0}


def test_idle_places(times):
    assert times.idle() == 2 * 40.0 - 20.0 - 20.0


def test_table_has_means_by_task_and_sums(times):
    console = Console(file=io.StringIO(), width=200)
    times.show(console)
    lines = console.file.getvalue().splitlines()
    cells = {
        words[0]: words[1:]
        for line in lines
        if (words := [word.strip() for word in line.strip("│┃").split("│")])
    }
    assert cells["cls"] == ["1", "0.0", "4.0", "2.0", "0.0", "13.0", *["0.0"] * 3, "1.0", "20.0"]
    assert cells["det"] == ["1", "10.0", *["–"] * 8, "20.0"]
    assert cells["sum of all"][-1] == "40.0"
    assert "places free for 40.0 s in all" in lines[-1]


def test_nothing_to_show_without_runs():
    console = Console(file=io.StringIO())
    Times().show(console)
    assert console.file.getvalue() == ""


def test_file_in_the_run_folder(times, tmp_path):
    times.write(tmp_path)
    written = json.loads((tmp_path / TIMING_FILE).read_text())
    assert written["runs"]["cells/plain/cls/seed-0"]["training"] == 13.0
    assert written["idle"] == 40.0
