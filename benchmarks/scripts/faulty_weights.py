"""How many faults in a hand-off's weights its batch statistics tell of, one fault at a time.

Command: python -m benchmarks.faulty_weights HANDOFF [HANDOFF ...]

Faults that no name and no shape tells: the weight of a convolution transposed, its kernels mirrored, the weights of
two convolutions of one form exchanged. Each is put into a copy of the network and looked for as `python -m backbones
import` does; a fault counts as seen where the layers in doubt are others than without it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import nn

import backbones
from backbones.weights.plausibility import LEAST_AGREEMENT, Normalisation, agreements


def faults(network: nn.Module) -> Iterator[tuple[str, dict[torch.Tensor, torch.Tensor]]]:
    """Every single fault: its kind, and what stands in which weight then."""
    by_shape: dict[tuple[int, ...], list[torch.Tensor]] = {}
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight
            by_shape.setdefault((*weight.shape, *module.stride), []).append(weight)
            if weight.shape[0] == weight.shape[1]:
                yield "transposed", {weight: weight.transpose(0, 1).clone()}
            if weight.shape[-1] > 1:
                yield "mirrored", {weight: weight.flip(-1).clone()}
    for alike in by_shape.values():
        for one, other in pairwise(alike):
            yield "exchanged", {one: other.clone(), other: one.clone()}


def in_doubt(network: backbones.Backbone, normalisation: Normalisation) -> frozenset[str]:
    """The layers that an import tells of."""
    found = agreements(network, normalisation)
    return frozenset(name for name, value in found.items() if value < LEAST_AGREEMENT)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("handoffs", nargs="+", metavar="HANDOFF")
    print("| network | layers | least agreement | transposed | exchanged | mirrored |")
    print("|:--|--:|--:|--:|--:|--:|")
    for path in parser.parse_args().handoffs:
        told = backbones.read_metadata(path)
        network = backbones.create(told.spec)
        backbones.load_checkpoint(network, path, spec=told.spec)
        normalisation = told.mean, told.std, told.channel_order
        found = agreements(network, normalisation)
        sound = in_doubt(network, normalisation)
        seen: dict[str, list[bool]] = {"transposed": [], "exchanged": [], "mirrored": []}
        for kind, changes in faults(network):
            kept = {weight: weight.data for weight in changes}
            for weight, tensor in changes.items():
                weight.data = tensor.data
            seen[kind].append(in_doubt(network, normalisation) != sound)
            for weight, tensor in kept.items():
                weight.data = tensor
        shares = [f"{sum(hits)} of {len(hits)}" for hits in seen.values()]
        print(
            f"| {told.spec} | {len(found)} | {min(found.values()):.2f} | {' | '.join(shares)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
