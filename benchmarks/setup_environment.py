"""Find or create a Python environment with all packages, and print its path, using only the standard library.

The running Python is used if all packages can be imported. Otherwise `.venv` is used; it is created if it is missing,
incomplete, or does not match pyproject.toml and the constraints. pip reads its own variables, such as
`PIP_EXTRA_INDEX_URL`; `TRICKBENCH_TORCH=VERSION` chooses another torch than that of the constraints.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "torch, torchvision.ops, timm, mmengine, mmcv, mmdet, mmseg, pycocotools, safetensors, pydantic"
)
# A torchvision built for another torch has no ops, which shows only when they are used.
CHECK = f"import {PACKAGES}; torch.ops.torchvision.nms"
TEST_CHECK = (
    "; import pytest, pytest_timeout, ruff, importlinter, pyright, onnx, onnxruntime, onnxscript"
)
# With torch's GPU builds; CPU builds take far less.
DISK_GB = 8
TORCH_VARIABLE = "TRICKBENCH_TORCH"


def main(test: bool, root: Path = ROOT) -> int:
    """Print the path of a suitable Python; return the exit status."""
    cache, venv = root / "runs" / ".cache", root / ".venv"
    python, stamp = venv / "bin" / "python", venv / "trickbench-stamp"
    asked = os.environ.get(TORCH_VARIABLE, "")
    if asked and not re.fullmatch(r"\d+(\.\d+)*((a|b|rc|\.dev)\d+)?(\+[a-z0-9.]+)?", asked):
        return _fail(
            f"{TORCH_VARIABLE} is {asked!r}; give a version of torch alone, such as 2.10.0 or 2.11.0+cu126"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "setup.lock").open("w") as lock:
        _wait_for(lock)
        # Without a new choice, .venv keeps the torch that was chosen when it was made.
        torch = asked or _text(stamp).partition(" ")[2]
        wanted = [_stamp(root, extra, torch) for extra in (("test",) if test else ("", "test"))]
        installed = Path(sysconfig.get_paths()["purelib"]).stat().st_mtime_ns
        active = _digest(sys.executable, sys.version, installed, test, asked, *wanted)
        supported = (3, 10) <= sys.version_info[:2] <= (3, 12)
        half_done = Path(sys.prefix).resolve() == venv.resolve() and not stamp.is_file()
        known = _text(cache / "environment") == active
        if supported and not half_done and (known or _works(test, asked)):
            (cache / "environment").write_text(active)
            python = Path(sys.executable)
        elif not (python.exists() and _text(stamp) in wanted):
            if not supported:
                version = sys.version.split()[0]
                return _fail(
                    f"Python 3.10, 3.11 or 3.12 is needed, and {sys.executable} is {version}. Name another one: "
                    "PYTHON=/path/to/python3.12 bash benchmarks/run_all.sh"
                )
            if stamp.exists():
                stamp.unlink()
            if not _install(root, test, torch):
                return _fail(
                    "the packages could not be installed; the message stands above. pip needs the network or a folder "
                    f"of wheels this once, and about {DISK_GB} GB of disk (docs/install.md). Run the same command "
                    "again: it starts anew."
                )
            stamp.write_text(wanted[0])
    print(python)
    return 0


def _install(root: Path, test: bool, torch: str) -> bool:
    """Make or update `.venv`; return whether all went well.

    Args:
        root: The folder of the project.
        test: Whether the packages of the tests are installed too.
        torch: A version of torch; empty takes that of the constraints.
    """
    venv = root / ".venv"
    python = venv / "bin" / "python"
    free = shutil.disk_usage(root).free / 1e9
    if free < DISK_GB:
        _say(f"Only {free:.0f} GB of disk are free; torch for GPUs needs about {DISK_GB} GB")
    _say(f"Installing packages into {venv}; the first time takes minutes and about 3 GB")
    clear = [] if python.exists() else ["--clear"]
    pip = ["-m", "pip", "install", "--quiet", "-c", str(root / "benchmarks" / "constraints.txt")]
    # torchvision is left open, because each release of it asks for its own torch.
    pip += (
        [f"torch=={torch}"] if torch else ["-c", str(root / "benchmarks" / "constraints-torch.txt")]
    )
    commands = [
        [sys.executable, "-m", "venv", *clear, str(venv)],
        [str(python), *pip, "-e", f"{root}[test]" if test else str(root)],
    ]
    if test:
        # pyright downloads its runtime on the first call; the tests must not need the network.
        commands.append([str(python), "-m", "pyright", "--version"])
    return all(_call(command) == 0 for command in commands)


def _stamp(root: Path, extra: str, torch: str) -> str:
    """Return what `.venv` was made from: a digest, and the chosen torch after a space."""
    benchmarks = root / "benchmarks"
    files = [root / "pyproject.toml", benchmarks / "constraints.txt"]
    if not torch:
        files.append(benchmarks / "constraints-torch.txt")
    return f"{_digest(root, extra, *map(_text, files))} {torch}"


def _wait_for(lock: IO) -> None:
    """Take the lock; a second set-up waits and then uses the result of the first."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("Another set-up is running; waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        # The lock only keeps two set-ups apart, and a damaged .venv is made again.
        _say(f"This disk cannot lock files ({error.strerror}); do not start a second set-up")


def _digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _works(test: bool, torch: str) -> bool:
    check = CHECK + (TEST_CHECK if test else "")
    if torch:
        check += (
            "; from packaging.specifiers import SpecifierSet"
            f"; torch.__version__ in SpecifierSet('=={torch}', prereleases=True)"
            f" or sys.exit('torch is ' + torch.__version__ + ', {TORCH_VARIABLE} is {torch}')"
        )
    answer = subprocess.run(
        [sys.executable, "-c", f"import sys; {check}"], capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        why = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        _say(f"{sys.executable} cannot be used, so .venv is: {why}")
    return answer.returncode == 0


def _call(command: list) -> int:
    return subprocess.run(command, stdout=2, check=False).returncode


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _fail(text: str) -> int:
    _say(f"error: {text}")
    return 2


if __name__ == "__main__":
    sys.exit(main("--test" in sys.argv))
