"""Find or create a Python environment with all packages, and print its path, using only the standard library.

The running Python is used if all packages can be imported. Otherwise `.venv` is used; it is created if it is missing,
incomplete, or does not match pyproject.toml and constraints.txt.
"""

import fcntl
import hashlib
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


def main(test: bool, root: Path = ROOT) -> int:
    """Print the path of a suitable Python; return the exit status."""
    cache, venv = root / "runs" / ".cache", root / ".venv"
    python, stamp = venv / "bin" / "python", venv / "trickbench-stamp"
    files = [root / "pyproject.toml", root / "benchmarks" / "constraints.txt"]
    wanted = [
        _digest(root, extra, *map(_text, files)) for extra in (("test",) if test else ("", "test"))
    ]
    installed = Path(sysconfig.get_paths()["purelib"]).stat().st_mtime_ns
    active = _digest(sys.executable, sys.version, installed, test, *wanted)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "setup.lock").open("w") as lock:
        _wait_for(lock)
        supported = (3, 10) <= sys.version_info[:2] <= (3, 12)
        half_done = Path(sys.prefix).resolve() == venv.resolve() and not stamp.is_file()
        known = _text(cache / "environment") == active
        if supported and not half_done and (known or _works(test)):
            (cache / "environment").write_text(active)
            python = Path(sys.executable)
        elif not (python.exists() and _text(stamp) in wanted):
            if not supported:
                version = sys.version.split()[0]
                return _fail(
                    f"Python 3.10, 3.11 or 3.12 is needed, and {sys.executable} is {version}. Name another one: "
                    "PYTHON=/path/to/python3.12 bash benchmarks/run_all.sh"
                )
            free = shutil.disk_usage(root).free / 1e9
            if free < DISK_GB:
                _say(
                    f"Only {free:.0f} GB of disk are free; torch for GPUs needs about {DISK_GB} GB"
                )
            _say(f"Installing packages into {venv}; the first time takes minutes and about 3 GB")
            if stamp.exists():
                stamp.unlink()
            clear = [] if python.exists() else ["--clear"]
            pip = ["-m", "pip", "install", "--quiet", "-c", str(files[1]), "-e"]
            if (
                _call([sys.executable, "-m", "venv", *clear, str(venv)])
                or _call([str(python), *pip, f"{root}[test]" if test else str(root)])
                # pyright downloads its runtime on the first call; the tests must not need the network.
                or (test and _call([str(python), "-m", "pyright", "--version"]))
            ):
                return _fail(
                    "the packages could not be installed; the message stands above. The network is needed this once, "
                    f"and about {DISK_GB} GB of disk. Run the same command again: it starts anew."
                )
            stamp.write_text(wanted[0])
    print(python)
    return 0


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


def _works(test: bool) -> bool:
    command = [sys.executable, "-c", CHECK + (TEST_CHECK if test else "")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
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
