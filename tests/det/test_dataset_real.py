"""The published blood-cell set with its irregularities."""

import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from mmengine.registry import DATASETS, DefaultScope

from datasets.layouts import voc
from det.train import Detection
from engine.cli import Options
from engine.job import resolve_job
from engine.task import prepare

ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "bccd.tar"
pytestmark = pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"{ARCHIVE} is not there")


@pytest.fixture(scope="module")
def bccd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bccd")
    with tarfile.open(ARCHIVE) as archive:
        # The boxes need no pixels.
        texts = [m for m in archive.getmembers() if not m.name.endswith(".jpg")]
        archive.extractall(folder, texts, filter="data")
    return next(path.parent for path in folder.rglob("ImageSets"))


def _flat(path):
    """Files of boxes whose right or lower edge does not lie beyond the other one."""
    for box in ElementTree.parse(path).iterfind("object/bndbox"):
        x1, y1, x2, y2 = (float(box.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax"))
        if x2 <= x1 or y2 <= y1:
            yield path.name


def test_layout(bccd):
    splits = voc.splits(bccd)
    parts = (*splits.train, splits.test)
    # trainval.txt is the union of the 205 and 87 of train.txt and val.txt.
    assert [part.list_file.stem for part in parts] == ["trainval", "test"]
    assert [len(part.entries()) for part in parts] == [205 + 87, 72]
    assert voc.classes(bccd) == ("Platelets", "RBC", "WBC")


def test_empty_boxes_are_dropped_and_counted(bccd, tmp_path):
    options = Options(config="mini", data=bccd, work_dir=tmp_path, backbone="resnet10_b-w8")
    config = prepare(Detection(), resolve_job(options))
    with DefaultScope.overwrite_default_scope("mmdet"):
        train = DATASETS.build(config.train_dataloader.dataset)
        test = DATASETS.build(config.val_dataloader.dataset)
    splits = voc.splits(bccd)
    listed = {
        "train": [entry.annotation for part in splits.train for entry in part.entries()],
        "test": [entry.annotation for entry in splits.test.entries()],
    }
    flat = {name: [f for path in paths for f in _flat(path)] for name, paths in listed.items()}
    assert sum(map(len, flat.values())) == 2
    notes = {"train": train.notes, "test": test.notes}
    for name, files in flat.items():
        found = [note for note in notes[name] if "have no area" in note]
        assert sum(int(note.split()[0]) for note in found) == len(files)
        assert all(note.split("first: ")[1].rstrip(")") in files for note in found)
    boxes = [
        i["bbox"]
        for d in (train, test)
        for n in range(len(d))
        for i in d.get_data_info(n)["instances"]
    ]
    assert len(boxes) == 4888 - 2
    assert all(0 <= x1 < x2 <= 640 and 0 <= y1 < y2 <= 480 for x1, y1, x2, y2 in boxes)
