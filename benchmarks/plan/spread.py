"""How long dependent runs take on several GPUs: the longest chain, and a simulation of the schedule."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def remaining_chains(
    seconds: Mapping[Key, float], needs: Mapping[Key, Key | None]
) -> dict[Key, list[Key]]:
    """Return the longest chain of runs that starts with each run.

    Args:
        seconds: Duration of each run that is left.
        needs: The run that must end before each run; a run that is not left is no obstacle.

    Returns:
        Keys in the order of execution.
    """
    followers: dict[Key, list[Key]] = {key: [] for key in seconds}
    for key in seconds:
        needed = needs.get(key)
        if needed in followers:
            followers[needed].append(key)
    chains: dict[Key, tuple[float, list[Key]]] = {}

    def chain(key: Key) -> tuple[float, list[Key]]:
        if key not in chains:
            after = max(map(chain, followers[key]), key=lambda found: found[0], default=(0.0, []))
            chains[key] = (seconds[key] + after[0], [key, *after[1]])
        return chains[key]

    return {key: chain(key)[1] for key in seconds}


def longest_chain(seconds: Mapping[Key, float], needs: Mapping[Key, Key | None]) -> list[Key]:
    """Return the chain of dependent runs that takes longest; no number of GPUs makes it shorter."""
    chains = remaining_chains(seconds, needs)
    return max(
        chains.values(), key=lambda chain: sum(seconds[key] for key in chain), default=list[Key]()
    )


def total_seconds(
    seconds: Mapping[Key, float], needs: Mapping[Key, Key | None], places: int
) -> float:
    """Return the time until all runs have ended if so many run at a time, the longest chains first.

    Args:
        seconds: Duration of each run that is left.
        needs: The run that must end before each run.
        places: Number of runs at a time.
    """
    chains = remaining_chains(seconds, needs)
    weight = {key: sum(seconds[one] for one in chain) for key, chain in chains.items()}
    order = {key: position for position, key in enumerate(seconds)}
    followers: dict[Key, list[Key]] = {key: [] for key in seconds}
    ready: list[tuple[float, int, Key]] = []
    for key in seconds:
        needed = needs.get(key)
        if needed in followers:
            followers[needed].append(key)
        else:
            heapq.heappush(ready, (-weight[key], order[key], key))
    running: list[tuple[float, int, Key]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < places:
            _, position, key = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds[key], position, key))
        now, _, ended = heapq.heappop(running)
        for key in followers[ended]:
            heapq.heappush(ready, (-weight[key], order[key], key))
    return now
