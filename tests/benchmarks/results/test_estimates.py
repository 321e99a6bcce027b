"""Scores before training: read strictly, shown beside the measured transfer, and their orders compared."""

import itertools
import json
from pathlib import Path

import pytest
from fake_run import cell_dir, edit_json, write_run

from benchmarks.latex import format_latex
from benchmarks.report import format_html
from benchmarks.report_transferability import transferability_section
from benchmarks.result_file import read_result
from benchmarks.results import read_run
from benchmarks.table import build_table
from benchmarks.table_text import format_csv
from benchmarks.transferability import RankAgreement, rank_agreement, read_scores
from contract.errors import UserError

MAP = {"a": 40.0, "b": 44.0, "c": 42.0, "d": 48.0, "e": 46.0}
LOGME = {"a": -0.21, "b": -0.18, "c": -0.17, "d": -0.02, "e": -0.10}


def _tell(run_dir: Path, row: str, stage: str, seed: int, scores: dict[str, float]) -> None:
    entries = [{"name": n, "value": v, "samples": 752 + seed} for n, v in scores.items()]
    edit_json(
        cell_dir(run_dir, row, stage, seed) / "result.json",
        lambda result: result.update(transferability=entries),
    )


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    means = {
        row: {
            "cls": {"top1": 60.0, "top5": 90.0},
            "det": {"map": value},
            "seg": {"pixacc": 70.0, "miou": 30.0},
        }
        for row, value in MAP.items()
    }
    scratch = {"cls": None, "det": {"map": 20.0}, "seg": {"pixacc": 60.0, "miou": 20.0}}
    folder = write_run(tmp_path / "mini", means={"scratch": scratch, **means}, seeds=(0, 1))
    for row, value in {"scratch": 9.0, **LOGME}.items():
        for seed in (0, 1):
            _tell(folder, row, "det", seed, {"logme": value + (0.5 - seed) / 50, "hscore": 1.5})
    return folder


def _kendall_by_pairs(first, second):
    """τ of two columns without ties: concordant less discordant pairs."""
    pairs = list(itertools.combinations(range(len(first)), 2))
    signs = [(first[i] - first[j]) * (second[i] - second[j]) for i, j in pairs]
    return sum(1 if sign > 0 else -1 for sign in signs) / len(pairs)


def _p_value_by_permutations(first, second):
    """How many of all orders agree or disagree at least as much."""
    tau = abs(_kendall_by_pairs(first, second))
    taus = [_kendall_by_pairs(first, order) for order in itertools.permutations(second)]
    return sum(abs(other) >= tau - 1e-12 for other in taus) / len(taus)


def test_the_order_by_a_score_against_the_order_by_the_metric(run_dir: Path):
    rows = read_scores(read_run(run_dir), "det")
    assert [row.row for row in rows] == ["scratch", *MAP]
    assert rows[1].samples == (752, 753)
    assert rows[1].scores["logme"].mean == pytest.approx(-0.21)
    assert rows[1].scores["leep"] is None
    found = rank_agreement(rows, "logme")
    assert isinstance(found, RankAgreement)
    columns = [*LOGME.values()], [*MAP.values()]
    # The control, which has the highest score and the lowest metric, does not count.
    assert found.rows == 5
    assert found.tau == pytest.approx(_kendall_by_pairs(*columns))
    assert found.p_value == pytest.approx(_p_value_by_permutations(*columns))


def _weight(first, second, i, j):
    """Vigna's hyperbolic weight 1 / (r + 1) of both elements, by rank from the top in both columns."""
    total = 0.0
    for column in (first, second):
        order = sorted(range(len(column)), key=lambda k: -column[k])
        total += (1 / (order.index(i) + 1) + 1 / (order.index(j) + 1)) / 2
    return total


def test_the_best_rows_count_most_in_the_weighted_tau(run_dir: Path):
    found = rank_agreement(read_scores(read_run(run_dir), "det"), "logme")
    assert isinstance(found, RankAgreement)
    first, second = [*LOGME.values()], [*MAP.values()]
    agree = total = 0.0
    for i, j in itertools.combinations(range(5), 2):
        weight = _weight(first, second, i, j)
        total += weight
        agree += weight if (first[i] - first[j]) * (second[i] - second[j]) > 0 else -weight
    assert found.weighted_tau == pytest.approx(agree / total)


def test_the_section_shows_scores_metric_and_agreement(run_dir: Path):
    text = transferability_section(read_run(run_dir))
    assert "<h3>Detection</h3>" in text and "<h3>Segmentation</h3>" not in text
    assert "<td>−0.210</td><td>1.500</td><td>—</td><td>752, 753</td>" in text
    assert "scratch <span" in text and "not pretrained" in text
    assert (
        "LogME: Kendall&#x27;s τ with mAP +0.80 (p = 0.083, 5 pretrained rows), weighted τ +0.8"
        in text
    )
    assert (
        "H-score: no rank correlation with mAP: all 5 pretrained rows have the same value" in text
    )
    assert (
        "LEEP: no rank correlation with mAP: 0 pretrained rows have both, and fewer than 4 are no ranking."
        in text
    )
    assert text in format_html(read_run(run_dir))


def _freeze(run_dir: Path, *rows: str) -> None:
    for row in rows:
        for seed in (0, 1):
            edit_json(
                cell_dir(run_dir, row, "det", seed) / "result.json",
                lambda result: result.update(tricks=["frozen_backbone"]),
            )


def test_rows_are_ranked_among_those_of_the_same_protocol(run_dir: Path):
    # The row with the lowest score alone: four are left, in which b and c change places.
    _freeze(run_dir, "a")
    text = transferability_section(read_run(run_dir))
    assert "LogME, rows with no tricks: Kendall&#x27;s τ with mAP +0.67" in text
    assert "4 pretrained rows" in text and "frozen_backbone" not in text


def test_a_score_ranks_no_rows_of_different_protocols(run_dir: Path):
    _freeze(run_dir, "a", "b")
    text = transferability_section(read_run(run_dir))
    assert text.count("No rank correlation with mAP: ") == 1
    assert "and nowhere are there 4 pretrained ones" in text and "LogME:" not in text


def test_three_rows_are_no_ranking(run_dir: Path):
    rows = [row for row in read_scores(read_run(run_dir), "det") if row.row in "abc"]
    assert rank_agreement(rows, "logme") == (
        "3 pretrained rows have both, and fewer than 4 are no ranking"
    )


def test_a_run_without_scores_has_no_section(tmp_path: Path):
    assert transferability_section(read_run(write_run(tmp_path / "old"))) == ""


def test_a_smoke_run_compares_no_orders(tmp_path: Path):
    folder = write_run(tmp_path / "mini-smoke", budget="smoke", seeds=(0,))
    _tell(folder, "tricks", "seg", 0, {"logme": 0.2})
    text = transferability_section(read_run(folder))
    assert "0.200" in text and "correlation" not in text


def test_scores_are_columns_of_the_table_and_of_the_csv(run_dir: Path):
    columns = ["map", "det_logme", "det_hscore", "det_leep"]
    edit_json(run_dir / "plan.json", lambda plan: plan.update(columns=columns))
    run = read_run(run_dir)
    table = build_table(run)
    assert [column.heading for column in table.columns] == [
        "mAP ↑",
        "LogME, det (nats)",
        "H-score, det (ratio)",
        "LEEP, det (nats)",
    ]
    row = next(row for row in table.rows if row.row.name == "a")
    assert [row.cells[name].mean for name in columns] == ["39.75", "-0.210", "1.500", "—"]
    # The control's LogME is the highest, and best of nothing: it is a prediction.
    assert not any(row.cells["det_logme"].best for row in table.rows)
    assert r"$-$0.210" in format_latex(run)
    lines = format_csv(run).splitlines()
    assert sum(",det,det_logme,nats,true,false,completed," in line for line in lines) == 6


def test_scores_that_are_no_column_are_in_the_csv(run_dir: Path):
    assert ",det,det_hscore,ratio,true,false,completed,1.5," in format_csv(read_run(run_dir))


@pytest.mark.parametrize(
    ("name", "value"), [("logme", float("nan")), ("logme", float("inf")), ("nce", 0.5)]
)
def test_a_score_that_is_not_understood_is_refused(run_dir: Path, name: str, value: float):
    _tell(run_dir, "a", "det", 0, {name: value})
    path = cell_dir(run_dir, "a", "det", 0) / "result.json"
    with pytest.raises(UserError) as error:
        read_result(path)
    assert str(error.value).startswith(
        f"{path}: transferability '{name}' is {value}, expected a finite number by one of "
        "['logme', 'hscore', 'leep']. Delete it"
    )


def test_results_from_before_it_was_measured_are_read(run_dir: Path):
    path = cell_dir(run_dir, "a", "seg", 0) / "result.json"
    assert "transferability" not in json.loads(path.read_text())
    result = read_result(path)
    assert (result.transferability, result.metric("seg_logme")) == ((), None)
