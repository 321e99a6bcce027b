"""What the table says, in each of its layouts."""

from __future__ import annotations

import csv
import io
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from fake_run import (
    MEANS,
    OFFSETS,
    cell_dir,
    edit_json,
    fail_cell,
    remove_result,
    write_json,
    write_run,
)

from benchmarks.findings import find_findings
from benchmarks.latex import escape_latex, format_bibtex, format_latex
from benchmarks.results import read_run
from benchmarks.table import build_table
from benchmarks.table_text import format_csv, format_markdown, format_terminal_table

REFERENCES = {"tricks": {"top1": 79.16, "map": 81.1}}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_run(tmp_path / "mini")


def texts(run_dir: Path) -> dict[str, dict[str, str]]:
    """The table's cells as plain text."""
    rows = build_table(read_run(run_dir)).rows
    return {row.row.name: {name: cell.text for name, cell in row.cells.items()} for row in rows}


def markdown_rows(run_dir: Path) -> list[list[str]]:
    """The Markdown table, parsed as a reader would."""
    lines = format_markdown(build_table(read_run(run_dir))).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def csv_rows(run_dir: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The CSV, by row and metric."""
    reader = csv.DictReader(io.StringIO(format_csv(read_run(run_dir))), strict=True)
    return {(line["row"], line["metric"]): line for line in reader}


def test_a_finished_run(run_dir: Path) -> None:
    # Offsets −0.6, 0.1, 0.5: s = √0.31, t(0.975, 2) / √3 = 2.484138, so ± 1.38.
    assert texts(run_dir)["tricks"]["map"] == "46.90 ± 1.38"
    assert texts(run_dir)["scratch"]["top1"] == "—"
    table = markdown_rows(run_dir)
    assert table[0] == ["row", "top-1 ↑", "mAP ↑", "PixAcc ↑", "mIoU ↑", "backbone (M)"]
    assert table[2][:3] == ["scratch", "—", "31.50 ± 1.38"]
    assert table[4][1:] == [
        "**68.90** ± 1.38", "**46.90** ± 1.38", "**78.60** ± 1.38", "**42.00** ± 1.38", "1.23",
    ]  # fmt: skip


def test_every_state_is_named_and_none_is_a_number(run_dir: Path) -> None:
    for seed in OFFSETS:
        fail_cell(run_dir, "standard", "det", seed, "boom\nsecond line")
        remove_result(run_dir, "standard", "seg", seed)
        path = cell_dir(run_dir, "standard", "cls", seed) / "result.json"
        edit_json(path, lambda result: result.update(identity="other"))
    assert texts(run_dir)["standard"] == {
        "top1": "stale", "map": "failed", "pixacc": "missing", "miou": "missing",
    }  # fmt: skip
    assert [row[0] for row in markdown_rows(run_dir)[2:]] == list(MEANS)
    notes = build_table(read_run(run_dir)).notes
    assert "standard · det · seeds 0, 1, 2: failed (boom)" in notes
    terminal = format_terminal_table(read_run(run_dir))
    assert "failed (boom)" in terminal and "second line" not in terminal
    lines = csv_rows(run_dir)
    assert lines["standard", "map"]["status"] == "failed"
    assert lines["standard", "map"]["mean"] == "" and lines["standard", "map"]["n"] == "0"


def test_mixed_states_are_counted(run_dir: Path) -> None:
    fail_cell(run_dir, "tricks", "det", 0, "boom")
    remove_result(run_dir, "tricks", "det", 1)
    remove_result(run_dir, "tricks", "det", 2)
    assert texts(run_dir)["tricks"]["map"] == "1 failed, 2 missing"


def test_fewer_seeds_than_planned_are_told_and_not_bold(run_dir: Path) -> None:
    remove_result(run_dir, "tricks", "det", 0)
    assert texts(run_dir)["tricks"]["map"].endswith("(2 of 3 seeds)")
    assert not any(row.cells["map"].best for row in build_table(read_run(run_dir)).rows)
    remove_result(run_dir, "tricks", "det", 1)
    assert texts(run_dir)["tricks"]["map"] == "47.40 (1 of 3 seeds)"
    assert csv_rows(run_dir)["tricks", "map"]["status"] == "incomplete"
    assert "2 of 3" not in format_terminal_table(read_run(run_dir))
    assert "1 of 3" in format_terminal_table(read_run(run_dir))


def test_one_seed(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, seeds=(0,))
    assert texts(run_dir)["tricks"]["map"] == "46.30"
    assert "no difference between rows can be told" in build_table(read_run(run_dir)).legend


def test_one_row_is_best_of_nothing(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, means={"standard": MEANS["standard"]})
    assert "**" not in "".join(markdown_rows(run_dir)[2])


def test_ties_are_bold_together(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, means={"a": MEANS["tricks"], "b": MEANS["tricks"]})
    assert [row.cells["map"].best for row in build_table(read_run(run_dir)).rows] == [True, True]


@pytest.mark.parametrize("budget", ["short", "smoke"])
def test_short_budgets_are_marked_everywhere(tmp_path: Path, budget: str) -> None:
    run = read_run(write_run(tmp_path, budget=budget))
    banner = f"{budget.capitalize()} budget"
    assert f"> **{banner}" in format_markdown(build_table(run))
    assert f"| tricks ({budget}) |" in format_markdown(build_table(run))
    assert f"tricks ({budget})" in format_latex(run) and banner in format_latex(run)
    assert banner in format_terminal_table(run)
    crowned = any(cell.best for row in build_table(run).rows for cell in row.cells.values())
    assert crowned == (budget == "short")


def test_an_unavailable_row_says_why(run_dir: Path) -> None:
    def change(plan: dict[str, Any]) -> None:
        plan["rows"][2]["unavailable"] = "trick distill is not in this version"
        plan["rows"][0]["note"] = "the control"
        plan["cells"] = [cell for cell in plan["cells"] if cell["row"] != "tricks"]

    edit_json(run_dir / "plan.json", change)
    assert set(texts(run_dir)["tricks"].values()) == {"unavailable"}
    notes = build_table(read_run(run_dir)).notes
    assert notes == (
        "scratch: the control",
        "tricks is unavailable: trick distill is not in this version",
    )


def test_published_figures_have_columns_of_their_own(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, references=REFERENCES))
    rows = markdown_rows(tmp_path)
    assert rows[0][6:] == ["paper top-1", "paper mAP"]
    assert rows[3][6:] == ["—", "—"] and rows[4][6:] == ["79.16", "81.10"]
    assert r"\multicolumn{2}{c}{published}" in format_latex(run)
    assert "paper 79.16" in format_terminal_table(run)


def test_partial_test_sets_are_marked(run_dir: Path) -> None:
    for row in MEANS:
        for seed in OFFSETS:
            path = cell_dir(run_dir, row, "det", seed) / "result.json"
            edit_json(path, lambda result: result["data"].update(test_images_used=20))
    table = build_table(read_run(run_dir))
    assert "20 of 150 test images (not all)" in dict(table.protocol)["detection"]
    assert any("det was tested on 20 of 150 images" in warning for warning in table.warnings)


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (lambda r: r.update(checkpoint=None), "started from random weights"),
        (lambda r: r["checkpoint"].update(matched=60), "60 of 62 tensors"),
        (lambda r: r["checkpoint"].update(sha256="0"), "loaded different checkpoints"),
        (lambda r: r["protocol"].update(metric="COCO"), "mixes protocols"),
        (
            lambda r: r["data"].update(test_images_total=149, test_images_used=149),
            "of different sizes",
        ),
        (lambda r: r["precision"].update(dtype="float32"), "mixes precisions"),
        (lambda r: r["code"].update(git_sha="b" * 40), "more than one commit"),
        (lambda r: r["code"].update(dirty=True), "uncommitted changes"),
    ],
)
def test_what_makes_a_table_doubtful_stands_above_it(
    run_dir: Path, change: Any, warning: str
) -> None:
    assert build_table(read_run(run_dir)).warnings == ()
    edit_json(cell_dir(run_dir, "tricks", "det", 0) / "result.json", change)
    run = read_run(run_dir)
    assert any(warning in text for text in build_table(run).warnings)
    assert "> **Warning.**" in format_markdown(build_table(run))
    assert "Warning:" in format_terminal_table(run)


@pytest.mark.parametrize("intended", [{}, {"protocol": "few-shot rows beside full ones"}])
def test_parts_of_one_training_set_are_a_protocol(run_dir: Path, intended: dict[str, str]) -> None:
    edit_json(run_dir / "plan.json", lambda plan: plan.update(intended=intended))
    path = cell_dir(run_dir, "tricks", "seg", 0) / "result.json"
    warning = "The seg column mixes training sets of different sizes."
    edit_json(path, lambda result: result["data"].update(train_images_used=7))
    assert (warning in build_table(read_run(run_dir)).warnings) == (not intended)
    edit_json(path, lambda result: result["data"].update(train_images_total=8))
    assert warning in build_table(read_run(run_dir)).warnings


def test_rows_may_hold_their_backbones_differently(run_dir: Path) -> None:
    for row in MEANS:
        held = "trained" if row == "scratch" else "frozen"
        for seed in OFFSETS:
            path = cell_dir(run_dir, row, "det", seed) / "result.json"
            edit_json(path, lambda result, held=held: result["protocol"].update(backbone=held))
    table = build_table(read_run(run_dir))
    assert table.warnings == ()
    protocol = dict(table.protocol)["detection"]
    assert "backbone trained (scratch) | frozen (standard, tricks);" in protocol


def test_a_checkpoint_in_the_control_is_doubtful(run_dir: Path) -> None:
    receipt = {"sha256": "1", "matched": 1, "total": 1, "source": None}
    path = cell_dir(run_dir, "scratch", "seg", 0) / "result.json"
    edit_json(path, lambda result: result.update(checkpoint=receipt))
    assert any("trains from scratch" in text for text in build_table(read_run(run_dir)).warnings)


def test_csv_gives_back_the_numbers(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, references=REFERENCES)
    lines = csv_rows(run_dir)
    # The table's four metrics, top-5, and each stage's five costs and five that have keys of their own.
    assert len(lines) == len(MEANS) * (5 + 3 * (5 + 5))
    line = lines["tricks", "map"]
    values = [float(value) for value in line["values"].split(";")]
    assert values == [46.9 + offset for offset in OFFSETS.values()]
    assert line["seeds"] == "0;1;2"
    assert float(line["mean"]) == pytest.approx(statistics.mean(values))
    assert float(line["std"]) == pytest.approx(statistics.stdev(values))
    assert line["protocol"] == "VOC07 11-point AP50, strict; single-scale"  # has a comma in it
    assert (line["reference"], line["status"], line["budget"]) == ("81.1", "completed", "full")
    assert lines["scratch", "top1"]["status"] == "absent"
    assert len(line["checkpoint_sha256"].split(" | ")) == 3


def rename(run_dir: Path, name: str) -> None:
    """Give the row `tricks` a difficult name; its cells keep their folders."""

    def change(plan: dict[str, Any]) -> None:
        plan["title"] = "50% of A & B_C #1 {x} ~ ^ \\ $"
        plan["rows"][2]["name"] = name
        for cell in plan["cells"]:
            cell["row"] = name if cell["row"] == "tricks" else cell["row"]

    edit_json(run_dir / "plan.json", change)


def test_markdown_keeps_its_columns_whatever_the_names(run_dir: Path) -> None:
    rename(run_dir, "a|b*c_<d>")
    assert {len(row) for row in markdown_rows(run_dir)} == {6}
    assert r"a\|b\*c\_\<d>" in format_markdown(build_table(read_run(run_dir)))


def test_latex_is_balanced_and_escaped(run_dir: Path) -> None:
    rename(run_dir, "50%_a&b#{c}")
    text = format_latex(read_run(run_dir))
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
def test_every_special_sign_is_escaped(sign: str) -> None:
    escaped = escape_latex(f"a{sign}\n\nb")
    assert escaped.isascii() and escaped != f"a{sign} b" and "\n" not in escaped


def test_citation_pins_the_run(run_dir: Path) -> None:
    edit_json(
        cell_dir(run_dir, "tricks", "det", 0) / "result.json",
        lambda r: r["code"].update(dirty=True),
    )
    text = format_bibtex(read_run(run_dir))
    assert text.count("{") == text.count("}")
    assert "4f1c09aa5b6e77d2c3b1908f6d5e4c3b2a190807 with uncommitted changes" in text
    assert "1812.01187" in text and "seeds 0, 1, 2" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_terminal_never_cuts_text_off(run_dir: Path, width: int) -> None:
    text = format_terminal_table(read_run(run_dir), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "tricks" in text


def test_a_number_of_another_protocol_is_absent(tmp_path: Path):
    folder = write_run(tmp_path / "mini")
    edit_json(folder / "plan.json", lambda plan: plan["columns"].append("miou_ms"))
    for row in ("standard", "tricks"):
        for seed in OFFSETS:
            edit_json(
                cell_dir(folder, row, "seg", seed) / "result.json",
                lambda result: result["metrics"].append(
                    {"name": "miou_ms", "value": 40.0, "unit": "%", "higher_is_better": True}
                ),
            )
    table = build_table(read_run(folder))
    shown = {row.row.name: row.cells["miou_ms"].status for row in table.rows}
    assert (shown["standard"], shown["tricks"], shown["scratch"]) == (
        "completed",
        "completed",
        "absent",
    )


def test_a_teacher_that_knows_less_than_its_pupil_is_told(tmp_path: Path):
    means: Any = {
        name: {"cls": {"top1": top1, "top5": 90.0}, "det": None, "seg": None}
        for name, top1 in (("plain", 50.0), ("taught", 60.0), ("big", 55.0))
    }
    folder = write_run(tmp_path / "mini", means=means)

    def teach(plan: dict[str, Any]) -> None:
        plan["teachers"] = [row for row in plan["rows"] if row["name"] == "big"]
        plan["rows"] = [row for row in plan["rows"] if row["name"] != "big"]
        plan["rows"][1]["teacher"] = "big"

    edit_json(folder / "plan.json", teach)
    # Of a teacher there is the first seed alone, 0.6 below the mean.
    (warning,) = build_table(read_run(folder)).warnings
    assert warning.startswith("taught (60.0 top-1) was distilled from big, which is worse (54.4):")


def test_a_training_that_diverged_is_told(tmp_path: Path):
    folder = write_run(tmp_path / "mini")
    curves = cell_dir(folder, "tricks", "det", 1) / "curves.json"

    def told(*losses: float) -> tuple[str, ...]:
        points = [{"epoch": n / 10, "loss": loss} for n, loss in enumerate(losses)]
        write_json(curves, {"train": points, "val": []})
        return build_table(read_run(folder)).warnings

    # A spike of one point in a tenth of two is no divergence, a plateau of two is.
    fine = [2.0] * 20
    assert told(*fine) == told(*fine[:10], 5.9, *fine[11:]) == ()
    (warning,) = told(*fine[:10], 9.0, 11.0, *fine[12:])
    assert warning.startswith(
        "tricks · det · seed 1: the training loss rose to 5.0 times its start"
    )
    assert "sweep SUITE --stage det" in warning
    run = read_run(folder)
    notes = [finding.text for finding in find_findings(run, build_table(run))]
    assert any(text.startswith("tricks · det diverged") for text in notes)
    assert told(*fine[:3], 99.0) == ()


def test_data_that_differ_and_batches_that_differ(tmp_path: Path):
    folder = write_run(tmp_path / "mini")
    path = cell_dir(folder, "tricks", "cls", 0) / "result.json"
    edit_json(path, lambda result: result["protocol"].update(batch="128 images a step"))
    assert build_table(read_run(folder)).warnings == ()
    edit_json(path, lambda result: result["data"].update(fingerprint="ab" * 32))
    assert build_table(read_run(folder)).warnings == ("The cls column mixes data sets.",)


def test_weights_that_lacked_tensors_have_a_footnote(run_dir: Path) -> None:
    lacking = [f"layer4.{number}.weight" for number in range(6)]
    path = cell_dir(run_dir, "tricks", "det", 0) / "result.json"
    edit_json(path, lambda result: result["checkpoint"]["source"].update(random=lacking))
    table = build_table(read_run(run_dir))
    (note,) = [note for note in table.notes if "started from random numbers" in note]
    assert note.startswith("tricks: 6 tensors")
    assert note.endswith("layer4.2.weight, layer4.3.weight, …")
    assert note in format_markdown(table)
