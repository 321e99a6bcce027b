"""Transferability estimates are read strictly and compared with the measured transfer."""

import itertools
from pathlib import Path

import pytest
from support.estimated_run import LOGME, MAP, write_estimated_run, write_estimates
from support.fake_run import edit_json, result_file

from benchmarks.results.estimates import RankAgreement, rank_agreement, read_estimates
from benchmarks.results.read import read_run
from contract.errors import UserError
from contract.result import read_result


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_estimated_run(tmp_path / "mini")


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


def test_rank_agreement_with_metric(run_dir: Path):
    rows = read_estimates(read_run(run_dir), "det")
    assert [row.row for row in rows] == ["scratch", *MAP]
    assert rows[1].samples == (752, 753)
    assert rows[1].estimates["det_logme"].mean == pytest.approx(-0.21)
    assert rows[1].estimates["det_leep"] is None
    found = rank_agreement(rows, "det_logme")
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


def test_weighted_tau_favours_best_rows(run_dir: Path):
    found = rank_agreement(read_estimates(read_run(run_dir), "det"), "det_logme")
    assert isinstance(found, RankAgreement)
    first, second = [*LOGME.values()], [*MAP.values()]
    agree = total = 0.0
    for i, j in itertools.combinations(range(5), 2):
        weight = _weight(first, second, i, j)
        total += weight
        agree += weight if (first[i] - first[j]) * (second[i] - second[j]) > 0 else -weight
    assert found.weighted_tau == pytest.approx(agree / total)


def test_three_rows_have_no_ranking(run_dir: Path):
    rows = [row for row in read_estimates(read_run(run_dir), "det") if row.row in "abc"]
    assert rank_agreement(rows, "det_logme") == (
        "3 pretrained rows have both, and fewer than 4 are no ranking"
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("logme", float("nan"), "'transferability[0].value' is nan, expected a finite number."),
        ("logme", float("inf"), "'transferability[0].value' is inf, expected a finite number."),
        ("nce", 0.5, "transferability 'nce' is not one of ['logme', 'hscore', 'leep']."),
    ],
)
def test_refuses_malformed_estimates(run_dir: Path, name: str, value: float, message: str):
    write_estimates(run_dir, "a", "det", 0, {name: value})
    path = result_file(run_dir, "a", "det", 0)
    with pytest.raises(UserError) as error:
        read_result(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "Delete it and start" in str(error.value)


def test_reads_results_without_estimates(run_dir: Path):
    path = result_file(run_dir, "a", "seg", 0)
    edit_json(path, lambda result: result.pop("transferability"))
    result = read_result(path)
    assert result.transferability == () and "seg_logme" not in result.columns()
