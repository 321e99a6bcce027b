"""Setting up with the real pip: which torch it takes from which index, on small wheels made here."""

from __future__ import annotations

import os
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from benchmarks import setup_environment as setup

# Each release of torchvision asks for its own torch, as the real ones do.
PYPI = {"2.14.1": "0.29.1", "2.6.0": "0.21.0"}
CU126 = {"2.14.1+cu126": "0.29.1+cu126"}

# A build backend of the standard library alone: the test must not need setuptools from an index.
BACKEND = """
import zipfile
def build_editable(folder, settings=None, metadata=None):
    name = "toy-1-py3-none-any.whl"
    with zipfile.ZipFile(folder + "/" + name, "w") as wheel:
        needs = "Requires-Dist: torch>=2.6\\nRequires-Dist: torchvision\\n"
        wheel.writestr(
            "toy-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: toy\\nVersion: 1\\n" + needs
        )
        wheel.writestr(
            "toy-1.dist-info/WHEEL",
            "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        )
        wheel.writestr("toy-1.dist-info/RECORD", "")
    return name
"""


def write_wheel(index: Path, name: str, version: str, requires: str = "") -> None:
    folder = index / name
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"__version__ = '{version}'\n")
        wheel.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    links = [f'<a href="{wheel.name}">{wheel.name}</a>' for wheel in sorted(folder.glob("*.whl"))]
    (folder / "index.html").write_text("\n".join(links), encoding="utf-8")


@pytest.fixture
def root(tmp_path) -> Path:
    """A project whose constraints pin torch, and two indexes: `pypi` and `cu126`."""
    root = tmp_path
    (root / "benchmarks").mkdir()
    (root / "backend.py").write_text(BACKEND, encoding="utf-8")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        encoding="utf-8",
    )
    (root / "benchmarks" / "constraints.txt").write_text("alpha==1.0\n", encoding="utf-8")
    (root / "benchmarks" / "constraints-torch.txt").write_text(
        "torch==2.14.1\ntorchvision==0.29.1\n", encoding="utf-8"
    )
    for name, releases in (("pypi", PYPI), ("cu126", CU126)):
        for torch, torchvision in releases.items():
            write_wheel(root / name, "torch", torch)
            requires = f"Requires-Dist: torch=={torch.partition('+')[0]}\n"
            write_wheel(root / name, "torchvision", torchvision, requires)
    return root


@pytest.fixture
def set_up(root, monkeypatch):
    """Return a function that sets up with the given variables and returns the versions in `.venv`."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv(setup.TORCH_VARIABLE, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    monkeypatch.setenv("PIP_INDEX_URL", (root / "pypi").as_uri())
    monkeypatch.setattr(setup, "_works", lambda test, torch: False)
    # An environment without pip is made in a moment; pip comes from the running Python.
    venv.create(root / ".venv", symlinks=True)
    (root / "tools").mkdir()
    # Importing pip here would import distutils, of which setuptools warns later.
    pip = Path(str(metadata.distribution("pip").locate_file("pip")))
    (root / "tools" / "pip").symlink_to(pip)
    monkeypatch.setenv("PYTHONPATH", str(root / "tools"))
    run = setup._call
    monkeypatch.setattr(setup, "_call", lambda command: 0 if "venv" in command else run(command))

    def call(**variables: str) -> dict[str, str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert setup.main(False, root) == 0
        found = root.glob(".venv/lib/*/site-packages/torch*.dist-info")
        return dict(folder.name.removesuffix(".dist-info").split("-") for folder in found)

    return call


def test_pip_follows_its_variables_and_the_choice(set_up, root, monkeypatch):
    # The same version in two indexes: pip prefers the one with a local version.
    found = set_up(PIP_EXTRA_INDEX_URL=(root / "cu126").as_uri())
    assert found == {"torch": "2.14.1+cu126", "torchvision": "0.29.1+cu126"}
    # Without the network, from folders of wheels, and another version than that of the constraints.
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name)
    folders = f"{root / 'pypi/torch'} {root / 'pypi/torchvision'}"
    found = set_up(PIP_NO_INDEX="1", PIP_FIND_LINKS=folders, TRICKBENCH_TORCH="2.6.0")
    assert found == {"torch": "2.6.0", "torchvision": "0.21.0"}
