"""Setting up: which Python is used, when `.venv` is made, and what an interruption leaves."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from harness_world import clean_environment

from benchmarks import setup_environment as setup
from benchmarks.suite import ROOT

PYPROJECT = """
[project]
dependencies = [
    "alpha>=1.2,<2",  # a "comment" with ] in it
    "beta[extra]==3.0",
]
[project.optional-dependencies]
test = ["gamma>=1"]
"""


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (tmp_path / "benchmarks" / "constraints.txt").write_text("alpha==1.2\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def calls(root, monkeypatch) -> list[list[str]]:
    """Replaces `venv`, `pip` and `pyright`; returns their command lines."""
    made: list[list[str]] = []

    def call(command: list[str], failure: str) -> None:
        made.append(command[1:])
        if "venv" in command:
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.unlink(missing_ok=True)
            python.symlink_to(sys.executable)

    monkeypatch.setattr(setup, "_call", call)
    monkeypatch.setattr(setup, "unmet", lambda requirements: ["alpha (not installed)"])
    return made


def test_requirements_are_read_as_a_toml_parser_would(root):
    assert setup.read_requirements(root / "pyproject.toml") == ["alpha>=1.2,<2", "beta[extra]==3.0"]
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    assert setup.read_requirements(ROOT / "pyproject.toml", test=True) == wanted
    # The tests run what the extra is for.
    assert set(project["optional-dependencies"]["export"]) <= set(wanted)


@pytest.mark.parametrize(
    ("requirement", "version", "met"),
    [
        ("a>=2.11", "2.11.0a0+cu130", True),
        ("a>=2.11", "2.9.1", False),
        ("a<81,>=68", "80.10.2", True),
        ("a<81", "81", False),
        ("a==2.1.0", "2.1", True),
        ("a==2.1.0", "2.1.0.1", False),
        ("a", "0.1", True),
        ("a", None, False),
    ],
)
def test_versions_are_compared_as_numbers(monkeypatch, requirement, version, met):
    monkeypatch.setattr(setup, "_installed", lambda name: version)
    assert (setup.unmet([requirement]) == []) == met


def test_a_full_mmcv_stands_in_for_the_light_one(monkeypatch):
    monkeypatch.setattr(setup, "_installed", {"mmcv": "2.1.0"}.get)
    assert setup.unmet(["mmcv-lite==2.1.0"]) == []
    monkeypatch.setattr(setup, "_installed", {}.get)
    assert setup.unmet(["mmcv-lite==2.1.0"]) == ["mmcv-lite==2.1.0 (not installed)"]


def test_the_active_python_is_used_where_it_has_everything(root, monkeypatch):
    monkeypatch.setattr(setup, "unmet", lambda requirements: [])
    monkeypatch.setattr(setup, "imports_work", lambda root, python: True)
    assert setup.set_up(root) == Path(sys.executable)
    assert not (root / ".venv").exists()


def test_packages_that_do_not_fit_together_lead_to_a_venv(root, calls, monkeypatch, capfd):
    monkeypatch.setattr(setup, "unmet", lambda requirements: [])
    monkeypatch.setattr(setup, "IMPORT_CHECK", "raise ImportError('operator missing')")
    assert setup.set_up(root) == root / ".venv" / "bin" / "python"
    assert "do not fit together" in capfd.readouterr().err


def test_that_imports_work_is_tried_once(root, monkeypatch):
    monkeypatch.setattr(setup, "IMPORT_CHECK", "pass")
    assert setup.imports_work(root, Path(sys.executable))
    monkeypatch.setattr(setup, "IMPORT_CHECK", "raise ImportError")
    assert setup.imports_work(root, Path(sys.executable))


def test_a_venv_is_made_once(root, calls):
    python = setup.set_up(root)
    assert python == root / ".venv" / "bin" / "python"
    [venv, pip] = calls
    assert venv[:3] == ["-m", "venv", "--clear"]
    assert pip[-4:] == ["-c", str(root / "benchmarks/constraints.txt"), "-e", str(root)]
    assert setup.set_up(root) == python
    assert len(calls) == 2


def test_tests_need_more_and_a_run_is_content_with_that(root, calls):
    setup.set_up(root)
    setup.set_up(root, test=True)
    assert calls[-2][-1] == f"{root}[test]"
    assert calls[-1] == ["-m", "pyright", "--version"]
    count = len(calls)
    setup.set_up(root)
    assert len(calls) == count


@pytest.mark.parametrize("name", ["pyproject.toml", "benchmarks/constraints.txt"])
def test_a_changed_file_brings_the_venv_up_to_date_in_place(root, calls, name):
    setup.set_up(root)
    with (root / name).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    setup.set_up(root)
    assert [call[1] for call in calls] == ["venv", "pip", "pip"]


def test_an_interrupted_set_up_starts_anew(root, calls, monkeypatch):
    record = setup._call

    def interrupt(command: list[str], failure: str) -> None:
        record(command, failure)
        if "pip" in command:
            raise KeyboardInterrupt

    monkeypatch.setattr(setup, "_call", interrupt)
    with pytest.raises(KeyboardInterrupt):
        setup.set_up(root)
    monkeypatch.setattr(setup, "_call", record)
    setup.set_up(root)
    assert [call[1] for call in calls] == ["venv", "pip", "venv", "pip"]


@pytest.mark.parametrize("free", [1.5, 20.0])
def test_a_disk_that_may_be_too_small_is_told_before_the_download(
    root, calls, monkeypatch, capsys, free
):
    usage = SimpleNamespace(free=free * 1e9)
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda path: usage)
    setup.set_up(root)
    assert ("has 1.5 GB free" in capsys.readouterr().err) == (free < 8)
    assert [call[1] for call in calls] == ["venv", "pip"]


def test_a_venv_that_the_user_made_is_kept(root, calls):
    setup._call(["python", "-m", "venv", str(root / ".venv")], "")
    calls.clear()
    setup.set_up(root)
    assert [call[1] for call in calls] == ["pip"]


def test_an_active_venv_that_is_half_done_is_not_used(root, calls, monkeypatch):
    monkeypatch.setattr(setup, "unmet", lambda requirements: [])
    monkeypatch.setattr(setup, "imports_work", lambda root, python: True)
    monkeypatch.setattr(setup.sys, "prefix", str(root / ".venv"))
    assert setup.set_up(root) == Path(sys.executable)
    (root / setup.UNFINISHED).parent.mkdir(parents=True)
    (root / setup.UNFINISHED).touch()
    setup.set_up(root)
    assert [call[1] for call in calls] == ["venv", "pip"]


@pytest.mark.parametrize(
    ("version", "message"),
    [((3, 11), "pip could not install the packages"), (None, "install python3-venv")],
)
def test_what_fails_is_told(root, monkeypatch, version, message):
    monkeypatch.setattr(setup, "unmet", lambda requirements: ["alpha (not installed)"])
    monkeypatch.setattr(setup, "find_python", lambda venv: Path(sys.executable))
    monkeypatch.setattr(setup, "_version_of", lambda python: version)
    failure = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: failure)
    with pytest.raises(setup.SetupError, match=message):
        setup.set_up(root)


def test_without_a_suitable_python_it_says_what_to_do(root, calls, monkeypatch):
    monkeypatch.setenv("PYTHON", "/absent/python")
    with pytest.raises(setup.SetupError, match=r"looked for /absent/python: not there"):
        setup.set_up(root)


def test_a_python_that_is_too_new_is_passed_over(tmp_path, monkeypatch):
    versions = {"old": (3, 8), "new": (3, 14), "good": (3, 12)}
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setattr(setup.shutil, "which", lambda name: name)
    monkeypatch.setattr(setup, "_version_of", versions.get)
    monkeypatch.setattr(setup.sys, "executable", "new")
    with pytest.raises(setup.SetupError, match=r"new: 3\.14, python3: not there"):
        setup.find_python(tmp_path / ".venv")
    versions["python3.11"] = (3, 11)
    assert setup.find_python(tmp_path / ".venv") == Path("python3.11")


def test_two_set_ups_do_not_collide(root):
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from benchmarks.setup_environment import lock\n"
        "root = Path(sys.argv[1])\n"
        "with lock(root):\n"
        "    with (root / 'log').open('a') as f: f.write('in ')\n"
        "    time.sleep(0.3)\n"
        "    with (root / 'log').open('a') as f: f.write('out ')\n"
    )
    command = [sys.executable, "-c", code, str(root)]
    both = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert (root / "log").read_text(encoding="utf-8") == "in out in out "


def stub(folder: Path, answer: str) -> Path:
    """Writes a Python that answers to the set-up and writes down everything else."""
    path = folder / "python-stub"
    path.write_text(
        "#!/usr/bin/env bash\n"
        'if [[ "$*" == *setup_environment* ]]; then '
        f'echo "asked: $*" >> {folder}/log; {answer}; exit; fi\n'
        f'printf "%s|" "$TRICKBENCH_SETUP_SECONDS" "$@" >> {folder}/log\n',
        encoding="utf-8",
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def call_script(name: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / name), *words],
        env={**clean_environment(), **variables},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_run_all_passes_its_words_on(tmp_path):
    python = stub(tmp_path, f"echo {tmp_path}/python-stub")
    answer = call_script(
        "benchmarks/run_all.sh", "my suite.py", "--seeds", "0", "1", PYTHON=str(python)
    )
    assert answer.returncode == 0, answer.stderr
    asked, ran = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert asked == "asked: -m benchmarks.setup_environment"
    seconds, *rest = ran.split("|")
    assert seconds.isdigit()
    assert rest == ["-m", "benchmarks", "run", "my suite.py", "--seeds", "0", "1", ""]


def test_run_all_stops_where_the_set_up_fails(tmp_path):
    python = stub(tmp_path, "exit 2")
    assert call_script("benchmarks/run_all.sh", PYTHON=str(python)).returncode == 2
    assert "benchmarks|run" not in (tmp_path / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["benchmarks/run_all.sh", "tests/run_all.sh"])
def test_without_any_python_the_scripts_say_what_to_do(name):
    answer = call_script(name, PYTHON="/absent/python")
    assert answer.returncode == 2
    assert "Install Python 3.10, 3.11 or 3.12" in answer.stderr


def test_the_test_command_stops_at_the_first_failure(tmp_path):
    python = stub(tmp_path, f"echo {tmp_path}/python-stub")
    text = python.read_text(encoding="utf-8")
    python.write_text(text + '[[ "$*" != *importlinter* ]]\n', encoding="utf-8")
    answer = call_script("tests/run_all.sh", "-k", "none", PYTHON=str(python))
    assert answer.returncode == 1
    assert "error: this step failed" in answer.stderr
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert "setup_environment --test" in log
    assert "ruff|check" in log
    assert "pytest" not in log


def test_the_last_line_is_the_python(tmp_path):
    command = [sys.executable, "-m", "benchmarks.setup_environment"]
    if setup.unmet(setup.read_requirements(ROOT / "pyproject.toml")):
        pytest.skip("this Python lacks packages, so that the set-up would install them")
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == sys.executable
    assert "Set-up: " in answer.stderr
