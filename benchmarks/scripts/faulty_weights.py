"""Measure how many single faults in a checkpoint's weights its batch statistics reveal.

Command: python -m benchmarks.scripts.faulty_weights CHECKPOINT [CHECKPOINT ...]

The faults change no name and no shape: the weight of a convolution is transposed, its kernels are mirrored, or the
weights of two convolutions of the same shape are swapped. Each fault is checked as in `python -m backbones import`.
It counts as detected if the import warns about other layers than without the fault.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import nn

import backbones
from backbones.normalisation import Normalisation
from backbones.weights.plausibility import LEAST_CORRELATION, correlations


def faults(network: nn.Module) -> Iterator[tuple[str, dict[torch.Tensor, torch.Tensor]]]:
    """Yield every single fault: its kind, and the new values of the changed weights."""
    by_shape: dict[tuple[int, ...], list[torch.Tensor]] = {}
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight
            by_shape.setdefault((*weight.shape, *module.stride), []).append(weight)
            if weight.shape[0] == weight.shape[1]:
                yield "transposed", {weight: weight.transpose(0, 1).clone()}
            if weight.shape[-1] > 1:
                yield "mirrored", {weight: weight.flip(-1).clone()}
    for same in by_shape.values():
        for one, other in pairwise(same):
            yield "exchanged", {one: other.clone(), other: one.clone()}


def warned_layers(network: backbones.Backbone, normalisation: Normalisation) -> frozenset[str]:
    """Return the layers about which an import warns."""
    found = correlations(network, normalisation)
    return frozenset(name for name, value in found.items() if value < LEAST_CORRELATION)


def main() -> None:
    """Measure the checkpoints and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    options = parser.parse_args()
    print("| network | layers | least correlation | transposed | exchanged | mirrored |")
    print("|:--|--:|--:|--:|--:|--:|")
    for path in options.checkpoints:
        metadata = backbones.read_metadata(path)
        network = backbones.create(metadata.spec)
        backbones.load_checkpoint(network, path, spec=metadata.spec)
        normalisation = metadata.mean, metadata.std, metadata.channel_order
        found = correlations(network, normalisation)
        without = warned_layers(network, normalisation)
        seen: dict[str, list[bool]] = {"transposed": [], "exchanged": [], "mirrored": []}
        for kind, changes in faults(network):
            kept = {weight: weight.data for weight in changes}
            for weight, tensor in changes.items():
                weight.data = tensor.data
            seen[kind].append(warned_layers(network, normalisation) != without)
            for weight, tensor in kept.items():
                weight.data = tensor
        counts = [f"{sum(hits)} of {len(hits)}" for hits in seen.values()]
        print(
            f"| {metadata.spec} | {len(found)} | {min(found.values()):.2f} | {' | '.join(counts)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
