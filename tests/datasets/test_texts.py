"""Lists of names in one array, and arrays in files."""

import os

import numpy as np
import pytest

from datasets.texts import Texts, read_arrays, write_arrays


def test_names_come_back():
    names = ["a/b.jpg", "", "ü/日本.png", os.fsdecode(b"not-utf8-\xff.jpg")]
    texts = Texts.of(names)
    assert list(texts) == names
    assert texts[-1] == names[-1]
    assert len(texts) == 4
    for index in (4, -5):
        with pytest.raises(IndexError):
            texts[index]
    assert list(Texts.of([])) == []


def test_equal_arrays_are_equal_files(tmp_path, monkeypatch):
    arrays = {"names": np.arange(5, dtype=np.uint8), "ends": np.asarray([2, 5])}
    write_arrays(tmp_path / "a.npz", arrays)
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
    write_arrays(tmp_path / "b.npz", arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as found:
        assert {name: found[name].tolist() for name in found} == {
            "names": [0, 1, 2, 3, 4],
            "ends": [2, 5],
        }


def test_damaged_file_has_no_arrays(tmp_path):
    path = tmp_path / "a.npz"
    assert read_arrays(path) is None
    write_arrays(path, {"a": np.arange(1000)})
    path.write_bytes(path.read_bytes()[:500])
    assert read_arrays(path) is None
