"""The list of deliberate faults matches the tree; `python tests/faults.py` tries them."""

import ast
from pathlib import Path

import pytest
from faults import FAULTS

ROOT = Path(__file__).resolve().parents[1]


def _names(text):
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_place_and_tests_exist(fault):
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    assert text.count(fault.right) == 1
    # A name that the file does not know would crash, which is not a silent fault.
    assert _names(text.replace(fault.right, fault.wrong)) <= _names(text)
    assert all((ROOT / name).is_file() for name in fault.tests.split())
