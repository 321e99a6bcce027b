"""Tests run without a GPU, on every machine; those marked `gpu` or `slurm` run with `python -m pytest -m MARK`."""

import os

import pytest

# Of CUDA and of ROCm.
VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def _wants_gpu(config):
    # Also known while pytest still loads conftest files.
    return config.known_args_namespace.markexpr == "gpu"


def pytest_plugin_registered(plugin):
    """Hide GPUs before any other conftest file imports mmengine, which chooses its device at the import."""
    if isinstance(plugin, pytest.Config) and not _wants_gpu(plugin):
        os.environ.update(dict.fromkeys(VISIBLE, ""))


def pytest_collection_modifyitems(config, items):
    """Skip tests that need a GPU where there is none, or where GPUs are hidden."""
    if config.known_args_namespace.markexpr != "slurm":
        reason = "starts a Slurm cluster, which takes minutes; run python -m pytest -m slurm"
        for item in items:
            if item.get_closest_marker("slurm"):
                item.add_marker(pytest.mark.skip(reason=reason))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    reason = _reason(config) if marked else None
    for item in marked if reason else ():
        item.add_marker(pytest.mark.skip(reason=reason))


def _reason(config):
    if not _wants_gpu(config):
        return "needs a GPU, and GPUs are hidden from other tests; run python -m pytest -m gpu"
    import torch

    return None if torch.cuda.is_available() else "needs a GPU that torch can use; there is none"
