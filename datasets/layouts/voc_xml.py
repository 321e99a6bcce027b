"""XML annotations in Pascal VOC's format."""

from __future__ import annotations

import math
import os
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from contract.errors import UserError
from datasets.records import Box, Object, Size

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["'][^>]*\?>""")
_YES = ("true", "yes")


@dataclass(frozen=True, slots=True)
class VocObject:
    """An `<object>` as written in the file.

    Attributes:
        name: Its class; empty if it has none.
        corners: xmin, ymin, xmax and ymax, counted from 1, ends included; None for a value that is not a number.
        difficult: The text of `<difficult>`; None if it is missing.
    """

    name: str
    corners: tuple[float | None, ...]
    difficult: str | None

    @property
    def is_difficult(self) -> bool:
        """Whether the object counts as difficult: a number other than 0, or a word for yes."""
        text = (self.difficult or "").strip()
        number = _number(text)
        return text.lower() in _YES if number is None else int(number) != 0

    @property
    def unclear_difficult(self) -> bool:
        """Whether `<difficult>` is not a number, which the check reports."""
        return self.difficult is not None and _number(self.difficult) is None

    @property
    def box(self) -> Box | None:
        """The box in whole pixels counted from 0; None if a corner is missing."""
        values = [_pixel(corner) for corner in self.corners if corner is not None]
        return (values[0], values[1], values[2], values[3]) if len(values) == 4 else None


@dataclass(frozen=True, slots=True)
class Annotation:
    """The content of an XML file.

    Attributes:
        size: Width and height as stated; 0 for a value that is missing or not a number.
        objects: In the order of the file.
    """

    size: Size
    objects: tuple[VocObject, ...]


def read_annotation(path: Path) -> Annotation:
    """Read an annotation; each version of a file is parsed once per process.

    Raises:
        UserError: The file is missing or not XML. The message names the file and the line.
    """
    try:
        status = os.stat(path)
        return _parsed(path, status.st_size, status.st_mtime_ns)
    except FileNotFoundError:
        raise UserError(f"the annotation {path} does not exist; complete the dataset") from None
    except (OSError, ET.ParseError, ValueError, LookupError) as error:
        raise UserError(
            f"the annotation {path} is not XML ({error}); fix the file, or take its name out of ImageSets/Main"
        ) from None


@cache
def _parsed(path: Path, size: int, modified_ns: int) -> Annotation:
    del size, modified_ns  # They only distinguish versions of the file.
    document = parse(path.read_bytes())
    width, height = (_number(document.findtext(f"size/{side}")) for side in ("width", "height"))
    return Annotation(
        (width or 0, height or 0),
        tuple(
            VocObject(
                (node.findtext("name") or "").strip(),
                tuple(_corner(node.findtext(f"bndbox/{corner}")) for corner in _CORNERS),
                node.findtext("difficult"),
            )
            for node in document.iterfind("object")
        ),
    )


def parse(data: bytes) -> ET.Element:
    """Parse XML in any encoding of Python; expat itself supports no multi-byte encodings except Unicode.

    Raises:
        ET.ParseError: The data are not XML.
        ValueError: The bytes are not in the encoding that the file declares.
        LookupError: Python does not know that encoding.
    """
    declared = _DECLARED.match(data)
    try:
        return ET.fromstring(data)
    except (ValueError, LookupError):
        if declared is None:
            raise
    return ET.fromstring(data[declared.end() :].decode(declared[1].decode("ascii")))


def trained_objects(annotation: Annotation, path: Path) -> tuple[Object, ...]:
    """Return the objects of an annotation as records.

    Raises:
        UserError: An object has no name or no complete box.
    """
    objects = []
    for found in annotation.objects:
        box = found.box
        if box is None or not found.name:
            raise UserError(
                f"the annotation {path} has an object without a name or a whole bndbox; fix the file"
            )
        size = (box[2] - box[0], box[3] - box[1])
        objects.append(Object(found.name, box, size, found.is_difficult))
    return tuple(objects)


def _pixel(corner: float) -> float:
    """Return a corner counted from 0; a value that is not finite stays so, and its box is dropped."""
    return int(corner) - 1 if math.isfinite(corner) else corner


def _corner(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    """Return a finite number, or None."""
    value = _corner(text)
    return value if value is not None and math.isfinite(value) else None
