"""Finds or makes a Python that has all packages, and prints its path as the last line of output.

It uses the active Python if that has what `pyproject.toml` asks for, else the virtual environment
`.venv`, which it makes where it is missing, out of date, or left half done by an interrupted
set-up. Only the standard library is needed, and any Python from 3.8 on can run it to be told what
is amiss.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SUPPORTED = ((3, 10), (3, 11), (3, 12))
STAMP = "trickbench-stamp.json"
# Lies beside the environment while it is worked on, and so tells of a set-up that was cut short.
UNFINISHED = Path("runs", ".cache", "setup-unfinished")
STANDARD_ERROR = 2
# With torch's builds for GPUs; those for the CPU alone take far less, so that too little is no reason to stop.
DISK_GB = 8
# A full mmcv, compiled operators included, does all that the light one does.
STAND_INS = {"mmcv-lite": "mmcv"}
# A torchvision built for another torch lacks its operators; only trying tells.
IMPORT_CHECK = (
    "import torch, torchvision.ops, timm, mmengine, mmcv, mmdet, mmseg, pycocotools, safetensors; "
    "torch.ops.torchvision.nms"
)

_COMPARISONS = {
    "==": lambda have, want: have == want,
    "!=": lambda have, want: have != want,
    ">=": lambda have, want: have >= want,
    "<=": lambda have, want: have <= want,
    ">": lambda have, want: have > want,
    "<": lambda have, want: have < want,
}


class SetupError(Exception):
    """The environment cannot be made; the message says what to do."""


def main(arguments: list[str] | None = None) -> int:
    """Sets up and prints the path of the Python to use; everything else goes to standard error."""
    parser = argparse.ArgumentParser(prog="setup_environment", description=__doc__)
    parser.add_argument("--test", action="store_true", help="with what the tests need")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        python = set_up(ROOT, test=options.test)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again: the set-up starts anew.", file=sys.stderr)
        return 130
    say(f"Set-up: {time.monotonic() - started:.1f} s, Python {python}")
    print(python)
    return 0


def set_up(root: Path, test: bool = False) -> Path:
    """Returns a Python that has all packages.

    Args:
        root: The repository.
        test: Whether the packages for the tests are needed too.

    Raises:
        SetupError: There is no suitable Python, or the packages cannot be installed.
    """
    requirements = read_requirements(root / "pyproject.toml", test)
    venv = root / ".venv"
    half_done = in_venv(venv) and (root / UNFINISHED).exists()
    if sys.version_info[:2] in SUPPORTED and not half_done and not unmet(requirements):
        python = Path(sys.executable)
        if imports_work(root, python):
            return python
    with lock(root):
        if not is_current(root, venv, test):
            install(root, venv, find_python(venv), test)
    return venv_python(venv)


def in_venv(venv: Path) -> bool:
    """Tells whether this process is run by the Python of a virtual environment."""
    return Path(sys.prefix).resolve() == venv.resolve()


def read_requirements(pyproject: Path, test: bool = False) -> list[str]:
    """Returns the requirements that `pyproject.toml` lists.

    Read without a TOML parser, because Python 3.10 has none.
    """
    text = pyproject.read_text(encoding="utf-8")
    requirements = _string_array(text, "dependencies")
    return requirements + _string_array(text, "test") if test else requirements


def extras(pyproject: Path) -> dict[str, list[str]]:
    """Returns the requirements of each optional extra that `pyproject.toml` names."""
    text = pyproject.read_text(encoding="utf-8")
    _, _, section = text.partition("[project.optional-dependencies]")
    section = re.split(r"^\[", section, maxsplit=1, flags=re.MULTILINE)[0]
    names = re.findall(r"^([A-Za-z0-9._-]+)\s*=\s*\[", section, re.MULTILINE)
    return {name: _string_array(section, name) for name in names}


def unmet(requirements: list[str]) -> list[str]:
    """Returns those requirements, with what was found, that the running Python does not meet."""
    problems = []
    for requirement in requirements:
        name, conditions = _split(requirement)
        versions = [_installed(candidate) for candidate in (name, STAND_INS.get(name)) if candidate]
        found = [version for version in versions if version is not None]
        if not any(_satisfies(version, conditions) for version in found):
            problems.append(f"{requirement} ({'found ' + found[0] if found else 'not installed'})")
    return problems


def imports_work(root: Path, python: Path) -> bool:
    """Tells whether the packages of a Python can be imported together; tried once, then known."""
    key = digest(root, f"{python} {sys.version}")
    stamp = root / "runs" / ".cache" / "environment.json"
    if _read_stamp(stamp).get("digest") == key:
        return True
    trial = subprocess.run([str(python), "-c", IMPORT_CHECK], stdout=STANDARD_ERROR, check=False)
    if trial.returncode != 0:
        say(f"The packages of {python} do not fit together (see above); .venv is used instead.")
        return False
    _write_stamp(stamp, {"digest": key})
    return True


def is_current(root: Path, venv: Path, test: bool) -> bool:
    """Tells whether a virtual environment has been finished and fits the files it was made from."""
    stamp = _read_stamp(venv / STAMP)
    fits = stamp.get("digest") == digest(root, str(stamp.get("version")))
    finished = venv_python(venv).exists() and not (root / UNFINISHED).exists()
    return fits and finished and (bool(stamp.get("test")) or not test)


def find_python(venv: Path) -> Path:
    """Returns a supported Python, not that of `venv` itself, to make `venv` with.

    Raises:
        SetupError: There is none.
    """
    wanted = os.environ.get("PYTHON")
    own = str(Path(sys.base_prefix, "bin", "python3")) if in_venv(venv) else sys.executable
    names = [wanted] if wanted else [own]
    if not wanted:
        names += ["python3"] + [f"python{major}.{minor}" for major, minor in reversed(SUPPORTED)]
    found = []
    for name in names:
        path = shutil.which(name)
        version = _version_of(path) if path else None
        if path and version in SUPPORTED:
            return Path(path)
        found.append(f"{name}: {'.'.join(map(str, version)) if version else 'not there'}")
    raise SetupError(
        "No suitable Python was found. Needed is 3.10, 3.11 or 3.12; looked for "
        + ", ".join(found)
        + ". Install one, or name one: PYTHON=/path/to/python3.12 bash benchmarks/run_all.sh"
    )


def install(root: Path, venv: Path, base: Path, test: bool) -> None:
    """Makes the virtual environment and installs the packages into it.

    What an earlier set-up left when it was cut short cannot be trusted and is made anew. Any other
    environment, one that the user made included, is brought up to date in place.

    Raises:
        SetupError: `venv` or `pip` failed.
    """
    test = test or bool(_read_stamp(venv / STAMP).get("test"))
    python, unfinished = venv_python(venv), root / UNFINISHED
    start_anew = unfinished.exists() or _version_of(str(python)) not in SUPPORTED
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    if start_anew:
        say(f"Making the virtual environment {venv} with {base}")
        _call(
            [str(base), "-m", "venv", "--clear", str(venv)],
            f"{base} cannot make virtual environments. On Debian and Ubuntu install python3-venv, "
            "or name another Python: PYTHON=/path/to/python3.12",
        )
        free = shutil.disk_usage(str(root)).free / 1e9
        if free < DISK_GB:
            say(
                f"warning: the packages take up to {DISK_GB} GB, and the disk of {root} has {free:.1f} GB free"
            )
    say("Installing the packages; the first time takes some minutes and downloads about 3 GB")
    project = f"{root}[test]" if test else str(root)
    constraints = str(root / "benchmarks" / "constraints.txt")
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    _call(
        [*pip, "-c", constraints, "-e", project],
        "pip could not install the packages; its own message stands above. The network is needed "
        f"this once, and about {DISK_GB} GB of disk. Run the same command again: it starts anew.",
    )
    if test:
        # pyright fetches its own runtime when first called; the tests must not need the network.
        _call(
            [str(python), "-m", "pyright", "--version"], "pyright could not be set up; see above."
        )
    version = ".".join(map(str, _version_of(str(python)) or ()))
    _write_stamp(venv / STAMP, {"digest": digest(root, version), "version": version, "test": test})
    unfinished.unlink()


def venv_python(venv: Path) -> Path:
    """Returns the path of the Python inside a virtual environment."""
    return venv / "bin" / "python"


def digest(root: Path, version: str) -> str:
    """Returns a hash of everything that decides what an environment must hold, and of its place."""
    parts = [str(root), version]
    for name in ("pyproject.toml", "benchmarks/constraints.txt"):
        path = root / name
        parts.append(path.read_text(encoding="utf-8") if path.is_file() else "")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@contextlib.contextmanager
def lock(root: Path) -> Iterator[None]:
    """Lets one set-up at a time work on `.venv`; the others wait and then find it done."""
    import fcntl

    path = root / "runs" / ".cache" / "setup.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up is at work; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """Tells the user; standard output is for the path alone."""
    print(text, file=sys.stderr, flush=True)


def _call(command: list[str], failure: str) -> None:
    if subprocess.run(command, stdout=STANDARD_ERROR, check=False).returncode != 0:
        raise SetupError(failure)


def _string_array(text: str, name: str) -> list[str]:
    """Returns the strings of `name = […]`, which may hold comments."""
    opening = re.search(rf"^{re.escape(name)}\s*=\s*\[", text, re.MULTILINE)
    if opening is None:
        raise SetupError(f"pyproject.toml has no array {name!r}.")
    strings = []
    for token in re.finditer(r'"([^"]*)"|#[^\n]*|(\])', text[opening.end() :]):
        if token.group(2):
            break
        if token.group(1) is not None:
            strings.append(token.group(1))
    return strings


def _split(requirement: str) -> tuple[str, list[tuple[str, str]]]:
    """Returns the name and the list of `(operator, version)` of a requirement."""
    text = requirement.split(";")[0]
    match = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*(.*)", text)
    if match is None:
        raise SetupError(f"pyproject.toml has the requirement {requirement!r}, which has no name.")
    conditions = re.findall(r"(==|!=|>=|<=|>|<)\s*([0-9][^,\s]*)", match.group(2))
    return match.group(1), conditions


def _satisfies(version: str, conditions: list[tuple[str, str]]) -> bool:
    return all(
        _COMPARISONS[operator](_release(version), _release(wanted))
        for operator, wanted in conditions
    )


def _release(version: str) -> tuple[int, ...]:
    """Returns the numbers of a version, six long; builds such as 2.11.0a0+cu130 count as 2.11.0."""
    numbers = [int(part) for part in re.sub(r"[^0-9.].*", "", version).split(".") if part]
    return tuple((numbers + [0] * 6)[:6])


def _installed(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _version_of(python: str) -> tuple[int, int] | None:
    """Returns major and minor version; None where it does not run, as an unset pyenv shim."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [python, "-I", "-c", code], capture_output=True, text=True, check=False
        )
        major, minor = answer.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError):
        return None


def _read_stamp(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _write_stamp(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    os.replace(str(temporary), str(path))


if __name__ == "__main__":
    sys.exit(main())
