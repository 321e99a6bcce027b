"""The names of the layouts."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["imagefolder", "voc", "coco", "ade20k"]
KINDS: tuple[Kind, ...] = get_args(Kind)
