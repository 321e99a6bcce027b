"""The list of deliberate faults matches the tree; `python tests/faults.py` tries them."""

import ast
from pathlib import Path

import pytest
from faults import FAULTS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_place_and_tests_exist(fault):
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    assert text.count(fault.right) == 1
    ast.parse(text.replace(fault.right, fault.wrong))
    assert all((ROOT / name).is_file() for name in fault.tests.split())
