"""Download of an archive: resumed where it was interrupted, from one mirror after another, accepted by checksum only.

pooch computes the checksums. Its own downloader cannot stand in for `_Transfer`: it starts each attempt from byte 0 and
leaves nothing behind when the connection drops, which archives of many gigabytes cannot afford, and it cannot tell a
server that answers a range from one that sends the whole file again.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

import pooch
import requests
import urllib3

from contract.errors import UserError
from datasets.prepare.catalogue import Archive
from datasets.prepare.progress import Announcer, Bar
from datasets.prepare.space import require_space

# How often in a row a mirror may fail without a single new byte, and how often out of reach.
ATTEMPTS, ATTEMPTS_TO_REACH = 4, 2
FIRST_WAIT_SECONDS = 1.0
CONNECT_SECONDS, READ_SECONDS = 15.0, 60.0
_CHUNK_BYTES = 2**18
_NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)


class MirrorError(Exception):
    """A mirror did not deliver; the message is a clause that says why.

    Attributes:
        unreachable: Whether no connection came about at all.
    """

    def __init__(self, reason: str, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.unreachable = unreachable


class _WorthAnotherTry(MirrorError):
    """A request failed in a way that may pass."""


def check(path: Path, archive: Archive, announcer: Announcer) -> None:
    """Compare a file with its checksum.

    Raises:
        UserError: They differ.
    """
    announcer.say(f"Checking {path}")
    algorithm, got = _checksum(path, archive).split(":")
    expected = archive.checksum.partition(":")[2]
    if got != expected:
        raise UserError(
            f"{path} has the {algorithm.upper()} {got}, expected {expected}: it is damaged, "
            "incomplete, or another version. Remove it and run the same command again."
        )


def fetch(archive: Archive, folder: Path, announcer: Announcer) -> Path:
    """Return the verified archive, downloaded if it is not there yet.

    Args:
        archive: What to get.
        folder: Where archives are kept; what has arrived so far is `NAME.part` in it.
        announcer: Shows the progress.

    Returns:
        The archive's path.

    Raises:
        UserError: No mirror delivered it, or a file of its name has another checksum.
    """
    path, part = folder / archive.file_name, folder / f"{archive.file_name}.part"
    if path.exists():
        check(path, archive, announcer)
        part.unlink(missing_ok=True)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    failures: list[tuple[str, MirrorError]] = []
    for url in archive.urls:
        try:
            _fetch_from(url, archive, path, part, announcer)
            return path
        except MirrorError as error:
            announcer.say(f"{url}: {error}.")
            failures.append((url, error))
    offline = all(error.unreachable for _, error in failures)
    raise UserError(
        f"can't download {archive.file_name} ("
        + "; ".join(f"{url}: {error}" for url, error in failures)
        + "). "
        + ("No mirror could be reached: is this machine online? " if offline else "")
        + f"Run the same command again to go on, or download it by hand to {path} and then run it."
    )


def _fetch_from(url: str, archive: Archive, path: Path, part: Path, announcer: Announcer) -> None:
    """Download from one mirror.

    Raises:
        MirrorError: That fails.
    """
    while True:
        resumed = _size(part) > 0
        with announcer.bar(f"Downloading {archive.file_name}", archive.size_bytes) as bar:
            _Transfer(url, part, bar).run()
        if _checksum(part, archive) == archive.checksum:
            os.replace(part, path)
            return
        part.unlink()
        if not resumed:
            raise MirrorError(f"what it sent has not the checksum {archive.checksum}")
        # The wrong bytes may have come from another mirror, or from another day.
        announcer.say(f"The resumed {archive.file_name} has a wrong checksum: once more from 0.")


def _checksum(path: Path, archive: Archive) -> str:
    """Return the checksum of a file, by the algorithm of the archive's and written like it."""
    algorithm = archive.checksum.partition(":")[0]
    return f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"


class _Transfer:
    """One download, which continues where an earlier one, or an earlier process, was interrupted.

    A connection that drops is opened again as long as each attempt brings something new. A server that ignores ranges
    is read from the start, and what is there already is skipped, so the part never shrinks.

    Args:
        url: Where the file is.
        part: Collects what has arrived; it stays if the download fails.
        bar: Shows how much that is.
    """

    def __init__(self, url: str, part: Path, bar: Bar) -> None:
        self._url = url
        self._part = part
        self._bar = bar

    def run(self) -> None:
        """Download the file.

        Raises:
            MirrorError: The mirror does not have it, or failed several times in a row.
        """
        failures = 0
        while True:
            before = _size(self._part)
            try:
                self._request(self._url, before)
                return
            except _WorthAnotherTry as error:
                failures = 0 if _size(self._part) > before else failures + 1
                if failures >= (ATTEMPTS_TO_REACH if error.unreachable else ATTEMPTS):
                    raise
                time.sleep(FIRST_WAIT_SECONDS * 2 ** max(0, failures - 1))

    def _request(self, url: str, offset: int) -> None:
        """Make one request and append what it brings; return where the file is complete."""
        # An encoding on the way would make sizes and ranges those of other bytes.
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            response = requests.get(
                url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)
            )
        except _NETWORK_ERRORS as error:
            raise _failure(error) from error
        with response:
            start, total = _answered_range(response, offset)
            if start is None:
                return
            if total is not None:
                self._bar.at(offset, total)
                if total > offset:
                    require_space(
                        self._part.parent, total - offset, f"The rest of {self._part.stem}"
                    )
            self._append(response, skip=offset - start)
        if total is not None and _size(self._part) < total:
            raise _WorthAnotherTry(f"it sent {_size(self._part):,} of {total:,} bytes")

    def _append(self, response: requests.Response, skip: int) -> None:
        with self._part.open("ab") as file:
            done = file.tell()
            chunks = response.raw.stream(_CHUNK_BYTES, decode_content=False)
            while True:
                try:
                    chunk = next(chunks, None)
                except _NETWORK_ERRORS as error:
                    raise _failure(error, broke_off=True) from error
                if chunk is None:
                    return
                skipped = min(skip, len(chunk))
                skip -= skipped
                # Outside of the `try`: a full disk is no fault of the mirror.
                file.write(chunk[skipped:])
                done += len(chunk) - skipped
                self._bar.at(done)


def _answered_range(response: requests.Response, offset: int) -> tuple[int | None, int | None]:
    """Read which bytes a response holds.

    Returns:
        The first byte of its body, None if there is nothing more to get; and the size of the
        whole file, None where the server does not say.
    """
    status = response.status_code
    stated = re.fullmatch(
        r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "").strip()
    )
    total = int(stated[2]) if stated and stated[2] != "*" else None
    if status == 416 and offset:
        # The part is complete, or longer than the file; the checksum decides.
        return None, total
    if status == 206 and stated and stated[1] is not None and int(stated[1]) <= offset:
        return int(stated[1]), total
    if status == 200:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        if total is not None and total < offset:
            # A log-in page, say; what other mirrors have sent is not given up for it.
            raise MirrorError(f"it offers {total:,} bytes where {offset:,} have arrived already")
        return (None if offset and total == offset else 0), total
    if status >= 500 or status in (408, 429):
        raise _WorthAnotherTry(f"it answered {status} {response.reason}")
    raise MirrorError(f"it answered {status} {response.reason}")


def _failure(error: Exception, *, broke_off: bool = False) -> _WorthAnotherTry:
    """Put a network error into a clause."""
    text = repr(error)
    if "SSL" in text or "CERTIFICATE" in text:
        return _WorthAnotherTry("no secure connection came about")
    if "NameResolution" in text or "getaddrinfo" in text:
        return _WorthAnotherTry("its name was not found", unreachable=True)
    if "refused" in text:
        return _WorthAnotherTry("it refused the connection", unreachable=True)
    if isinstance(error, requests.ConnectTimeout):
        return _WorthAnotherTry(f"no answer within {CONNECT_SECONDS:.0f} s", unreachable=True)
    if "imeout" in text or "timed out" in text:
        return _WorthAnotherTry(f"it was silent for {READ_SECONDS:.0f} s")
    if broke_off or "RemoteDisconnected" in text or "reset" in text:
        return _WorthAnotherTry("the connection broke off")
    return _WorthAnotherTry("no connection came about", unreachable=True)


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
