"""The command line of a task: its options, the exit status, and the work dir."""

from __future__ import annotations

import argparse
import ast
import errno
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract import tasks
from contract.command_line import (
    STOPPED,
    Parser,
    device_name,
    positive_factor,
    positive_number,
)
from contract.errors import UserError
from contract.settings import BUDGETS, DECODERS, DEVICES, PRECISIONS
from contract.trackers import TRACKERS
from engine.measure.memory import is_out_of_memory
from engine.runner import stop

INTERRUPTED = "interrupted; run the same command with --resume to go on"


@dataclass(frozen=True)
class Options:
    """The options of a task's command line."""

    config: str
    work_dir: Path
    data: Path
    backbone: str | None = None
    checkpoint: Path | None = None
    teacher: Path | None = None
    decoder: str | None = None
    recipe: str | None = None
    tricks: tuple[str, ...] = ()
    seed: int = 0
    lr_factor: float = 1.0
    budget: str = "full"
    precision: str = "auto"
    device: str = "auto"
    deterministic: bool = False
    resume: bool = False
    checkpoint_minutes: float = 10.0
    trackers: tuple[str, ...] = ()
    tracker_run: str | None = None
    identity: str | None = None
    data_fingerprint: str | None = None
    measure: Path | None = None
    overrides: dict[str, Any] = field(default_factory=dict)


def parse(prog: str, arguments: Sequence[str] | None, task: tasks.Task) -> Options:
    """Read a task's command line.

    Args:
        prog: The command's name, for `--help`.
        arguments: The arguments after it; None takes those of this process.
        task: Tasks that start from a checkpoint have `--checkpoint`; the others have `--recipe` and `--teacher`.

    Returns:
        The options.

    Raises:
        UserError: An option is unknown, or its value is missing or wrong.
    """
    parser = Parser(prog=prog, description=f"Train and evaluate: {task.label}.")
    add = parser.add_argument
    add("config", help="name of a file in the task's configs/ (such as mini), or a path")
    add("--data", type=Path, required=True, metavar="DIR", help="the dataset's folder")
    add("--work-dir", type=Path, required=True, metavar="DIR", help="where everything is written")
    add("--backbone", metavar="SPEC", help="see python -m backbones; default: the checkpoint's")
    if task.recipes is not None:
        add("--recipe", metavar="NAME", help="base recipe: standard, efficient")
        add("--teacher", type=Path, metavar="FILE", help="backbone.safetensors to distil from")
        add(
            "--decoder",
            choices=DECODERS,
            help="what decoder='auto' means on a GPU; measured without",
        )
    if task.starts_from is not None:
        add(
            "--checkpoint",
            type=Path,
            metavar="FILE",
            help="backbone.safetensors; random without",
        )
    add("--trick", action="append", default=[], metavar="NAME", help="may be repeated; in order")
    add("--seed", type=int, default=0)
    add(
        "--lr-factor",
        type=positive_factor("--lr-factor"),
        default=1.0,
        metavar="F",
        help="times the config's lr",
    )
    add("--budget", choices=BUDGETS, default="full")
    add("--precision", choices=PRECISIONS, default="auto")
    add(
        "--device",
        type=device_name,
        choices=DEVICES,
        default="auto",
        help="default: a GPU if there is one",
    )
    add(
        "--deterministic",
        action="store_true",
        help="deterministic algorithms where torch has them; slower on a GPU",
    )
    add("--resume", action="store_true", help="go on from the last checkpoint in the work dir")
    if task.trains:
        _add_training_options(parser)
    add("--identity", metavar="HEX", help="recorded in the result")
    add("--data-fingerprint", metavar="HEX", help="recorded in the result: which data these are")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="override a config key")
    # Of the harness: train for some seconds and write what a run costs, see engine/measure/trial.py.
    add("--measure", type=Path, help=argparse.SUPPRESS)
    values = vars(parser.parse_args(arguments))
    if not 0 <= values["seed"] < 2**32:
        raise UserError(f"--seed {values['seed']} was given; it must lie in 0 to {2**32 - 1}")
    values["tricks"] = tuple(values.pop("trick"))
    if task.trains:
        values["trackers"] = tuple(values.pop("tracker"))
    values["overrides"] = dict(_override(text) for text in values.pop("set"))
    return Options(**values)


def _add_training_options(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "--checkpoint-minutes",
        type=positive_number("--checkpoint-minutes"),
        default=10.0,
        metavar="N",
        help="longest time without a checkpoint (default: 10)",
    )
    add(
        "--tracker",
        action="append",
        choices=TRACKERS,
        default=[],
        help="report losses and scores to it as well; may be repeated",
    )
    add("--tracker-run", metavar="PATH", help="SUITE/ROW/TASK/SEED, the run's place in a tracker")


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text!r} was given; it must read KEY=VALUE, such as --set lr=0.05")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def exit_status(
    work: Callable[[], None],
    *,
    interrupted: str = INTERRUPTED,
) -> int:
    """Run a command, print errors to standard error, and return the exit status.

    Args:
        work: The function to run.
        interrupted: What to print when the user interrupts it.

    Returns:
        0 on success, 2 for a user's mistake, 75 after a request to stop, 130 after an interruption, 1 for a bug.
    """
    try:
        work()
    except (KeyboardInterrupt, stop.Stopped, Exception) as error:
        status, message = explain(error, interrupted)
        print(message, file=sys.stderr)
        return status
    return 0


def explain(
    error: BaseException, interrupted: str = INTERRUPTED, where: str = ""
) -> tuple[int, str]:
    """Return the exit status of a command that an error ended, and what to print.

    Args:
        error: The error.
        interrupted: What to print when the user interrupts the command.
        where: Which process failed, such as `" (rank 1)"`.
    """
    if isinstance(error, KeyboardInterrupt):
        return 130, interrupted
    if isinstance(error, stop.Stopped):
        return STOPPED, str(error)
    sentence = user_error(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        sentence = _full_disk(error)
    if sentence is None and is_out_of_memory(error):
        sentence = _full_device(error)
    if sentence is not None:
        return 2, f"error{where}: {sentence}"
    lines = "".join(traceback.format_exception(error)).rstrip()
    return 1, f"error{where}:\n{lines}" if where else lines


def _full_disk(error: OSError) -> str:
    return (
        f"the disk is full ({error}); free some space and run the same command with --resume, "
        "which goes on from the last checkpoint"
    )


def _full_device(error: BaseException) -> str:
    """Describe an error outside of a training step, whose passes have their own message."""
    first = str(error).strip().splitlines()[0]
    return (
        f"out of device memory ({first}); close other programs that use the device, take a smaller network or image "
        "size, or test smaller batches with --set val_dataloader.batch_size=1 (a classifier: device_batch_size=32)"
    )


def user_error(error: BaseException) -> str | None:
    """Return the message of a user's mistake, even if a loader worker wrapped it; None for a bug."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            # A worker's exception arrives as the same type with its traceback in the text.
            return str(cause).rsplit("UserError: ", 1)[-1].strip()
        cause = cause.__cause__
    return None


def make_work_dir(folder: Path) -> None:
    """Make a task's work dir if it is missing.

    Raises:
        UserError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(
            f"the work dir {folder} cannot be made ({error.strerror}); name another with --work-dir"
        ) from error
