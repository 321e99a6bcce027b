"""Properties of all layouts."""

from pathlib import Path

import pytest

from contract.errors import UserError
from contract.tasks import TASKS
from datasets.kinds import KINDS
from datasets.layouts import kind_of, layout_of


def test_layouts_match_task_table():
    assert {layout for task in TASKS.values() for layout in task.layouts} == set(KINDS)
    for kind in KINDS:
        for name in ("find", "classes", "splits", "data_paths", "check"):
            assert callable(getattr(layout_of(kind), name)), (kind, name)
    with pytest.raises(UserError, match="unknown data layout 'vco'; did you mean 'voc'"):
        layout_of("vco")


def test_each_layout_detects_its_sets(pristine: Path):
    folders = {"imagefolder": "cls", "voc": "VOCdevkit", "ade20k": "ADEChallengeData2016"}
    for kind, folder in folders.items():
        found = [name for name in KINDS if layout_of(name).find(pristine / folder)]
        assert found == [kind]
    assert not any(layout_of(kind).find(pristine / "nowhere") for kind in KINDS)


def test_default_layout_unless_folder_shows_another(pristine: Path):
    assert kind_of(pristine / "VOCdevkit", "det") == "voc"
    assert kind_of(pristine / "nowhere", "det") == "voc"
    assert kind_of(pristine / "cls", "cls") == kind_of(pristine / "cls", "probe") == "imagefolder"
    assert kind_of(pristine / "ADEChallengeData2016", "seg") == "ade20k"
