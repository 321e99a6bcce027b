"""A very small generated world, made once; a test that changes it gets a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.dataset_trees import AdeTree, VocTree, tiny_ade20k, tiny_devkit
from support.small_world import SMALL

from datasets.miniworld import generate


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(SMALL, tmp_path_factory.mktemp("pristine") / "world", processes=1)


@pytest.fixture
def cls(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine / "cls", tmp_path / "cls"))


@pytest.fixture
def voc(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine / "VOCdevkit", tmp_path / "VOCdevkit"))


@pytest.fixture
def ade(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine / "ADEChallengeData2016", tmp_path / "ade"))


@pytest.fixture
def tiny_voc(tmp_path: Path) -> VocTree:
    return tiny_devkit(tmp_path / "VOCdevkit")


@pytest.fixture
def tiny_ade(tmp_path: Path) -> AdeTree:
    return tiny_ade20k(tmp_path / "ADEChallengeData2016")
