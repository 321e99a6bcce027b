"""Figure styles of rows are distinct."""

from __future__ import annotations

from pathlib import Path

from support.fake_run import MEANS, write_run

from benchmarks.report.build import build_report


def test_styles_are_distinct(tmp_path: Path) -> None:
    means = {f"row {index}": MEANS["tricks"] for index in range(14)}
    styles = build_report(write_run(tmp_path, seeds=(0,), means=means)).styles.values()
    assert len({(style.colour, style.marker) for style in styles}) == 14
    assert len({(style.colour, style.dashes) for style in styles}) == 14
