"""Setting up: the choice of Python, the creation of `.venv`, and interruptions."""

from __future__ import annotations

import errno
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.world import clean_environment

from benchmarks import setup_environment as setup
from benchmarks.suite.names import ROOT

FILES = ["pyproject.toml", "benchmarks/constraints.txt", "benchmarks/constraints-torch.txt"]


@pytest.fixture(autouse=True)
def no_choice(monkeypatch):
    monkeypatch.delenv(setup.TORCH_VARIABLE, raising=False)


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "benchmarks").mkdir()
    for name in FILES:
        (tmp_path / name).write_text("alpha==1.2\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def calls(monkeypatch) -> list[list[str]]:
    """Replace `venv`, `pip` and `pyright`; return their command lines."""
    made: list[list[str]] = []

    def call(command: list[str]) -> int:
        made.append(command[1:])
        if "venv" in command:
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        return 0

    monkeypatch.setattr(setup, "_call", call)
    monkeypatch.setattr(setup, "_works", lambda test, torch: False)
    return made


def set_up(root: Path, capsys: pytest.CaptureFixture[str], *, test: bool = False) -> str:
    assert setup.main(test, root) == 0
    return capsys.readouterr().out.splitlines()[-1]


def test_uses_running_python_after_one_check(root, monkeypatch, capsys):
    monkeypatch.setattr(setup, "CHECK", "pass")
    assert set_up(root, capsys) == sys.executable
    monkeypatch.setattr(setup, "CHECK", "raise ImportError")
    assert set_up(root, capsys) == sys.executable
    assert not (root / ".venv").exists()


def test_incompatible_packages_need_venv(root, calls, monkeypatch, capsys):
    monkeypatch.undo()
    monkeypatch.setattr(setup, "_call", lambda command: 0)
    monkeypatch.setattr(setup, "CHECK", "raise ImportError('operator missing')")
    (root / ".venv").mkdir()
    assert setup.main(False, root) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{root}/.venv/bin/python\n"
    assert "cannot be used, so .venv is: ImportError: operator missing" in captured.err


def test_venv_is_made_once(root, calls, capsys):
    python = set_up(root, capsys)
    assert python == f"{root}/.venv/bin/python"
    [venv, pip] = calls
    assert venv[:3] == ["-m", "venv", "--clear"]
    assert pip[-6:] == ["-c", str(root / FILES[1]), "-c", str(root / FILES[2]), "-e", str(root)]
    assert set_up(root, capsys) == python
    assert len(calls) == 2


def test_test_packages_are_separate(root, calls, capsys):
    set_up(root, capsys)
    set_up(root, capsys, test=True)
    assert calls[-2][-1] == f"{root}[test]"
    assert calls[-1] == ["-m", "pyright", "--version"]
    count = len(calls)
    set_up(root, capsys)
    assert len(calls) == count


@pytest.mark.parametrize("name", FILES)
def test_changed_requirements_update_venv(root, calls, capsys, name):
    set_up(root, capsys)
    (root / name).write_text("alpha==1.3\n", encoding="utf-8")
    set_up(root, capsys)
    assert len(calls) == 4
    assert "--clear" not in calls[2]


def test_chosen_torch_replaces_that_of_the_constraints(root, calls, monkeypatch, capsys):
    set_up(root, capsys)
    monkeypatch.setenv(setup.TORCH_VARIABLE, "2.11.0+cu126")
    set_up(root, capsys)
    assert calls[-1][-5:] == ["-c", str(root / FILES[1]), "torch==2.11.0+cu126", "-e", str(root)]
    # Later calls keep the choice, also when other requirements change.
    monkeypatch.delenv(setup.TORCH_VARIABLE)
    set_up(root, capsys)
    assert len(calls) == 4
    (root / "pyproject.toml").write_text("alpha==1.3\n", encoding="utf-8")
    set_up(root, capsys)
    assert len(calls) == 6
    assert "torch==2.11.0+cu126" in calls[-1]


def test_running_python_with_another_torch_than_chosen(root, calls, monkeypatch, capsys):
    monkeypatch.undo()
    made: list[list[str]] = []
    monkeypatch.setattr(setup, "_call", lambda command: made.append(command) or 0)
    monkeypatch.setattr(
        setup, "CHECK", "import types; torch = types.SimpleNamespace(__version__='2.8.0+cu128')"
    )
    (root / ".venv").mkdir()
    monkeypatch.setenv(setup.TORCH_VARIABLE, "2.8")
    assert set_up(root, capsys) == sys.executable
    monkeypatch.setenv(setup.TORCH_VARIABLE, "2.8.0+cu126")
    assert setup.main(False, root) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{root}/.venv/bin/python\n"
    assert "torch is 2.8.0+cu128, TRICKBENCH_TORCH is 2.8.0+cu126" in captured.err
    assert len(made) == 2


@pytest.mark.parametrize("choice", ["torch==2.10.0", "cu126", "2.10.0 --pre"])
def test_refuses_what_is_no_version(root, calls, monkeypatch, capsys, choice):
    monkeypatch.setenv(setup.TORCH_VARIABLE, choice)
    assert setup.main(False, root) == 2
    message = (
        f"error: TRICKBENCH_TORCH is {choice!r}; give a version of torch alone, such as 2.10.0"
    )
    assert message in capsys.readouterr().err
    assert calls == []


def test_interrupted_set_up_starts_over(root, calls, monkeypatch, capsys):
    record = setup._call

    def interrupt(command: list[str]) -> int:
        record(command)
        if "pip" in command:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(setup, "_call", interrupt)
    with pytest.raises(KeyboardInterrupt):
        setup.main(False, root)
    monkeypatch.setattr(setup, "_call", record)
    set_up(root, capsys)
    assert [call[1] for call in calls] == ["venv", "pip", "venv", "pip"]


def test_active_incomplete_venv_is_not_used(root, calls, monkeypatch, capsys):
    monkeypatch.setattr(setup, "_works", lambda test, torch: True)
    assert set_up(root, capsys) == sys.executable
    monkeypatch.setattr(setup.sys, "prefix", str(root / ".venv"))
    set_up(root, capsys)
    assert [call[1] for call in calls] == ["venv", "pip"]


@pytest.mark.parametrize("free", [1.5, 20.0])
def test_reports_small_disk_before_download(root, calls, monkeypatch, capsys, free):
    usage = SimpleNamespace(free=free * 1e9)
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda path: usage)
    assert setup.main(False, root) == 0
    assert ("GB of disk are free" in capsys.readouterr().err) == (free < 8)
    assert [call[1] for call in calls] == ["venv", "pip"]


def test_pip_failure(root, calls, monkeypatch, capsys):
    monkeypatch.setattr(setup, "_call", lambda command: int("pip" in command))
    assert setup.main(False, root) == 2
    assert "error: the packages could not be installed" in capsys.readouterr().err
    assert not (root / ".venv" / "trickbench-stamp").exists()


def test_unsupported_python_without_venv(root, calls, monkeypatch, capsys):
    supported = sys.version_info
    monkeypatch.setattr(setup.sys, "version_info", (3, 14, 0))
    assert setup.main(False, root) == 2
    assert "error: Python 3.10, 3.11 or 3.12 is needed, and" in capsys.readouterr().err
    assert calls == []
    monkeypatch.setattr(setup.sys, "version_info", supported)
    python = set_up(root, capsys)
    monkeypatch.setattr(setup.sys, "version_info", (3, 14, 0))
    assert set_up(root, capsys) == python


def test_concurrent_set_ups(root):
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from benchmarks.setup_environment import _wait_for\n"
        "root = Path(sys.argv[1])\n"
        "with (root / 'lock').open('w') as lock:\n"
        "    _wait_for(lock)\n"
        "    with (root / 'log').open('a') as f: f.write('in ')\n"
        "    time.sleep(0.3)\n"
        "    with (root / 'log').open('a') as f: f.write('out ')\n"
    )
    command = [sys.executable, "-c", code, str(root)]
    both = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = "".join(process.communicate()[1] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert (root / "log").read_text(encoding="utf-8") == "in out in out "
    assert said == "Another set-up is running; waiting for it\n"


def test_disk_without_locks_only_warns(root, monkeypatch, capsys):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(setup.fcntl, "flock", refuse)
    monkeypatch.setattr(setup, "CHECK", "pass")
    assert setup.main(False, root) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{sys.executable}\n"
    assert "This disk cannot lock files (Function not implemented)" in captured.err


def stub(folder: Path, answer: str) -> Path:
    """Write a fake Python that answers the set-up and records all other calls."""
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


def test_run_all_passes_options(tmp_path):
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


def test_run_all_stops_on_failed_set_up(tmp_path):
    python = stub(tmp_path, "exit 2")
    assert call_script("benchmarks/run_all.sh", PYTHON=str(python)).returncode == 2
    assert "benchmarks|run" not in (tmp_path / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["benchmarks/run_all.sh", "tests/run_all.sh"])
def test_scripts_without_python(name):
    answer = call_script(name, PYTHON="/absent/python")
    assert answer.returncode == 2
    assert "Install Python 3.10, 3.11 or 3.12" in answer.stderr


def test_test_command_stops_at_first_failure(tmp_path):
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


def test_last_line_is_python(tmp_path):
    command = [sys.executable, "-m", "benchmarks.setup_environment"]
    check = subprocess.run([sys.executable, "-c", setup.CHECK], capture_output=True, check=False)
    if check.returncode != 0:
        pytest.skip("this Python does not have all packages, so the set-up would install them")
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == sys.executable
