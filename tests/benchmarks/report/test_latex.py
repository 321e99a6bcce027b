"""The table as LaTeX, and how to cite it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.fake_run import edit_json, result_file
from support.tables import rename

from benchmarks.report.build import build_report
from benchmarks.report.latex import escape_latex, format_bibtex, format_latex
from benchmarks.results.read import read_run


def test_balanced_and_escaped(run_dir: Path) -> None:
    rename(run_dir, "50%_a&b#{c}")
    text = format_latex(build_report(run_dir))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert r"50\%\_a\&b\#\{c\}" in body
    assert r"50\% of A \& B\_C \#1 \{x\} \textasciitilde{} \textasciicircum{}" in body
    bare = re.sub(r"\\[{}%&_#$\\]", "", body)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not set("%_#") & set(bare) and bare.isascii()
    for environment in re.findall(r"\\begin\{(\w+)\}", body):
        assert body.count(rf"\end{{{environment}}}") == 1
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {re.sub(r"\\&", "", row).count("&") for row in rows} == {5}


@pytest.mark.parametrize("sign", list("&%$#_{}~^\\<>|±×—α"))
def test_escapes_special_characters(sign: str) -> None:
    escaped = escape_latex(f"a{sign}\n\nb")
    assert escaped.isascii() and escaped != f"a{sign} b" and "\n" not in escaped


def test_citation_pins_run(run_dir: Path) -> None:
    edit_json(
        result_file(run_dir, "tricks", "det", 0),
        lambda r: r["code"].update(dirty=True),
    )
    text = format_bibtex(read_run(run_dir))
    assert text.count("{") == text.count("}")
    assert "4f1c09aa5b6e77d2c3b1908f6d5e4c3b2a190807 with uncommitted changes" in text
    assert "1812.01187" in text and "seeds 0, 1, 2" in text
