"""Compute which passes of a training step fit on GPUs of several sizes.

Command: python -m benchmarks.scripts.memory [--backbones SPEC …] [--gib N …] [--json FILE]

Nothing is trained and no GPU is needed: the networks run on fake tensors of the device `cuda` under bfloat16
(engine/measure/memory.py). The batch is the paper's 1,024 images of 224×224 on one device, in passes of 128.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

import backbones
from contract.files import write_json
from engine.measure.memory import GIB, StepMemory, step_memory
from engine.runner.accumulation import halves

BATCH, PUBLISHED, SIZE, CLASSES = 1024, 128, 224, 1000
# What CUDA itself takes of a card's memory: context, kernels and libraries.
CONTEXT_GIB = 0.6


@dataclass(frozen=True)
class Choice:
    """The passes on one card.

    Attributes:
        backbone: Spec.
        gib: Memory of the card.
        whole_batch_gib: Needed by the whole batch in one pass, without the margin.
        images: Images of a pass that are chosen; 0 if not even one fits.
        needed_gib: Memory of such a pass, weights, gradients, optimiser and margin included.
    """

    backbone: str
    gib: float
    whole_batch_gib: float
    images: int
    needed_gib: float


class _Classifier(nn.Module):
    def __init__(self, spec: str) -> None:
        super().__init__()
        self.backbone = backbones.create(spec)
        self.head = nn.Linear(self.backbone.feature_info[-1].channels, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        shown = images.contiguous(memory_format=torch.channels_last)
        return self.head(self.backbone(shown)[-1].mean(dim=(2, 3)))


def _loss(network: nn.Module, images: int, device: torch.device) -> Tensor:
    logits = network(torch.empty(images, 3, SIZE, SIZE, device=device))
    return functional.cross_entropy(logits, torch.zeros(images, dtype=torch.long, device=device))


def memory_of(spec: str) -> tuple[StepMemory, int]:
    """Return the memory of a training step of a classifier, and the bytes of its weights."""
    with torch.device("meta"):
        network = _Classifier(spec).train()
    weights = sum(t.numel() * t.element_size() for t in network.parameters())
    return step_memory(network, _loss, dtype=torch.bfloat16), weights


def choices(spec: str, sizes: list[float]) -> list[Choice]:
    """Return the chosen passes on cards of so many GiB."""
    memory, weights = memory_of(spec)
    bare = (memory.fixed + BATCH * memory.per_image + weights) / GIB
    found = []
    for gib in sizes:
        free = (gib - CONTEXT_GIB) * GIB - weights
        images = next((n for n in halves(PUBLISHED) if memory.of(n) <= free), 0)
        needed = (memory.of(images or 1) + weights) / GIB
        found.append(Choice(spec, gib, round(bare, 1), images, round(needed, 1)))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=["resnet50_d", "resnet152_d"])
    parser.add_argument("--gib", nargs="+", type=float, default=[8, 16, 24, 40, 80])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    table = Table("backbone", "card", "whole batch", "pass", "passes", "needed", "verdict")
    found = [choice for spec in options.backbones for choice in choices(spec, options.gib)]
    for choice in found:
        passes = f"{BATCH // choice.images}" if choice.images else ""
        verdict = "refused"
        if choice.images:
            verdict = "fits" if choice.images == PUBLISHED else "fits, with other statistics"
        table.add_row(
            choice.backbone,
            f"{choice.gib:g} GiB",
            f"{choice.whole_batch_gib} GiB",
            str(choice.images or ""),
            passes,
            f"{choice.needed_gib} GiB",
            verdict,
        )
    Console(width=100).print(table)
    if options.json is not None:
        write_json(options.json, [asdict(choice) for choice in found])
    return 0


if __name__ == "__main__":
    sys.exit(main())
