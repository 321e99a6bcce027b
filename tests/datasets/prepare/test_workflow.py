"""`data prepare` from end to end, on small archives in the layouts of the real ones."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from support.prepare_world import (
    Server,
    ade_archives,
    cifar_archives,
    devkit,
    files_below,
    imagenet_archives,
    imagenette_archives,
    lay_out,
    picture,
    places_archives,
    serving,
    small_set,
    tar_of,
    tgz_of,
    voc_archives,
)
from support.small_world import SMALL

from benchmarks import cli
from benchmarks.suite.names import ROOT
from datasets import miniworld
from datasets.prepare import extract
from datasets.prepare.catalogue import SETS
from datasets.verify import class_names, verify


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving() as running:
        yield running


class Preparing:
    """The command `data prepare` with a catalogue whose sets are small."""

    def __init__(self, root: Path, server: Server, monkeypatch, capsys) -> None:
        self.root = root
        self.server = server
        self._patch = monkeypatch
        self._capsys = capsys
        # What is not replaced by `know` may not be asked for.
        for name, dataset in SETS.items():
            none = {role: replace(a, urls=()) for role, a in dataset.archives.items()}
            monkeypatch.setitem(SETS, name, replace(dataset, archives=none))
        self._real = dict(SETS)

    def know(self, name: str, contents: dict[str, bytes]) -> None:
        mirrors = {} if name == "imagenet" else {"urls": ("http://127.0.0.1/",)}
        archives = self._real[name].archives.items()
        known = {role: replace(archive, **mirrors) for role, archive in archives}
        self._patch.setitem(SETS, name, replace(self._real[name], archives=known))
        self._patch.setitem(SETS, name, small_set(name, contents, self.server))

    def __call__(self, *words: str) -> str:
        """Runs the command; returns what it says."""
        assert cli.main(["data", "prepare", *words, "--root", str(self.root)]) == 0
        return self._capsys.readouterr().out

    def fail(self, *words: str) -> str:
        assert cli.main(["data", "prepare", *words, "--root", str(self.root)]) == 2
        text = self._capsys.readouterr().err
        assert text.startswith("error: ")
        assert "Traceback" not in text
        return text.removeprefix("error: ").strip()

    @property
    def left(self) -> list[str]:
        """Everything but what a preparation may leave: archives and the locks."""
        names = files_below(self.root)
        return [n for n in names if not n.startswith("archives/") and not n.endswith(".lock")]


@pytest.fixture
def prepare(tmp_path, server, monkeypatch, capsys) -> Preparing:
    return Preparing(tmp_path / "data", server, monkeypatch, capsys)


def check_second_call(prepare: Preparing, name: str) -> None:
    """Checks that another call asks for nothing, changes nothing, and says so."""
    prepare.server.requests.clear()
    before = {path: path.stat().st_mtime_ns for path in prepare.root.rglob("*")}
    text = prepare(name)
    folder = prepare.root / SETS[name].folder
    assert text == f"{name}: done before, in {folder}; there is nothing to do.\n"
    assert prepare.server.requests == []
    assert {path: path.stat().st_mtime_ns for path in prepare.root.rglob("*")} == before


def test_voc(prepare: Preparing, pristine: Path):
    prepare.know("voc", voc_archives(pristine / "VOCdevkit"))
    text = prepare("voc")
    folder = prepare.root / "VOCdevkit"
    assert f"voc: the dataset is in {folder}." in text
    assert f"are kept in {prepare.root / 'archives'}; they may be removed." in text
    made = files_below(folder)
    del made[".prepared.json"]
    expected = files_below(pristine / "VOCdevkit")
    assert made == {name: content for name, content in expected.items() if "/" in name}
    report = verify("voc", folder)
    assert report.problems == ()
    assert report.counts["images"] == 8
    check_second_call(prepare, "voc")


def test_ade20k(prepare: Preparing, pristine: Path):
    prepare.know("ade20k", ade_archives(pristine / "ADEChallengeData2016"))
    prepare("ade20k")
    folder = prepare.root / "ADEChallengeData2016"
    report = verify("ade20k", folder)
    assert report.problems == ()
    assert report.counts["images"] == 5
    assert class_names("ade20k", folder) == SMALL.seg_names()
    check_second_call(prepare, "ade20k")


def test_several_imagefolders_at_once(prepare: Preparing):
    prepare.know("imagenette", imagenette_archives())
    prepare.know("cifar10", cifar_archives())
    prepare.know("places365", places_archives())
    prepare("imagenette", "cifar10", "places365", "cifar10")
    counts = {"imagenette2-320": (6, 2), "cifar10": (15, 3), "places365": (3, 2)}
    for folder, (train, val) in counts.items():
        report = verify("imagefolder", prepare.root / folder)
        assert report.problems == ()
        assert (report.counts["train_images"], report.counts["val_images"]) == (train, val)
    places = prepare.root / "places365"
    assert class_names("imagefolder", places) == ("airfield", "apartment_building-outdoor")
    for name, seed in {
        "train/airfield/00000001.jpg": 11,
        "train/apartment_building-outdoor/00000002.jpg": 13,
        "val/apartment_building-outdoor/Places365_val_00000001.jpg": 1,
        "val/airfield/Places365_val_00000002.jpg": 2,
    }.items():
        assert (places / name).read_bytes() == picture(seed)
    for name in ("imagenette", "cifar10", "places365"):
        check_second_call(prepare, name)


def test_imagenet(prepare: Preparing, tmp_path: Path):
    prepare.know("imagenet", imagenet_archives())
    own = tmp_path / "own"
    lay_out(own, "imagenet", imagenet_archives())
    text = prepare("imagenet", "--archives", str(own))
    assert "kept" not in text
    folder = prepare.root / "imagenet"
    made = files_below(folder)
    del made[".prepared.json"]
    # Labels 2, 1, 1 are ids of the devkit: 2 is the tench and 1 the kit fox.
    assert made == {
        "devkit_classes.tsv": b"1\tn02119789\tkit fox\n2\tn01440764\ttench\n",
        "val/n01440764/ILSVRC2012_val_00000001.JPEG": picture(1),
        "val/n02119789/ILSVRC2012_val_00000002.JPEG": picture(2),
        "val/n02119789/ILSVRC2012_val_00000003.JPEG": picture(3),
        "train/n01440764/n01440764_1.JPEG": picture(51),
        "train/n01440764/n01440764_2.JPEG": picture(52),
        "train/n02119789/n02119789_1.JPEG": picture(71),
        "train/n02119789/n02119789_2.JPEG": picture(72),
    }
    assert verify("imagefolder", folder).problems == ()
    assert class_names("imagefolder", folder) == ("n01440764", "n02119789")
    assert not (prepare.root / "archives").exists()
    check_second_call(prepare, "imagenet")


def test_imagenet_archives_are_looked_for_in_the_root(prepare: Preparing):
    prepare.know("imagenet", imagenet_archives())
    text = prepare.fail("imagenet")
    assert (
        f"{prepare.root} does not hold ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_img_val.tar" in text
    )
    assert "get them from https://www.image-net.org/download.php and name the folder" in text
    lay_out(prepare.root, "imagenet", imagenet_archives())
    (prepare.root / "archives").mkdir()
    name = "ILSVRC2012_img_val.tar"
    (prepare.root / name).rename(prepare.root / "archives" / name)
    prepare("imagenet")
    assert verify("imagefolder", prepare.root / "imagenet").problems == ()


@pytest.mark.parametrize(
    ("role", "content", "fault"),
    [
        ("devkit", devkit(labels=b"2\n3\n1\n"), r"labels that are no class ids \(\[3\]\)"),
        ("devkit", devkit(labels=b"2\n1\n"), "val_00000003.JPEG; expected ILSVRC2012_val_00000001"),
        ("devkit", tgz_of({"readme.txt": b""}), "lacks ILSVRC2012_devkit_t12/data/meta.mat"),
        ("train", tar_of({"n99999999.tar": tar_of({"a.JPEG": b""})}), "holds n99999999/a.JPEG;"),
        ("val", tar_of({"cat.JPEG": b""}), "holds cat.JPEG; expected"),
    ],
)
def test_other_archives_of_imagenet(prepare: Preparing, role: str, content: bytes, fault: str):
    contents = {**imagenet_archives(), role: content}
    prepare.know("imagenet", contents)
    lay_out(prepare.root / "archives", "imagenet", contents)
    assert re.search(fault, prepare.fail("imagenet"))
    assert prepare.left == []


@pytest.mark.parametrize(
    ("contents", "fault"),
    [
        (places_archives(categories=b"/a/../x 0\n"), "has the category '/a/../x'"),
        (places_archives(categories=b"/a/airfield 0\n"), "gives no category"),
        ({**places_archives(), "lists": tar_of({"x": b""})}, "lacks categories_places365.txt"),
        (
            {**places_archives(), "train": tar_of({"data_256/z/zoo/1.jpg": b""})},
            "holds data_256/z/zoo/1.jpg, which is in none of the categories",
        ),
    ],
)
def test_other_archives_of_places365(prepare: Preparing, contents: dict[str, bytes], fault: str):
    prepare.know("places365", contents)
    assert fault in prepare.fail("places365")
    assert prepare.left == []


def test_a_malicious_archive_leaves_nothing(prepare: Preparing):
    files = {"imagenette2-320/train/a/1.JPEG": picture(1), "imagenette2-320/../../evil": b"x"}
    prepare.know("imagenette", {"all": tgz_of(files)})
    text = prepare.fail("imagenette")
    assert "imagenette2-320.tgz was refused, and nothing of it is left" in text
    assert "'imagenette2-320/../../evil'" in text
    assert prepare.left == []
    assert not (prepare.root.parent / "evil").exists()


def test_an_interrupted_preparation_goes_on(prepare: Preparing, monkeypatch):
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

    # Every change of a name on the disk: of a file's, the marker's and the folder's.
    os.replace = or_killed(os.replace)
    workflow.write_json = or_killed(workflow.write_json)
    sys.exit(cli.main(["data", "prepare", "imagenette", "--root", sys.argv[1]]))
"""


def test_kill_9_at_any_rename_leaves_no_half_set(prepare: Preparing):
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


def test_a_disk_that_is_too_small_is_told_first(prepare: Preparing, monkeypatch):
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


def test_a_disk_that_is_too_small_for_what_the_archives_hold(prepare: Preparing, monkeypatch):
    prepare.know("imagenette", imagenette_archives())
    monkeypatch.setitem(SETS, "imagenette", replace(SETS["imagenette"], unpacked_bytes=0))
    usage = lambda _: type("Usage", (), {"free": 30_000})  # noqa: E731
    monkeypatch.setattr("shutil.disk_usage", usage)
    # Nine files of a block each.
    assert "Unpacking imagenette takes 36.9 kB in " in prepare.fail("imagenette")
    assert prepare.left == []


def test_a_disk_that_fills_up_is_told_and_what_is_there_is_kept(prepare: Preparing, monkeypatch):
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


def test_a_folder_of_the_users_is_left_alone(prepare: Preparing):
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


def test_two_processes_do_not_prepare_the_same_set(prepare: Preparing):
    prepare.know("imagenette", imagenette_archives())
    (prepare.root / ".prepare").mkdir(parents=True)
    with (prepare.root / ".prepare" / "imagenette.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = prepare.fail("imagenette")
    assert text == (
        f"Another process is preparing imagenette in {prepare.root}. Wait until it has ended."
    )
    prepare("imagenette")


def test_a_set_that_fails_does_not_keep_the_others_from_it(prepare: Preparing):
    prepare.know("imagenette", imagenette_archives())
    prepare.know("cifar10", cifar_archives())
    prepare.server.files["/imagenette2-320.tgz"].content = b"wrong"
    text = prepare.fail("imagenette", "cifar10")
    assert text.startswith("can't download imagenette2-320.tgz (")
    assert verify("imagefolder", prepare.root / "cifar10").problems == ()


def test_the_miniworld_is_prepared_as_before(tmp_path, monkeypatch, capsys):
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
