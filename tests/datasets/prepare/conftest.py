"""The command `data prepare` over small archives on a loopback server."""

from __future__ import annotations

import pytest
from support.prepare_world import Preparing, serving


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving() as running:
        yield running


@pytest.fixture
def prepare(tmp_path, server, monkeypatch, capsys) -> Preparing:
    return Preparing(tmp_path / "data", server, monkeypatch, capsys)
