"""The reference pages are those of the models."""

import pytest

from benchmarks.scripts.reference import PAGES, descriptions, section, type_name
from benchmarks.suite.model import Row
from contract.models import Model
from contract.result import Result
from contract.settings import ROOT


@pytest.mark.parametrize("name", PAGES)
def test_page_is_current(name):
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), "run python -m benchmarks.scripts.reference"


@pytest.mark.parametrize("model", [Row, Result])
def test_attribute_docs_name_fields(model):
    assert descriptions(model).keys() <= model.model_fields.keys()


def test_section():
    class Small(Model):
        """A small record.

        Attributes:
            count: How many,
                in all.
            label: Shown | written.
        """

        count: int
        label: str | None = None

    assert section(Small).splitlines() == [
        "## Small",
        "",
        "A small record.",
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
        "| `count` | integer | required | How many, in all. |",
        "| `label` | string or null | `None` | Shown \\| written. |",
    ]
    assert type_name(tuple[str, ...]) == "list of string"
