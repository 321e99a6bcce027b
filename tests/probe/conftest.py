"""A small set in the ImageFolder layout, and runs kept apart."""

from tests.cls_train.conftest import _forget_runs, image_folder, tiny_config  # noqa: F401
