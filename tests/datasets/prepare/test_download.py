"""Downloads from a loopback server that drops connections, lies and dies."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from support.prepare_world import Server, md5, quiet_console, said

from contract.errors import UserError
from datasets.prepare import download, progress
from datasets.prepare.catalogue import SETS, Archive
from datasets.prepare.progress import Announcer

CONTENT = bytes(range(256)) * 40  # 10,240 bytes


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch):
    """Resolve no name but the loopback address."""
    resolve = socket.getaddrinfo

    def loopback(host, *arguments, **options):
        if host not in ("127.0.0.1", b"127.0.0.1"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", loopback)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(download, "FIRST_WAIT_SECONDS", 0.0)


class Getting:
    """Fetch `a.tar` into a folder, and record the reports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path, self.part = folder / "a.tar", folder / "a.tar.part"
        self.console = quiet_console()

    def __call__(self, *urls: str, content: bytes = CONTENT) -> Path:
        archive = Archive("a.tar", md5(content), len(content), urls)
        return download.fetch(archive, self.folder, Announcer(self.console))

    def fail(self, *urls: str) -> str:
        with pytest.raises(UserError) as caught:
            self(*urls)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def get(tmp_path) -> Getting:
    return Getting(tmp_path / "archives")


def dead_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return f"http://127.0.0.1:{port}/a.tar"


def test_complete_file_without_leftovers(server: Server, get: Getting):
    assert get(server.add("/a.tar", CONTENT)) == get.path
    assert get.path.read_bytes() == CONTENT
    assert get.left == ["a.tar"]
    assert "Downloading a.tar of 10.2 kB" in said(get.console)


def test_present_archive_is_checked_only(server: Server, get: Getting):
    get(server.add("/a.tar", CONTENT))
    get(server.address + "/a.tar")
    assert len(server.requests) == 1
    get.path.write_bytes(b"put here by hand")
    text = get.fail(server.address + "/a.tar")
    assert f"{get.path} has the MD5 " in text
    assert f"expected {md5(CONTENT)[4:]}" in text
    assert get.path.read_bytes() == b"put here by hand"
    assert len(server.requests) == 1


def test_resumes_dropped_connections(server: Server, get: Getting):
    # More drops than attempts, but each attempt makes progress.
    get(server.add("/a.tar", CONTENT, drops=[1000] * 6))
    assert get.path.read_bytes() == CONTENT
    assert server.ranges == [None, *(f"bytes={1000 * n}-" for n in range(1, 7))]


def test_later_call_continues_partial_file(server: Server, get: Getting):
    url = server.add("/a.tar", CONTENT, drops=[4000, 0, 0, 0, 0])
    text = get.fail(url)
    assert f"{url}: the connection broke off" in text
    assert get.part.read_bytes() == CONTENT[:4000]
    server.requests.clear()
    get(url)
    assert server.ranges == ["bytes=4000-"]
    assert get.path.read_bytes() == CONTENT
    assert get.left == ["a.tar"]


def test_server_without_ranges(server: Server, get: Getting):
    get(server.add("/a.tar", CONTENT, drops=[4000, 6000], ignore_range=True))
    assert get.path.read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_stalled_server_is_given_up(server: Server, get: Getting):
    url = server.add("/a.tar", CONTENT, drops=[4000] * 9, ignore_range=True)
    get.fail(url)
    assert len(server.requests) == 1 + download.ATTEMPTS
    assert get.part.read_bytes() == CONTENT[:4000]


def test_unknown_length(server: Server, get: Getting):
    get(server.add("/a.tar", CONTENT, send_length=False))
    assert get.path.read_bytes() == CONTENT


def test_retries_transient_errors_only(server: Server, get: Getting):
    gone = server.address + "/absent.tar"
    busy = server.add("/a.tar", CONTENT, statuses=[500, 503])
    get(gone, busy)
    assert [path for path, _ in server.requests] == ["/absent.tar", *["/a.tar"] * 3]
    assert f"{gone}: it answered 404 Not Found." in said(get.console)


def test_dead_mirror_falls_back_with_partial_file(server: Server, get: Getting):
    first = server.add("/first/a.tar", CONTENT, drops=[5000, 0, 0, 0, 0])
    second = server.add("/second/a.tar", CONTENT)
    dead = dead_address()
    get(dead, first, second)
    assert server.requests[-1] == ("/second/a.tar", "bytes=5000-")
    assert get.path.read_bytes() == CONTENT
    assert f"{dead}: it refused the connection." in said(get.console)


def test_wrong_checksum_discards_file(server: Server, get: Getting):
    wrong = server.add("/wrong/a.tar", CONTENT[::-1])
    right = server.add("/right/a.tar", CONTENT)
    get(wrong, right)
    assert server.requests == [("/wrong/a.tar", None), ("/right/a.tar", None)]
    assert get.path.read_bytes() == CONTENT
    assert f"{wrong}: what it sent has not the checksum {md5(CONTENT)}." in said(get.console)


def test_wrong_partial_bytes_are_not_blamed_on_mirror(server: Server, get: Getting):
    get.folder.mkdir()
    for old in (b"other bytes", CONTENT + b"too much"):
        get.part.write_bytes(old)
        get.path.unlink(missing_ok=True)
        server.requests.clear()
        get(server.add("/a.tar", CONTENT))
        assert server.ranges == [f"bytes={len(old)}-", None]
        assert get.path.read_bytes() == CONTENT
        assert get.left == ["a.tar"]


def test_login_page_keeps_partial_file(server: Server, get: Getting):
    get.folder.mkdir()
    get.part.write_bytes(CONTENT[:9000])
    portal = server.add("/portal/a.tar", b"<html>Log in</html>", ignore_range=True)
    get(portal, server.add("/a.tar", CONTENT))
    assert server.requests[-1] == ("/a.tar", "bytes=9000-")
    assert "it offers 19 bytes where 9,000 have arrived already" in said(get.console)


def test_kill_during_checksum_keeps_download(server, get, monkeypatch):
    url = server.add("/a.tar", CONTENT)

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pooch.file_hash", kill)
        with pytest.raises(KeyboardInterrupt):
            get(url)
    assert get.part.read_bytes() == CONTENT
    for ignore_range in (False, True):
        get.path.unlink(missing_ok=True)
        get.part.write_bytes(CONTENT)
        server.files["/a.tar"].ignore_range = ignore_range
        server.requests.clear()
        get(url)
        assert server.ranges == ["bytes=10240-"]
        assert get.path.read_bytes() == CONTENT
        assert get.left == ["a.tar"]


def test_without_hard_links(server, get, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("not supported")))
    get(server.add("/a.tar", CONTENT))
    assert get.path.read_bytes() == CONTENT
    assert get.left == ["a.tar"]


def test_all_mirrors_fail(server: Server, get: Getting):
    gone, wrong = server.address + "/absent.tar", server.add("/a.tar", b"wrong")
    text = get.fail(gone, wrong)
    assert text == (
        f"can't download a.tar ({gone}: it answered 404 Not Found; {wrong}: what it sent has not "
        f"the checksum {md5(CONTENT)}). Run the same command again to go on, or download it by "
        f"hand to {get.path} and then run it."
    )
    assert get.left == []


def test_offline(get: Getting):
    text = get.fail("https://mirror.example/a.tar", dead_address())
    assert "https://mirror.example/a.tar: its name was not found; " in text
    assert "No mirror could be reached: is this machine online?" in text


def test_disk_is_checked_again_when_size_is_known(server, get, monkeypatch):
    usage = lambda _: type("Usage", (), {"free": 10_000})  # noqa: E731
    monkeypatch.setattr("shutil.disk_usage", usage)
    text = get.fail(server.add("/a.tar", CONTENT))
    assert "The rest of a.tar takes 10.2 kB in " in text
    assert "10.0 kB is free there: free 240 bytes more" in text
    assert get.part.exists() is False


def test_log_lines_and_terminal_bar(server, get, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    get(server.add("/a.tar", CONTENT))
    assert "Downloading a.tar: 10.2 kB of 10.2 kB" in said(get.console)
    get.path.unlink()
    get.console = quiet_console()
    get.console._force_terminal = True
    get(server.address + "/a.tar")
    assert "━" in said(get.console)
    assert "10.2/10.2 kB" in said(get.console)


def test_catalogue_is_consistent():
    for dataset in SETS.values():
        for archive in dataset.archives.values():
            algorithm, digest = archive.checksum.split(":")
            assert len(digest) == {"md5": 32, "sha1": 40}[algorithm]
            assert (len(archive.urls) >= 2) is (dataset.name != "imagenet")
            assert all(url.endswith(f"/{archive.file_name}") for url in archive.urls)
            assert archive.size_bytes > 10**6
