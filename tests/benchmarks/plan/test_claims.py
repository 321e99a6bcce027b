"""Claims of several processes and machines on one run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.world import clean_environment

from benchmarks.plan import claims
from benchmarks.plan.claims import STALE_SECONDS, Owner, find, hold, take
from benchmarks.suite.names import ROOT
from contract.errors import UserError
from contract.files import read_json, write_json


@pytest.fixture(autouse=True)
def forget_clocks():
    claims._clocks.clear()


def foreign(place: Path, age: float, **changes: object) -> Path:
    """Claim as a process of another machine, whose last heartbeat is some seconds old."""
    owner = replace(claims._ourselves(), host="node7", pid=4242, table="other boot", **changes)
    place.mkdir(parents=True)
    file = place / "0123456789abcdef"
    write_json(file, owner.__dict__)
    moment = time.time() - age
    os.utime(file, (moment, moment))
    return file


def test_second_claim_is_refused_until_the_first_is_closed(tmp_path):
    place = tmp_path / "store" / ".claims" / "ab12"
    first = take(place)
    assert first is not None and first.is_held()
    assert take(place) is None
    found = find(place)
    assert found is not None and not found.is_stale and found.age < 60
    assert (found.owner.pid, found.owner.host) == (os.getpid(), os.uname().nodename)
    assert str(found.owner) == f"process {os.getpid()} on {os.uname().nodename}"
    first.close()
    assert find(place) is None and not first.is_held()
    assert list(place.parent.iterdir()) == []
    second = take(place)
    assert second is not None
    first.close()
    assert second.is_held()
    second.close()


def test_one_of_many_processes_wins(tmp_path):
    """Twelve processes start at once beside a stale claim; each holds it alone, and none is left out."""
    foreign(tmp_path / "claims" / "ab12", STALE_SECONDS + 60)
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from benchmarks.plan.claims import hold, take\n"
        "folder = Path(sys.argv[1])\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "first = take(folder / 'claims' / 'ab12')\n"
        "print('won' if first else 'lost', flush=True); sys.stdin.readline()\n"
        "with hold(folder / 'claims' / 'other'):\n"
        "    with (folder / 'log').open('a') as log: log.write('in ')\n"
        "    time.sleep(0.005)\n"
        "    with (folder / 'log').open('a') as log: log.write('out ')\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**clean_environment(), "PYTHONPATH": str(ROOT)},
            text=True,
        )
        for _ in range(12)
    ]

    def ask() -> list[str]:
        return [process.stdout.readline().strip() for process in processes if process.stdout]

    def go_on() -> None:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()

    assert ask() == ["ready"] * 12
    go_on()
    assert sorted(ask()) == ["lost"] * 11 + ["won"]
    go_on()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 12
    assert (tmp_path / "log").read_text(encoding="utf-8") == "in out " * 12


def test_killed_process_of_this_machine_is_noticed_at_once(tmp_path):
    code = (
        "import os, sys, time; from pathlib import Path; from benchmarks.plan.claims import take\n"
        "claim = take(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "ab12")], stdout=subprocess.PIPE, cwd=ROOT
    )
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        assert take(tmp_path / "ab12") is None
        holder.kill()
        # Its parent has not read its exit status yet, so its process id still exists.
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        claim = take(tmp_path / "ab12")
        assert claim is not None
        claim.close()


def test_process_id_that_was_given_again_is_no_owner(tmp_path):
    place = tmp_path / "ab12"
    file = foreign(place, 0)
    ourselves = claims._ourselves()
    write_json(file, ourselves.__dict__)
    assert take(place) is None
    write_json(file, {**ourselves.__dict__, "started": "1"})
    claim = take(place)
    assert claim is not None
    claim.close()


@pytest.mark.parametrize(
    ("age", "taken"), [(STALE_SECONDS - 60, False), (STALE_SECONDS + 60, True)]
)
def test_silent_machine(tmp_path, age, taken):
    place = tmp_path / "ab12"
    file = foreign(place, age)
    claim = take(place)
    assert (claim is not None) == taken
    assert file.exists() != taken
    if claim is not None:
        claim.close()


def test_suspended_process_of_this_machine_keeps_its_claim(tmp_path):
    """Its task is not suspended with it and goes on writing."""
    claim = take(tmp_path / "ab12")
    assert claim is not None
    long_ago = time.time() - 10 * STALE_SECONDS
    os.utime(claim._file, (long_ago, long_ago))
    assert take(tmp_path / "ab12") is None
    claim.close()


def test_clock_of_this_machine_does_not_matter(tmp_path, monkeypatch):
    """The clock of this machine is a day ahead of the file server's."""
    foreign(tmp_path / "ab12", 30)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 86400)
    assert take(tmp_path / "ab12") is None
    found = find(tmp_path / "ab12")
    assert found is not None and 25 < found.age < 90


def test_owner_that_was_away_too_long_notices(tmp_path, monkeypatch):
    place = tmp_path / "ab12"
    monkeypatch.setattr(claims, "_table", lambda: "a machine that was suspended")
    away = take(place)
    assert away is not None and away.is_held()
    long_ago = time.time() - STALE_SECONDS - 60
    os.utime(away._file, (long_ago, long_ago))
    monkeypatch.setattr(claims, "_table", lambda: "another machine")
    claim = take(place)
    assert claim is not None
    assert not away.is_held() and away.is_lost
    away.close()
    assert claim.is_held()
    claim.close()


def test_heartbeat(tmp_path):
    claim = take(tmp_path / "ab12")
    assert claim is not None
    beating = claims.Claim(claim._file, heartbeat_seconds=0.01)
    os.utime(claim._file, (1, 1))
    deadline = time.monotonic() + 10
    while claim._file.stat().st_mtime == 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    claim._file.unlink()
    while not beating.is_lost:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_waiting_names_the_owner_and_ends(tmp_path):
    foreign(tmp_path / "run" / ".claims" / "plan", 0, job="12_3")
    owners: list[Owner] = []
    sentence = (
        rf"process 4242 on node7, Slurm job 12_3 has worked on {tmp_path / 'run'} for 0 s\. End it"
    )
    with (
        pytest.raises(UserError, match=sentence),
        hold(tmp_path / "run" / ".claims" / "plan", owners.append, patience=0.2),
    ):
        raise AssertionError("it was held")
    assert [owner.pid for owner in owners] == [4242]


def test_damaged_claim_is_kept_for_a_while(tmp_path):
    file = foreign(tmp_path / "ab12", STALE_SECONDS - 60)
    file.write_text("{", encoding="utf-8")
    assert read_json(file) is None
    assert take(tmp_path / "ab12") is None
