"""A loopback server with the faults of real ones, and small archives in the layouts of real sets."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import re
import struct
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from scipy.io import savemat

from benchmarks import cli
from datasets.prepare.catalogue import SETS, Archive, DataSet


@dataclass
class Served:
    """A file on the server, and what goes wrong with it.

    Attributes:
        drops: For each request in turn, after how many bytes of the body the connection breaks;
            None lets it pass, and so does the end of the list.
        statuses: For each request in turn, an error to answer with; None or the end for none.
        ignore_range: Answer with the whole file, as some servers do.
        send_length: Send a Content-Length.
    """

    content: bytes
    drops: list[int | None] = field(default_factory=list)
    statuses: list[int | None] = field(default_factory=list)
    ignore_range: bool = False
    send_length: bool = True


class Server:
    """Serves `files` by path; `requests` holds (path, Range header) of each request."""

    def __init__(self, port: int) -> None:
        self.files: dict[str, Served] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.address = f"http://127.0.0.1:{port}"

    def add(self, path: str, content: bytes, **faults) -> str:
        self.files[path] = Served(content, **faults)
        return self.address + path

    @property
    def ranges(self) -> list[str | None]:
        return [wanted for _, wanted in self.requests]


@contextmanager
def serving() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            server.requests.append((self.path, wanted))
            served = server.files.get(self.path)
            status = 404 if served is None else served.statuses.pop(0) if served.statuses else None
            if served is None or status is not None:
                self.send_error(status or 404)
                return
            content, start = served.content, 0
            if wanted and not served.ignore_range:
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(content) and start:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = content[start:]
            self.send_response(206 if start else 200)
            if start:
                span = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self.send_header("Content-Range", span)
            if served.send_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            drop = served.drops.pop(0) if served.drops else None
            self.wfile.write(body if drop is None else body[:drop])

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Server(http.server_port)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def quiet_console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def small_set(name: str, contents: Mapping[str, bytes], server: Server | None = None) -> DataSet:
    """Return a catalogue entry with other contents, on a server if it has mirrors."""
    known = SETS[name]
    archives: dict[str, Archive] = {}
    for role, archive in known.archives.items():
        urls: tuple[str, ...] = ()
        if archive.urls:
            assert server is not None
            urls = (server.add(f"/{archive.file_name}", contents[role]),)
        content = contents[role]
        archives[role] = replace(archive, checksum=md5(content), size_bytes=len(content), urls=urls)
    return replace(known, archives=archives, unpacked_bytes=100_000)


# No archive holds the time, so that each is the same in every process and its checksum too.


def tgz_of(files: Mapping[str, bytes]) -> bytes:
    return gzip.compress(tar_of(files), mtime=0)


def tar_of(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in files.items():
            file.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def picture(seed: int) -> bytes:
    """Return a JPEG file that differs from those of all other seeds."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="JPEG")
    return buffer.getvalue()


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def voc_archives(devkit: Path) -> dict[str, bytes]:
    """Split a generated devkit like the real archives."""
    test = set((devkit / "VOC2007/ImageSets/Main/test.txt").read_text().split())
    parts: dict[str, dict[str, bytes]] = {"2007 trainval": {}, "2007 test": {}, "2012 trainval": {}}
    for name, content in files_below(devkit).items():
        is_test = Path(name).stem in test | {"test"}
        role = "2012 trainval" if "VOC2012" in name else "2007 test" if is_test else "2007 trainval"
        if "/" in name:
            parts[role][f"VOCdevkit/{name}"] = content
    return {role: tar_of(files) for role, files in parts.items()}


def ade_archives(folder: Path) -> dict[str, bytes]:
    files = {
        f"ADEChallengeData2016/{name}": content
        for name, content in files_below(folder).items()
        if name != "classes.txt"
    }
    return {"all": zip_of({**files, "__MACOSX/._notes": b"left out"})}


def imagenette_archives() -> dict[str, bytes]:
    files = {
        f"imagenette2-320/{split}/{wnid}/{wnid}_{number}.JPEG": picture(first + number)
        for split, wnid, first, count in (
            ("train", "n01440764", 10, 3),
            ("train", "n02102040", 20, 3),
            ("val", "n01440764", 30, 1),
            ("val", "n02102040", 40, 1),
        )
        for number in range(count)
    }
    return {"all": tgz_of({**files, "imagenette2-320/noisy_imagenette.csv": b"path\n"})}


class _PythonTwoPickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, as the real batches have them."""

    def _save_bytes(self, value: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch = {**pickle._Pickler.dispatch, bytes: _save_bytes}  # noqa: RUF012


def python_two_pickle(value: object) -> bytes:
    buffer = io.BytesIO()
    _PythonTwoPickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


CIFAR_NAMES = ("airplane", "automobile", "bird")


def cifar_batch(number: int) -> tuple[np.ndarray, list[int]]:
    """Return three pictures with a label each; batch 0 is the test batch."""
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (3, 3072), dtype=np.uint8), [2, 0, 1]


def cifar_archives(**others: bytes) -> dict[str, bytes]:
    names = [name.encode() for name in CIFAR_NAMES]
    files = {"batches.meta": python_two_pickle({b"label_names": names, b"num_vis": 3072})}
    for number in range(6):
        data, labels = cifar_batch(number)
        content = python_two_pickle({b"data": data, b"labels": labels, b"batch_label": b"x"})
        files[f"data_batch_{number}" if number else "test_batch"] = content
    files.update(others)
    return {"all": tgz_of({f"cifar-10-batches-py/{n}": c for n, c in files.items()})}


def places_archives(categories: bytes = b"") -> dict[str, bytes]:
    categories = categories or b"/a/airfield 0\n/a/apartment_building/outdoor 1\n"
    lists = {
        "./categories_places365.txt": categories,
        "./places365_val.txt": b"Places365_val_00000001.jpg 1\nPlaces365_val_00000002.jpg 0\n",
    }
    val = {f"val_256/Places365_val_0000000{n}.jpg": picture(n) for n in (1, 2)}
    train = {
        "data_256/a/airfield/00000001.jpg": picture(11),
        "data_256/a/apartment_building/outdoor/00000001.jpg": picture(12),
        "data_256/a/apartment_building/outdoor/00000002.jpg": picture(13),
    }
    return {"lists": tar_of(lists), "val": tar_of(val), "train": tar_of(train)}


# Devkit ids in another order than the sorted wnids, as in the real one; id 3 is an inner node.
SYNSETS = ((1, "n02119789", "kit fox", 0), (2, "n01440764", "tench", 0), (3, "n00001740", "all", 2))


def devkit(labels: bytes = b"2\n1\n1\n") -> bytes:
    kinds = [("ILSVRC2012_ID", "i4"), ("WNID", "O"), ("words", "O"), ("gloss", "O")]
    rows = [(number, wnid, words, "a gloss", inner) for number, wnid, words, inner in SYNSETS]
    synsets = np.array(rows, dtype=[*kinds, ("num_children", "i4")])
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": synsets})
    meta = b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:]
    data = "ILSVRC2012_devkit_t12/data"
    return tgz_of(
        {
            "ILSVRC2012_devkit_t12/readme.txt": b"read me",
            f"{data}/meta.mat": meta,
            f"{data}/ILSVRC2012_validation_ground_truth.txt": labels,
        }
    )


def imagenet_archives() -> dict[str, bytes]:
    inner = {
        wnid: tar_of(
            {f"{wnid}_{number}.JPEG": picture(10 * len(words) + number) for number in (1, 2)}
        )
        for _, wnid, words, children in SYNSETS
        if not children
    }
    val = {f"ILSVRC2012_val_0000000{number}.JPEG": picture(number) for number in (3, 1, 2)}
    train = {f"{wnid}.tar": content for wnid, content in inner.items()}
    return {"devkit": devkit(), "val": tar_of(val), "train": tar_of(train)}


def lay_out(folder: Path, name: str, contents: Mapping[str, bytes]) -> None:
    """Put a set's archives into a folder, as a user would."""
    folder.mkdir(parents=True, exist_ok=True)
    for role, archive in SETS[name].archives.items():
        (folder / archive.file_name).write_bytes(contents[role])


class Preparing:
    """The command `data prepare` with a catalogue whose sets are small."""

    def __init__(self, root: Path, server: Server, monkeypatch, capsys) -> None:
        self.root = root
        self.server = server
        self._patch = monkeypatch
        self._capsys = capsys
        # Sets that `know` does not replace have no mirror.
        for name, dataset in SETS.items():
            none = {role: replace(a, urls=()) for role, a in dataset.archives.items()}
            monkeypatch.setitem(SETS, name, replace(dataset, archives=none))
        self._real = dict(SETS)

    def know(self, name: str, contents: dict[str, bytes]) -> None:
        mirrors = {} if name == "imagenet" else {"urls": ("http://127.0.0.1/",)}
        archives = self._real[name].archives.items()
        known = {role: replace(archive, **mirrors) for role, archive in archives}
        self._patch.setitem(SETS, name, replace(self._real[name], archives=known))
        self._patch.setitem(SETS, name, small_set(name, contents, self.server))

    def __call__(self, *words: str) -> str:
        """Run the command; return what it prints."""
        assert cli.main(["data", "prepare", *words, "--root", str(self.root)]) == 0
        return self._capsys.readouterr().out

    def fail(self, *words: str) -> str:
        assert cli.main(["data", "prepare", *words, "--root", str(self.root)]) == 2
        text = self._capsys.readouterr().err
        assert text.startswith("error: ")
        assert "Traceback" not in text
        return text.removeprefix("error: ").strip()

    @property
    def left(self) -> list[str]:
        """Everything but what a preparation may leave: archives and the locks."""
        names = files_below(self.root)
        return [n for n in names if not n.startswith("archives/") and not n.endswith(".lock")]


def check_second_call(prepare: Preparing, name: str) -> None:
    """Check that another call asks for nothing, changes nothing, and says so."""
    prepare.server.requests.clear()
    before = {path: path.stat().st_mtime_ns for path in prepare.root.rglob("*")}
    text = prepare(name)
    folder = prepare.root / SETS[name].folder
    assert text == f"{name}: done before, in {folder}; there is nothing to do.\n"
    assert prepare.server.requests == []
    assert {path: path.stat().st_mtime_ns for path in prepare.root.rglob("*")} == before
