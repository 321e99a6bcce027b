"""The HTML report, read like a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from benchmarks.report.build import build_report
from benchmarks.report.page import format_html

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what a browser would load and show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "srcset", "data") or (name == "href" and tag != "a"):
                self.loads.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            assert not name.startswith("on")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def section(run_dir: Path, title: str) -> str:
    """Return the markup of one section of the page; empty if the page does not have it."""
    text = format_html(build_report(run_dir))
    found = re.search(rf"<h2>{re.escape(title)}</h2>.*?</section>", text, re.DOTALL)
    return found[0] if found else ""
