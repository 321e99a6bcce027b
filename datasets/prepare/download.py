"""Download archives: resume interrupted downloads, try one mirror after another, and verify checksums.

pooch computes the checksums. Its downloader cannot replace `_Transfer`: it starts each attempt from byte 0 and
discards everything when the connection drops, which is too costly for archives of many gigabytes. It also does not
notice if a server ignores a range request and sends the whole file again.
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

# How often in a row a mirror may fail without a new byte, and how often it may be unreachable.
ATTEMPTS, ATTEMPTS_TO_REACH = 4, 2
FIRST_WAIT_SECONDS = 1.0
CONNECT_SECONDS, READ_SECONDS = 15.0, 60.0
_CHUNK_BYTES = 2**18
_NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)


class MirrorError(Exception):
    """A mirror failed; the message is a clause with the reason.

    Attributes:
        unreachable: Whether no connection could be made.
    """

    def __init__(self, reason: str, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.unreachable = unreachable


class _WorthAnotherTry(MirrorError):
    """A request failed in a way that may be temporary."""


def check(path: Path, archive: Archive, announcer: Announcer) -> None:
    """Compare a file with its checksum.

    Raises:
        UserError: The checksum is wrong.
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
    """Return the verified archive, downloading it if necessary.

    Args:
        archive: The archive.
        folder: Folder of the archives; an incomplete download is `NAME.part` in it.
        announcer: Shows the progress.

    Returns:
        The archive's path.

    Raises:
        UserError: All mirrors failed, or an existing file has another checksum.
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
        MirrorError: The download fails.
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
        # The wrong bytes may come from another mirror or from an earlier download.
        announcer.say(f"The resumed {archive.file_name} has a wrong checksum: once more from 0.")


def _checksum(path: Path, archive: Archive) -> str:
    """Return the checksum of a file in the algorithm and format of the archive's checksum."""
    algorithm = archive.checksum.partition(":")[0]
    return f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"


class _Transfer:
    """A download that continues an interrupted one, even of another process.

    A dropped connection is reopened as long as each attempt receives new bytes. If a server ignores ranges, the bytes
    that already exist are skipped, so the partial file never shrinks.

    Args:
        url: The address of the file.
        part: The partial file; it is kept if the download fails.
        bar: Shows the progress.
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
        """Make one request and append its bytes; return if the file is complete."""
        # With a content encoding, sizes and ranges would refer to other bytes.
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
                # Outside the `try`: a full disk is not the mirror's fault.
                file.write(chunk[skipped:])
                done += len(chunk) - skipped
                self._bar.at(done)


def _answered_range(response: requests.Response, offset: int) -> tuple[int | None, int | None]:
    """Return which bytes a response contains.

    Returns:
        The position of the first byte of its body, or None if nothing is left to download; and the size of the whole
        file, or None if the server does not send it.
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
            # For example a log-in page; the bytes from other mirrors are kept.
            raise MirrorError(f"it offers {total:,} bytes where {offset:,} have arrived already")
        return (None if offset and total == offset else 0), total
    if status >= 500 or status in (408, 429):
        raise _WorthAnotherTry(f"it answered {status} {response.reason}")
    raise MirrorError(f"it answered {status} {response.reason}")


def _failure(error: Exception, *, broke_off: bool = False) -> _WorthAnotherTry:
    """Describe a network error in a clause."""
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
