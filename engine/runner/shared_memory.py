"""Compare the shared memory with what loader workers need, before one of them dies with a bus error.

A worker passes its batches to the training process through files in `/dev/shm`. Docker gives a container 64 MiB of it.
The number of workers changes no number, so a run takes as many as fit and says so.
"""

from __future__ import annotations

import io
import pickle
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.filesize import decimal
from torch.utils.data import DataLoader

from contract.errors import UserError

SHARED_MEMORY = Path("/dev/shm")
# Samples whose batch is measured; images of detection have different sizes.
_SAMPLES = 4
# The page tables, and batches of a little more than the measured size.
_MARGIN = 1.1
_REMEDY = "start the container with --shm-size={needed}g or --ipc=host, or take fewer workers with --set workers=N"


def fit_workers(loaders: Sequence[Any], processes: int = 1) -> list[str]:
    """Take fewer workers if the shared memory is too small for their batches.

    Args:
        loaders: The loaders of a run, not used yet.
        processes: Processes of this machine that train together, each with such loaders.

    Returns:
        A sentence for each loader that was changed.

    Raises:
        UserError: Not even one worker of each loader fits.
    """
    loaders = [loader for loader in loaders if loader.num_workers > 0]
    if not loaders or not SHARED_MEMORY.is_dir():
        return []
    free = shutil.disk_usage(SHARED_MEMORY).free // processes
    # The training process holds one more batch.
    batches = [loader.num_workers * loader.prefetch_factor + 1 for loader in loaders]
    sizes = [_batch_bytes(loader) for loader in loaders]
    needed = sum(_MARGIN * size * count for size, count in zip(sizes, batches, strict=True))
    if needed <= free:
        return []
    found = (
        f"loader workers need {decimal(round(needed))} of shared memory, and {decimal(free)} are free "
        f"in {SHARED_MEMORY}" + (f" for each of {processes} processes" if processes > 1 else "")
    )
    remedy = _REMEDY.format(needed=-(-round(needed) * processes // 2**30))
    notes = []
    for loader, size in zip(loaders, sizes, strict=True):
        share = free * size / sum(sizes)
        workers = int((share / (_MARGIN * size) - 1) // loader.prefetch_factor)
        if workers < 1:
            raise UserError(
                f"{found}, too little for a single worker with batches of {decimal(size)}; {remedy}, or "
                "--set workers=0"
            )
        if workers < loader.num_workers:
            notes.append(
                f"{found}: {workers} instead of {loader.num_workers} workers load the data, which may be slower; "
                f"{remedy}"
            )
            loader.num_workers = workers
    return notes


def _batch_bytes(loader: DataLoader) -> int:
    """Return the bytes of a batch in shared memory, from samples of the dataset."""
    dataset: Any = loader.dataset
    count = min(_SAMPLES, len(dataset))
    largest = 0
    state = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    try:
        for number in range(count):
            sample = dataset[number * len(dataset) // count]
            largest = max(largest, shared_bytes(loader.collate_fn([sample])))
    finally:
        # A sample seeds the global generators.
        random.setstate(state[0])
        np.random.set_state(state[1])
        torch.random.set_rng_state(state[2])
    return largest * _batch_size(loader)


def _batch_size(loader: DataLoader) -> int:
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
    return 1 if size is None else int(size)


def shared_bytes(batch: object) -> int:
    """Return the bytes that a batch takes in shared memory: those of its tensors."""
    counter = _TensorCounter(io.BytesIO())
    counter.dump(batch)
    return counter.total


class _TensorCounter(pickle.Pickler):
    """Finds the tensors that a worker passes on, wherever they are in a batch."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.total = 0

    def reducer_override(self, obj: Any) -> Any:
        """Count a tensor in place of its content."""
        if isinstance(obj, torch.Tensor):
            self.total += obj.untyped_storage().nbytes()
            return int, ()
        return NotImplemented
