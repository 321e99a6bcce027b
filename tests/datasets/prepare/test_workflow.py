"""`data prepare` from end to end: interruptions, full disks, and folders that are in use."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
from support.prepare_world import (
    Preparing,
    cifar_archives,
    files_below,
    imagenette_archives,
    lay_out,
    picture,
    tgz_of,
)

from benchmarks import cli
from benchmarks.suite.names import ROOT
from datasets import miniworld
from datasets.prepare import extract
from datasets.prepare.catalogue import SETS
from datasets.verify import verify


def test_malicious_archive_leaves_nothing(prepare: Preparing):
    files = {"imagenette2-320/train/a/1.JPEG": picture(1), "imagenette2-320/../../evil": b"x"}
    prepare.know("imagenette", {"all": tgz_of(files)})
    text = prepare.fail("imagenette")
    assert "imagenette2-320.tgz was refused, and nothing of it is left" in text
    assert "'imagenette2-320/../../evil'" in text
    assert prepare.left == []
    assert not (prepare.root.parent / "evil").exists()


def test_interrupted_preparation_continues(prepare: Preparing, monkeypatch):
    prepare.know("imagenette", imagenette_archives())
    put, written = extract.Staging.put, []

    def interrupted(self, relative, size_bytes, source) -> None:
        if len(written) == 4:
            raise KeyboardInterrupt
        put(self, relative, size_bytes, source)
        written.append(relative)

    with monkeypatch.context() as patch:
        patch.setattr(extract.Staging, "put", interrupted)
        command = ["data", "prepare", "imagenette", "--root", str(prepare.root)]
        assert cli.main(command) == 130
    assert not (prepare.root / "imagenette2-320").exists()
    (half,) = (prepare.root / ".prepare").glob("imagenette-*/imagenette2-320")
    assert len(files_below(half)) == 4
    times = {name: (half / name).stat().st_mtime_ns for name in written}
    prepare.server.requests.clear()
    prepare("imagenette")
    assert prepare.server.requests == []
    folder = prepare.root / "imagenette2-320"
    assert {name: (folder / name).stat().st_mtime_ns for name in written} == times
    assert verify("imagefolder", folder).counts["images"] == 8
    assert not half.parent.exists()


KILLED = """
    import os, pickle, signal, sys
    from pathlib import Path
    from benchmarks import cli
    from datasets.prepare import workflow
    from datasets.prepare.catalogue import SETS

    SETS["imagenette"] = pickle.loads(Path(sys.argv[1], "set.pickle").read_bytes())
    calls, moment = 0, int(sys.argv[2])

    def or_killed(function):
        def called(*arguments):
            global calls
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)
        return called

    # Every rename: of a file, the marker and the folder.
    os.replace = or_killed(os.replace)
    workflow.write_json = or_killed(workflow.write_json)
    sys.exit(cli.main(["data", "prepare", "imagenette", "--root", sys.argv[1]]))
"""


def test_kill_at_any_rename_leaves_no_partial_set(prepare: Preparing):
    contents = imagenette_archives()
    prepare.know("imagenette", contents)
    lay_out(prepare.root / "archives", "imagenette", contents)
    (prepare.root / "set.pickle").write_bytes(pickle.dumps(SETS["imagenette"]))
    folder = prepare.root / "imagenette2-320"
    # Nine files, the marker and the folder: each process goes on from what the last one left. The
    # last two are killed before the marker is written, and before the folder gets its name.
    for moment, written in ((4, 3), (6, 8), (2, 9), (3, 10)):
        answer = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(KILLED), str(prepare.root), str(moment)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == -signal.SIGKILL, answer.stderr
        assert not folder.exists()
        (half,) = (prepare.root / ".prepare").glob("imagenette-*/imagenette2-320")
        assert len(files_below(half)) == written
    prepare("imagenette")
    assert verify("imagefolder", folder).counts["images"] == 8
    assert prepare.server.requests == []
    assert list(files_below(prepare.root / ".prepare")) == ["imagenette.lock"]


def test_small_disk_is_reported_first(prepare: Preparing, monkeypatch):
    contents = imagenette_archives()
    prepare.know("imagenette", contents)
    usage = lambda _: type("Usage", (), {"free": 50_000})  # noqa: E731
    monkeypatch.setattr("shutil.disk_usage", usage)
    text = prepare.fail("imagenette")
    assert text.startswith("imagenette (")
    assert " to download, 100.0 kB to unpack, each about) takes 10" in text
    assert "50.0 kB is free there: free " in text
    assert not prepare.root.exists()
    assert prepare.server.requests == []


def test_small_disk_for_unpacked_size(prepare: Preparing, monkeypatch):
    prepare.know("imagenette", imagenette_archives())
    monkeypatch.setitem(SETS, "imagenette", replace(SETS["imagenette"], unpacked_bytes=0))
    usage = lambda _: type("Usage", (), {"free": 30_000})  # noqa: E731
    monkeypatch.setattr("shutil.disk_usage", usage)
    # Nine files of a block each.
    assert "Unpacking imagenette takes 36.9 kB in " in prepare.fail("imagenette")
    assert prepare.left == []


def test_full_disk_keeps_progress(prepare: Preparing, monkeypatch):
    prepare.know("imagenette", imagenette_archives())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "a.JPEG")

    with monkeypatch.context() as patch:
        patch.setattr(extract.Staging, "put", full)
        text = prepare.fail("imagenette")
    assert text == (
        "Preparing imagenette stopped at a.JPEG: No space left on device. Free some space and run "
        "the same command again: what was downloaded and unpacked is kept."
    )
    prepare("imagenette")


def test_user_folder_is_untouched(prepare: Preparing):
    prepare.know("imagenette", imagenette_archives())
    folder = prepare.root / "imagenette2-320"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    text = prepare.fail("imagenette")
    assert f"{folder} is there already, and this command did not make it" in text
    assert f"python -m benchmarks verify imagefolder {folder}" in text
    assert prepare.server.requests == []
    (folder / "mine.txt").unlink()
    prepare("imagenette")


def test_concurrent_preparation_is_refused(prepare: Preparing):
    prepare.know("imagenette", imagenette_archives())
    (prepare.root / ".prepare").mkdir(parents=True)
    with (prepare.root / ".prepare" / "imagenette.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = prepare.fail("imagenette")
    assert text == (
        f"Another process is preparing imagenette in {prepare.root}. Wait until it has ended."
    )
    prepare("imagenette")


def test_failed_set_does_not_stop_others(prepare: Preparing):
    prepare.know("imagenette", imagenette_archives())
    prepare.know("cifar10", cifar_archives())
    prepare.server.files["/imagenette2-320.tgz"].content = b"wrong"
    text = prepare.fail("imagenette", "cifar10")
    assert text.startswith("can't download imagenette2-320.tgz (")
    assert verify("imagefolder", prepare.root / "cifar10").problems == ()


def test_miniworld(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(miniworld, "prepare", lambda *words: asked.append(words) or "x")
    assert cli.main(["data", "prepare", "miniworld"]) == 0
    options = ["--preset", "mini-smoke", "--root", str(tmp_path)]
    assert cli.main(["data", "prepare", "miniworld", *options]) == 0
    assert asked == [("mini", ROOT / "data" / "miniworld"), ("mini-smoke", tmp_path)]
    assert capsys.readouterr().out == "The dataset is in x.\n" * 2


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["vco"], "unknown dataset 'vco'; did you mean 'voc'?"),
        (["imagnet", "voc"], "unknown dataset 'imagnet'; did you mean 'imagenet'?"),
        (["voc", "--archives", "x"], "--archives was given without imagenet"),
        (["voc", "miniworld", "--root", "x"], "miniworld fills a folder of its own"),
        (["voc", "--rot", "x"], "unknown option '--rot'; did you mean '--root'?"),
        ([], "required: NAME"),
    ],
)
def test_mistakes(words: list[str], part: str, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["data", "prepare", *words]) == 2
    assert part in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
