"""The class folders of the ImageFolder layout, and their order."""

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from contract.errors import UserError
from datasets.layouts import imagefolder
from datasets.layouts.imagefolder import Folder


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(UserError, match=r"absent does not exist; .*layout \{train,val\}/<class>"):
        Folder(tmp_path / "absent").classes()
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "flat" / "a.png")
    with pytest.raises(UserError, match=r"flat has no class folders; images are in .*<class>"):
        Folder(tmp_path / "flat").classes()


def test_samples_match_torchvision(tmp_path):
    root = tmp_path / "train"
    for name in (
        "b/2.png",
        "b/10.png",
        "B/1.JPG",
        "a/deep/1.png",
        "a/z.png",
        "a/deep-er/0.webp",
        "a/x.txt",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / name, format="PNG")
    found = [(str(sample.image), sample.label) for sample in Folder(root).samples()]
    assert found == ImageFolder(str(root)).samples
    assert Folder(root).classes() == ("B", "a", "b")


def test_hidden_files_are_ignored(tmp_path):
    for split in ("train", "val"):
        for name in ("cat/1.png", "cat/._1.png", ".ipynb_checkpoints/1.png", "cat/.cache/1.png"):
            path = tmp_path / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(path)
    assert imagefolder.classes(tmp_path) == ("cat",)
    assert Folder(tmp_path / "train").images() == [tmp_path / "train" / "cat" / "1.png"]
