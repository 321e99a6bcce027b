"""Convert small datasets quietly, and compare folders."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from datasets.convert.pack import pack
from datasets.convert.shrink import Settings, shrink
from datasets.convert.unpack import unpack


def quiet() -> Console:
    """Return a console that keeps what is printed."""
    return Console(file=io.StringIO(), width=300)


def printed(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def packed_copy(source: Path, target: Path, shard_mib: int = 1) -> Path:
    pack(source, target, quiet(), shard_mib=shard_mib)
    return target


def unpacked_copy(source: Path, target: Path) -> Path:
    unpack(source, target, quiet())
    return target


def smaller_copy(source: Path, target: Path, short_side: int, quality: int = 90) -> Path:
    assert shrink(source, target, Settings(short_side, quality), quiet()) == 0
    return target


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file by its relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
