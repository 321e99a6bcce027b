"""Tiny sets in the ADE20K layout, and pretrained checkpoints."""

import seg  # noqa: F401, I001  (before mmseg: it puts mmcv's ops in place)
from support.dense_fixtures import checkpoint, checkpoint_metadata, run_seg, tiny_ade  # noqa: F401
