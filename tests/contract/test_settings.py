"""The state of the code and of the packages."""

import subprocess
from importlib import metadata

import pytest

from contract import settings


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            {"rev-parse": (0, "abc\n"), "status": (0, "")},
            ("abc", False),
        ),
        (
            {"rev-parse": (0, "abc\n"), "status": (0, " M engine/hooks.py\n")},
            ("abc", True),
        ),
        ({"rev-parse": (128, ""), "status": (128, "")}, (None, None)),
    ],
)
def test_code_version(monkeypatch, answers, expected):
    def answer(command, **_):
        status, text = answers[command[1]]
        return subprocess.CompletedProcess(command, status, text, "")

    monkeypatch.setattr(settings.subprocess, "run", answer)
    assert settings.git_state() == expected


def test_without_git(monkeypatch):
    def absent(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(settings.subprocess, "run", absent)
    assert settings.git_state() == (None, None)


def test_package_versions():
    versions = settings.package_versions()
    assert versions["mmengine"] == metadata.version("mmengine")
    assert set(versions) <= set(settings.PACKAGES)
