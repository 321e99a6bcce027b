"""The command line that the stages share."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract.command_line import Parser
from contract.errors import UserError
from contract.settings import BUDGETS, PRECISIONS


@dataclass(frozen=True)
class Options:
    """What a stage was asked to do; the fields are the options of the command line."""

    config: str
    work_dir: Path
    data: Path
    backbone: str | None = None
    checkpoint: Path | None = None
    teacher: Path | None = None
    recipe: str | None = None
    tricks: tuple[str, ...] = ()
    seed: int = 0
    lr_factor: float = 1.0
    budget: str = "full"
    precision: str = "auto"
    resume: bool = False
    identity: str | None = None
    data_fingerprint: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)


def parse(prog: str, arguments: Sequence[str] | None, *, classification: bool) -> Options:
    """Read a stage's command line.

    Args:
        prog: The command's name, for `--help`.
        arguments: The words after it; those of this process when None.
        classification: Offer `--recipe`, and no `--checkpoint`: this stage makes checkpoints.

    Raises:
        UserError: An option is unknown, misses its value or has a wrong one.
    """
    parser = Parser(prog=prog, description="Train and evaluate one stage.")
    add = parser.add_argument
    add("config", help="name of a file in the stage's configs/ (such as mini), or a path")
    add("--data", type=Path, required=True, metavar="DIR", help="the dataset's folder")
    add("--work-dir", type=Path, required=True, metavar="DIR", help="where everything is written")
    add("--backbone", metavar="SPEC", help="see python -m backbones; read from the checkpoint else")
    if classification:
        add("--recipe", metavar="NAME", help="base recipe: standard, efficient")
        add("--teacher", type=Path, metavar="FILE", help="backbone.safetensors to distil from")
    else:
        add("--checkpoint", type=Path, metavar="FILE", help="backbone.safetensors; random without")
    add("--trick", action="append", default=[], metavar="NAME", help="may be repeated; in order")
    add("--seed", type=int, default=0)
    add("--lr-factor", type=_factor, default=1.0, metavar="F", help="times the config's lr")
    add("--budget", choices=BUDGETS, default="full")
    add("--precision", choices=PRECISIONS, default="auto")
    add("--resume", action="store_true", help="go on from the last checkpoint in the work dir")
    add("--identity", metavar="HEX", help="recorded in the result")
    add("--data-fingerprint", metavar="HEX", help="recorded in the result: which data these are")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="override a config key")
    values = vars(parser.parse_args(arguments))
    if not 0 <= values["seed"] < 2**32:
        raise UserError(f"--seed {values['seed']} was given; it must lie in 0 to {2**32 - 1}")
    values["tricks"] = tuple(values.pop("trick"))
    values["overrides"] = dict(_override(text) for text in values.pop("set"))
    return Options(**values)


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise UserError(
            f"--lr-factor {text} was given; it must be a finite number above 0, such as 0.3: what the config's "
            "learning rate is multiplied by"
        )
    return factor


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text!r} was given; it must read KEY=VALUE, such as --set lr=0.05")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value
