"""Runs kept apart, and a small set in the ImageFolder layout."""

import det  # noqa: F401, I001  (before mmdet: it puts mmcv's ops in place)
from support.classification import image_folder, tiny_config  # noqa: F401
from support.runners import isolate_runs  # noqa: F401
