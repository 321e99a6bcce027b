"""What the machine offers besides its processors: shared memory, claims on files, the driver, the state of the GPUs."""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.acceptance.perform import Check
from benchmarks.acceptance.session import Session
from benchmarks.plan.claims import CLAIMS, take
from contract.acceptance import Line, Verdict

SHARED_MEMORY = Path("/dev/shm")
MIB = 2**20
_WRITTEN_BYTES = 64 * MIB
# Loader workers pass whole batches through shared memory. At ImageNet's size, 8 workers hold two batches each of 128
# images of 3 × 224 × 224 float32 values: 1.2 GB a run. The mini suite takes a hundredth.
SHARED_BYTES_PER_RUN = 8 * 2 * 128 * 3 * 224 * 224 * 4
_WANTED_MIB = SHARED_BYTES_PER_RUN // MIB
# Below it, a single worker with the small batches of a detector meets a bus error. Docker's default is 64 MiB.
_LEAST_MIB = 128
_FREE_SHARE = 0.9
_QUERY_SECONDS = 20
# From nvidia-smi --help-query-gpu; a field that a card does not have reads "[N/A]".
_FIELDS = ("index", "name", "driver_version", "memory.total", "memory.free")
_HEALTH = ("ecc.errors.uncorrected.volatile.total", "clocks_throttle_reasons.active")
# Reasons that slow a GPU down for its own protection (NVML's nvmlClocksEventReasons): hardware slowdown, thermal
# slowdown by software and by hardware, power brake. Idle, application clocks and the power cap are normal.
_SLOWED = 0x8 | 0x20 | 0x40 | 0x80


def checks(session: Session) -> list[Check]:
    """Return the checks that need no torch."""
    return [
        Check("shared memory", partial(_shared_memory, SHARED_MEMORY), 30.0),
        Check("claims of runs", partial(_claims, session.root / "runs"), 30.0),
        Check("driver", partial(_driver, session), 90.0),
    ]


def _shared_memory(folder: Path) -> Iterator[Line]:
    name = f"shared memory ({folder})"
    expected = f"{_WANTED_MIB} MiB free for loader workers, and written to"
    if not folder.is_dir():
        yield Line(check=name, found="it does not exist", expected=expected, verdict="note")
        return
    free = shutil.disk_usage(folder).free
    size = min(_WRITTEN_BYTES, free // 2)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # Reserves the pages: beyond the limit it raises, where a write to mapped memory would be a bus error.
            os.posix_fallocate(file.fileno(), 0, size)
            with mmap.mmap(file.fileno(), size) as view:
                view[:: mmap.PAGESIZE] = b"\1" * len(range(0, size, mmap.PAGESIZE))
    except (OSError, ValueError) as error:
        found = f"{free // MIB} MiB free; writing {size // MIB} MiB failed: {error}"
        yield Line(check=name, found=found, expected=expected, verdict="failed")
        return
    found = f"{free // MIB} MiB free, {size // MIB} MiB written"
    verdict: Verdict = "ok"
    if free < _WANTED_MIB * MIB:
        verdict = "failed" if free < _LEAST_MIB * MIB else "note"
        found += "; with Docker: --shm-size=8g or --ipc=host"
    yield Line(
        check=name,
        found=found,
        expected=expected,
        verdict=verdict,
        numbers={"free MiB": free / MIB},
    )


def _claims(folder: Path) -> Iterator[Line]:
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    problem = claim_problem(folder)
    if made:
        with contextlib.suppress(OSError):
            folder.rmdir()
    yield Line(
        check="claims in runs/",
        found=problem or "the second claim was refused",
        expected="a second claim is refused while the first is held",
        verdict="failed" if problem else "ok",
    )


def claim_problem(folder: Path) -> str | None:
    """Claim a run twice, as two harnesses with one store do; return what is wrong, None if nothing is."""
    if not folder.is_dir():
        return f"{folder} cannot be written (it is not there)"
    place = folder / CLAIMS / f"doctor-{secrets.token_hex(4)}"
    first = second = None
    try:
        first, second = take(place), take(place)
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"
    finally:
        for claim in (first, second):
            if claim is not None:
                claim.close()
        with contextlib.suppress(OSError):
            place.parent.rmdir()
    if first is not None and second is None:
        return None
    return f"{folder} gives two claims to one run at once: two commands could train the same run"


def query(*words: str) -> list[list[str]] | str:
    """Ask nvidia-smi for CSV.

    Returns:
        Rows of fields; or why there are none, in words.
    """
    if shutil.which("nvidia-smi") is None:
        return "nvidia-smi is not there"
    command = ["nvidia-smi", *words, "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_QUERY_SECONDS,
        )
    except OSError as error:
        return f"nvidia-smi cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"nvidia-smi did not answer within {_QUERY_SECONDS} s"
    if answer.returncode != 0:
        lines = (answer.stdout + answer.stderr).strip().splitlines()
        return f"nvidia-smi failed: {lines[-1] if lines else 'no output'}"
    return [
        [field.strip() for field in line.split(",")]
        for line in answer.stdout.splitlines()
        if line.strip()
    ]


def _driver(session: Session) -> Iterator[Line]:
    """Report the driver, the free memory and the health of the GPUs."""
    rows = query(f"--query-gpu={','.join(_FIELDS)}")
    if isinstance(rows, str):
        verdict = "skipped" if session.device == "cpu" else "note"
        yield Line(check="driver and GPU memory", found=rows, verdict=verdict)
        return
    versions = ", ".join(sorted({row[2] for row in rows}))
    yield Line(
        check="driver",
        found=f"{versions}; {len(rows)} GPU(s): {', '.join(sorted({row[1] for row in rows}))}",
        expected="one version, that of the loaded module",
        verdict="ok" if "," not in versions else "failed",
    )
    users = query("--query-compute-apps=pid")
    busy = f"{len(users)} process(es) on all GPUs" if isinstance(users, list) else users
    for index, _, _, total, free in rows:
        yield _free_memory(index, total, free, busy)
    yield from _health()


def _free_memory(index: str, total: str, free: str, busy: str) -> Line:
    name, expected = f"free memory of GPU {index}", f"{_FREE_SHARE:.0%} of it, no other process"
    if not (total.isdigit() and free.isdigit()):
        # A part of a card (MIG) has no figures of its own here.
        return Line(check=name, found=f"{free} of {total}", expected=expected, verdict="note")
    full = int(free) >= _FREE_SHARE * int(total)
    return Line(
        check=name,
        found=f"{free} of {total} MiB, {busy}",
        expected=expected,
        verdict="ok" if full else "note",
        numbers={"free MiB": int(free), "total MiB": int(total)},
    )


def _health() -> Iterator[Line]:
    rows = query(f"--query-gpu=index,{','.join(_HEALTH)}")
    name, expected = "health of the GPUs", "no memory errors, not slowed down"
    if isinstance(rows, str):
        yield Line(check=name, found=rows, expected=expected, verdict="skipped")
        return
    worries = []
    for index, errors, reasons in rows:
        if errors.isdigit() and int(errors):
            worries.append(f"GPU {index}: {errors} uncorrected memory errors")
        with contextlib.suppress(ValueError):
            if int(reasons, 16) & _SLOWED:
                worries.append(f"GPU {index} is slowed down by heat or power ({reasons})")
    found = "; ".join(worries) or "no memory errors, not slowed down"
    yield Line(check=name, found=found, expected=expected, verdict="note" if worries else "ok")
