"""The user's own networks, importable as `own_networks`."""

import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture(autouse=True)
def own_networks(monkeypatch):
    """Put the folder where a user's own folder is: on the module path."""
    monkeypatch.syspath_prepend(str(SUPPORT))
    yield
    sys.modules.pop("own_networks", None)
