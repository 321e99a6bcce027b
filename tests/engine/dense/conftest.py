"""Each test of the common code of dense tasks runs for each of them."""

import pytest
from support.dense_fixtures import checkpoint, checkpoint_metadata  # noqa: F401
from support.dense_world import dense_world


@pytest.fixture(params=["det", "seg"])
def world(request, tmp_path):
    """A dense task with a tiny dataset."""
    return dense_world(request.param, tmp_path)
