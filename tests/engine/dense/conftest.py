"""Each test of the dense tasks' common code, for each of them."""

import pytest
from support.checkpoints import METADATA, write_checkpoint
from support.dense_world import dense_world


@pytest.fixture(params=["det", "seg"])
def world(request, tmp_path):
    """A dense task with a tiny dataset."""
    return dense_world(request.param, tmp_path)


@pytest.fixture
def checkpoint(tmp_path):
    """A pretrained checkpoint of another network than any fresh one."""
    return write_checkpoint(tmp_path / "pretrained.safetensors")


@pytest.fixture
def checkpoint_metadata():
    """What the checkpoint says about itself."""
    return METADATA
