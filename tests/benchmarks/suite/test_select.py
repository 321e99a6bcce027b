"""The name of a run folder shows the settings that change the numbers of the suite's rows."""

from pathlib import Path

import pytest
from support.world import make_suite

from benchmarks.suite.select import Selection, select
from contract.errors import UserError


@pytest.mark.parametrize(
    ("selection", "suffix"),
    [
        (Selection(), ""),
        (Selection(rows=("a",), tasks=("det",), seeds=(3,), backbones=("resnet18",)), ""),
        (Selection(precision="fp32"), "+fp32"),
        (Selection(precision="fp32", deterministic=True), "+fp32+deterministic"),
        (Selection(overrides={"det": {"lr": 0.03}}), "+det.lr=0.03"),
        (Selection(overrides={"seg": {"a.b": "x"}, "det": {"lr": 1}}), "+det.lr=1+seg.a.b=x"),
        (Selection(overrides={"cls": {"workers": 8}}), ""),
        (Selection(overrides={"det": {"train_dataloader.num_workers": 8}}), ""),
    ],
)
def test_suffix_names_settings_that_change_numbers(selection, suffix):
    assert selection.suffix == suffix


def test_different_settings_have_different_folders():
    one = Selection(overrides={"det": {"a": [1, 2]}})
    other = Selection(overrides={"det": {"a": (1, 2)}})
    assert one.suffix.startswith("+det.a=-1-2-") and one.suffix != other.suffix
    here, there = (Selection(data={"cls": Path(folder, "set")}) for folder in ("/a", "/b"))
    assert here.suffix.startswith("+cls-data=set-") and here.suffix != there.suffix
    long = [Selection(overrides={"det": {"x" * 99: value}}) for value in (1, 2)]
    assert long[0].suffix != long[1].suffix
    assert all(len(selection.suffix) < 80 for selection in long)


def test_table_has_whole_suite_for_any_selection():
    suite = make_suite(seeds=(0, 1))
    selection = Selection(rows=("scratch",), tasks=("seg",), seeds=(4,))
    table = select(suite, selection, (), earlier_seeds=(1,))
    assert table.rows == suite.rows and table.tasks == suite.tasks
    assert (table.seeds, table.teacher_seed) == ((1, 4), 0)
    wanted = [(r.name, t) for r in table.rows for t in table.tasks if selection.wants(r.name, t, 4)]
    assert wanted == [("scratch", "seg")]


def test_classifier_data_moves_tasks_that_use_it():
    suite = make_suite()
    with pytest.raises(UserError, match="no task 'probe' to use the data in"):
        select(suite, Selection(data={"probe": Path("/x")}), ())
