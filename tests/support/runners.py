"""A runner of a few attributes for the tests of hooks, and runs kept apart."""

import gc
import multiprocessing
import os
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer


def bare_runner(name, **attributes):
    """A runner with a message hub of that name; attributes are set on top."""
    runner = SimpleNamespace(
        message_hub=MessageHub(name), iter=0, epoch=0, max_iters=10, max_epochs=2
    )
    runner.__dict__.update(attributes)
    return runner


def _forget(*managers):
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    for manager in managers:
        manager._instance_dict.clear()


def forget_runs():
    """Forget mmengine's runs: it names them by the second, and two of one second would share log and history."""
    from mmdet.visualization import DetLocalVisualizer
    from mmseg.visualization import SegLocalVisualizer

    visualizers = (Visualizer, DetLocalVisualizer, SegLocalVisualizer)
    _forget(DefaultScope, MessageHub, MMLogger, *visualizers)


@pytest.fixture(autouse=True)
def isolate_runs():
    """Forget mmengine's runs after each test."""
    yield
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    _forget(MMLogger, MessageHub, Visualizer)
    if multiprocessing.active_children():
        # Loader workers of a run that failed: torch would wait five seconds for each of them,
        # in whichever test the garbage is collected.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)
            gc.collect()
