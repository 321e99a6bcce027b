"""Train a classifier under torchrun with one rank that fails: failing_rank.py FAILURE RANK -- arguments of cls_train.

FAILURE is `nan` (the loss of that rank's third iteration is NaN) or `none` (nothing is done to it, because a file is
damaged). The end of the process group waits for all ranks, as it does with NCCL.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import distributed

from cls_train.classifier import ImageClassifier
from cls_train.train import Classification
from engine.task import main

ITERATION = 3


def destroy_like_nccl() -> None:
    """Wait until every rank has come here: NCCL's communicators end together."""
    store = distributed.distributed_c10d._get_default_store()
    store.add("leaving", 1)
    while int(store.add("leaving", 0)) < distributed.get_world_size():
        time.sleep(0.02)
    _destroy()


def lose(rank: int) -> None:
    """Make the loss of an iteration NaN on one rank."""
    terms, calls = ImageClassifier.terms, []

    def broken(self, inputs, targets):
        calls.append(1)
        found = terms(self, inputs, targets)
        wrong = len(calls) == ITERATION and distributed.get_rank() == rank
        if wrong:
            print(f"failing at {time.time()}", flush=True)
        return {name: loss * torch.nan if wrong else loss for name, loss in found.items()}

    ImageClassifier.terms = broken


_destroy = distributed.destroy_process_group
distributed.destroy_process_group = destroy_like_nccl
failure, failing, *arguments = sys.argv[1:]
if failure == "nan":
    lose(int(failing))
sys.exit(main(Classification(), arguments))
