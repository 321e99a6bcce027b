"""Digests of checkpoints are kept between commands, and follow the files."""

import hashlib
import os

from benchmarks.plan import digests
from benchmarks.plan.digests import Digests
from contract.files import write_json


def test_reads_a_file_again_only_after_a_change(tmp_path, monkeypatch):
    file, kept, reads = tmp_path / "weights", tmp_path / "digests.json", []

    def read(path):
        reads.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(digests, "file_sha256", read)
    file.write_bytes(b"one")
    first = Digests(kept)
    assert first.of(file) == hashlib.sha256(b"one").hexdigest()
    first.save()
    assert Digests(kept).of(file) == hashlib.sha256(b"one").hexdigest()
    assert len(reads) == 1
    # Of the same size and time, but another file.
    status = file.stat()
    other = tmp_path / "other"
    other.write_bytes(b"two")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(other, file)
    assert Digests(kept).of(file) == hashlib.sha256(b"two").hexdigest()
    write_json(kept, {str(file): 3})
    assert Digests(kept).of(file) == hashlib.sha256(b"two").hexdigest()
