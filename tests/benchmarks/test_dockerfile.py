"""The Dockerfile agrees with pyproject.toml and with the set-up; no image is built here."""

from __future__ import annotations

import json
import re
import sys
from fnmatch import fnmatch

import pytest
from packaging.specifiers import SpecifierSet

from benchmarks import setup_environment as setup
from benchmarks.suite.names import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with their arguments, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


@pytest.fixture(scope="module")
def ignored() -> list[str]:
    return (ROOT / ".dockerignore").read_text(encoding="utf-8").split()


def of(steps: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for name, rest in steps if name == word]


def test_python_is_a_supported_one(steps):
    [base] = of(steps, "FROM")
    found = re.fullmatch(r"python:(3\.\d+)-slim", base)
    assert found
    assert found[1] in SpecifierSet(PYPROJECT["project"]["requires-python"])


def test_layer_of_packages_has_the_files_that_decide_them(steps):
    set_up = next(
        i
        for i, (name, rest) in enumerate(steps)
        if name == "RUN" and "setup_environment.py" in rest
    )
    before = [rest for name, rest in steps[:set_up] if name == "COPY"]
    copied = {source for rest in before for source in rest.split()[:-1]}
    readme = PYPROJECT["project"]["readme"]
    constraints = {
        f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("constraints*.txt")
    }
    assert copied == {"pyproject.toml", readme, "benchmarks/setup_environment.py", *constraints}
    assert all((ROOT / source).is_file() for source in copied)


def test_every_package_is_copied(steps, ignored):
    # After the packages: otherwise each change of code installs them again.
    assert of(steps, "COPY")[-1] == ". ."
    for pattern in PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]:
        folder = pattern.removesuffix("*")
        assert (ROOT / folder).is_dir()
        assert not any(fnmatch(folder, rule) for rule in ignored)
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "benchmarks").rglob("*.*")]
    wanted = [
        name for name in files if name.endswith((".py", ".csv", ".j2", ".css", ".sh", ".txt"))
    ]
    assert wanted
    assert not [name for name in wanted if any(fnmatch(name, rule) for rule in ignored)]


def test_large_and_private_folders_stay_outside(ignored):
    assert {".git", ".venv", "runs", "data"} <= set(ignored)


def test_starts_the_harness_without_root(steps):
    assert json.loads(of(steps, "ENTRYPOINT")[-1]) == ["python", "-m", "benchmarks"]
    assert of(steps, "USER")[-1] not in ("root", "0")
    arguments = {rest.partition("=")[0] for rest in of(steps, "ARG")}
    assert {setup.TORCH_VARIABLE, "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"} <= arguments
