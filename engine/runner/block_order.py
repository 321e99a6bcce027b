"""A random order of samples that reads a packed data set from front to back.

Samples of a packed set are stored in blocks (shards). Reading them in a fully random order would jump between hundreds
of large files, which a network file system answers slowly. Here the blocks are shuffled, and then the samples within
windows of a few blocks, as WebDataset and FFCV (its quasi-random order) do.
"""

from __future__ import annotations

import numpy as np

# Samples are mixed over as many blocks. At 256 MiB a block, the page cache holds 1 GiB for them.
WINDOW = 4


def block_order(blocks: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw an order of all samples, window by window.

    Args:
        blocks: The block of each sample (n,).
        generator: Source of the randomness; equal states give equal orders.

    Returns:
        A permutation of 0 … n - 1. Each group of `WINDOW` blocks is finished before the next one starts.
    """
    present, block_of = np.unique(blocks, return_inverse=True)
    place = generator.permutation(len(present))
    windows = place[block_of] // WINDOW
    shuffled = generator.permutation(len(blocks))
    # Stable, so that the samples of a window keep their random order.
    return shuffled[np.argsort(windows[shuffled], kind="stable")]
