"""What run folders and the store show of a world's runs."""

from __future__ import annotations

from pathlib import Path

from benchmarks.results.read import read_run
from support.world import World


def second_world(world: World, name: str = "other") -> World:
    """Return the same repository and suite with another run folder beside the first."""
    second = World(world.folder, suite=world.suite)
    second.run_dir = world.folder / name
    return second


def run_states(world: World) -> dict[str, str]:
    """Return the state of each run of a run folder, as the report reads it."""
    return {f"{run.row}/{run.task}/{run.seed}": run.state for run in read_run(world.run_dir).runs}


def stored_files(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below a folder, without locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".locks" not in path.parts
    }
