"""Findings state the intervals that support them; the rest stays open."""

from __future__ import annotations

import functools
from pathlib import Path

from support.fake_run import OFFSETS, edit_json, fail_run, result_file, write_run

from benchmarks.report.build import build_report


def findings(run_dir: Path) -> list[tuple[str, str]]:
    return [(finding.kind, finding.text) for finding in build_report(run_dir).findings]


def test_shared_runs_are_not_compared(run_dir: Path) -> None:
    def share(plan: dict) -> None:
        runs = {(run["row"], run["stage"], run["seed"]): run for run in plan["cells"]}
        for (row, task, seed), run in runs.items():
            if (row, task) == ("tricks", "cls"):
                run["identity"] = runs["standard", "cls", seed]["identity"]
                path = run_dir / run["path"] / "result.json"
                edit_json(path, functools.partial(dict.update, identity=run["identity"]))

    assert any("top-1: tricks" in text for _, text in findings(run_dir))
    edit_json(run_dir / "plan.json", share)
    said = [text for _, text in findings(run_dir)]
    assert not any(text.startswith("top-1:") for text in said)
    assert any(text.startswith("mAP: tricks") for text in said)


def test_findings_match_intervals(run_dir: Path) -> None:
    found = findings(run_dir)
    # s² = 0.31 in both rows, so the difference has ± t(0.975, 4) √(2 · 0.31 / 3) = 2.776 · 0.4546.
    text = (
        "mAP: both standard and tricks beat scratch by more than the spread over seeds: standard "
        "+12.30 (+11.04 to +13.56) and tricks +15.40 (+14.14 to +16.66)."
    )
    assert ("shown", text) in found
    assert any(
        kind == "open" and text.startswith("mIoU: these seeds cannot tell tricks from standard")
        for kind, text in found
    )


def test_single_seed_compares_nothing(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, seeds=(0,))
    ((kind, text),) = findings(run_dir)
    assert kind == "note" and "at least three seeds" in text


def test_names_weak_and_missing_rows(run_dir: Path) -> None:
    for seed in OFFSETS:
        path = result_file(run_dir, "tricks", "det", seed)
        edit_json(path, lambda result: result["metrics"][0].update(value=5 + result["seed"] / 10))
        fail_run(run_dir, "standard", "seg", seed, "boom")
    texts = [text for _, text in findings(run_dir)]
    assert any(text.startswith("mAP: tricks falls short of scratch by more") for text in texts)
    assert "mIoU: there is no number for standard." in texts
    assert "mIoU: standard has no number, so nothing is compared with it." in texts


def test_ranks_four_rows(tmp_path: Path) -> None:
    means = {
        f"r{index}": {
            "cls": {"top1": 60.0 + index},
            "det": {"map": 40.0 + index},
            "seg": {"pixacc": 70.0, "miou": 40.0 - index},
        }
        for index in range(4)
    }
    texts = [text for _, text in findings(write_run(tmp_path, means=means))]
    assert any("order by mAP have Spearman's rank correlation +1.00" in text for text in texts)
    assert any("order by mIoU have Spearman's rank correlation −1.00" in text for text in texts)
    assert not any("order by PixAcc" in text for text in texts)  # all rows are equal there


def test_smoke_run_compares_nothing(tmp_path: Path) -> None:
    assert [kind for kind, _ in findings(write_run(tmp_path, budget="smoke"))] == ["note"]
