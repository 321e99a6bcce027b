"""Several processes on this machine: under torchrun, or forked from the test."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


def torchrun(*arguments: Any, processes: int = 2, limit: float = 300) -> tuple[Any, float]:
    """Run a script, or `-m` and a module, under torchrun on the CPU.

    Returns:
        The completed process, and its seconds.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", str(processes), *map(str, arguments)]
    environment = {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(REPOSITORY),
    }
    started = time.monotonic()
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=limit,
        env={**os.environ, **environment},
    )
    return done, time.monotonic() - started


def run_ranks(work: Callable[..., Any], *arguments: Any, processes: int = 2) -> list[Any]:
    """Call a function in forked processes that torchrun seems to have started; return what each returns, by rank.

    Without a new start of Python and torch, this takes a tenth of torchrun's time.
    """
    found: Any = multiprocessing.get_context("fork").Queue()
    started, store = _fork(found, work, arguments, processes)
    results: dict[int, Any] = {}
    try:
        while len(results) < processes:
            rank, error, value = found.get(timeout=120)
            assert error is None, f"rank {rank}: {error}"
            results[rank] = pickle.loads(value)
    except queue.Empty:
        raise AssertionError(f"only the ranks {sorted(results)} ended") from None
    finally:
        _end(started, patience=60 if len(results) == processes else 0)
        del store
    return [results[rank] for rank in range(processes)]


def fork_ranks(work: Callable[..., Any], *arguments: Any, processes: int = 2) -> list[int | None]:
    """Call a function that ends its process, in forked processes; return the exit statuses, by rank."""
    found: Any = multiprocessing.get_context("fork").Queue()
    started, store = _fork(found, work, arguments, processes)
    _end(started, patience=60)
    del store
    return [process.exitcode for process in started]


def _fork(
    found: Any, work: Callable[..., Any], arguments: Any, processes: int
) -> tuple[list[Any], Any]:
    from torch.distributed import TCPStore

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = [
        multiprocessing.get_context("fork").Process(
            target=_rank, args=(found, rank, processes, port, work, arguments)
        )
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    # Kept by torchrun's agent, not by rank 0. After the fork, because it has threads.
    return started, TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)


def _end(started: list[Any], patience: float) -> None:
    for process in started:
        process.join(timeout=patience)
        process.kill()
        process.join()


def _rank(
    found: Any, rank: int, processes: int, port: int, work: Callable[..., Any], arguments: Any
) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "CUDA_VISIBLE_DEVICES": "",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    try:
        # As bytes: a queue would share the memory of tensors, which ends with this process.
        found.put((rank, None, pickle.dumps(work(*arguments))))
    except BaseException:
        found.put((rank, traceback.format_exc(), None))
