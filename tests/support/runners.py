"""A runner of a few attributes, for the tests of hooks."""

from types import SimpleNamespace

from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope


def bare_runner(name, **attributes):
    """A runner with a message hub of that name; attributes are set on top."""
    runner = SimpleNamespace(
        message_hub=MessageHub(name), iter=0, epoch=0, max_iters=10, max_epochs=2
    )
    runner.__dict__.update(attributes)
    return runner


def forget_runs():
    """Forget mmengine's runs: it names them by the second, and two of one second would share log and history."""
    from mmdet.visualization import DetLocalVisualizer
    from mmseg.visualization import SegLocalVisualizer

    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    managers = (DefaultScope, MessageHub, MMLogger, DetLocalVisualizer, SegLocalVisualizer)
    for manager in managers:
        manager._instance_dict.clear()
