"""The command line of the harness."""

from __future__ import annotations

import argparse
import errno
import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks.suite_schema import STAGES
from contract.errors import UserError, unknown
from contract.settings import BUDGETS, PRECISIONS
from datasets.prepare.catalogue import SETS

COMMANDS = {
    "run": "run a suite and print its table",
    "plan": "show which cells a run would start, and why",
    "sweep": "choose each row's learning rate on held-out training images",
    "report": "write the table and report.html of a run folder again",
    "verify": "check a run against published figures: RUN_DIR; or a data set: KIND PATH",
    "data": "prepare or verify data sets",
    "doctor": "show what this machine and its packages offer",
}
DATA_COMMANDS = {
    "prepare": "download and arrange data sets, or generate the miniworld",
    "verify": "check a data set: every file, every annotation, every label",
}


class _Parser(argparse.ArgumentParser):
    """argparse whose mistakes are told like all others, with the nearest known option."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:]}. See `{self.prog} --help`.")

    def known_options(self) -> list[str]:
        """Returns all options, in their long form."""
        return [name for action in self._actions for name in action.option_strings]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: The words after `python -m benchmarks`; None takes those of the process.

    Returns:
        The exit status: 0; 1 where a cell failed; 2 for a user's mistake, wrong data among them;
        130 where the run was interrupted.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    _restore_signals()
    try:
        options = parse(words)
        # Imported late, so that a mistake in the command is told at once.
        if getattr(options, "data_command", None) == "prepare":
            from datasets.prepare.command import prepare

            return prepare(options)
        from benchmarks import commands

        return commands.ACTIONS[options.command](options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = f" while writing {error.filename}" if error.filename else ""
        print(
            f"error: The disk is full{place}. Free some space and run the same command again: "
            "finished cells are kept, the others go on from their last checkpoint.",
            file=sys.stderr,
        )
        return 2


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Reads a command line.

    Raises:
        UserError: A command or an option is unknown or wrong.
    """
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        raise unknown("command", words[0], COMMANDS)
    if words[:1] == ["data"] and words[1:] and words[1] not in (*DATA_COMMANDS, "-h", "--help"):
        raise unknown("data command", words[1], DATA_COMMANDS)
    parser, parsers = _build()
    options, extra = parser.parse_known_args(words)
    if extra:
        chosen = parsers[getattr(options, "data_command", None) or options.command]
        stray = next((word for word in extra if word.startswith("-")), None)
        if stray is not None:
            raise unknown("option", stray.split("=")[0], chosen.known_options())
        raise UserError(f"{' '.join(extra)!r} is one word too many. See `{chosen.prog} --help`.")
    return options


def _build() -> tuple[_Parser, dict[str, _Parser]]:
    """Returns the parser and those of the commands by name."""
    parser = _Parser(
        prog="python -m benchmarks",
        description="Trains backbones, hands them to a detector and a segmentor, prints a table.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {
        name: commands.add_parser(
            name, help=text, description=text.capitalize(), allow_abbrev=False
        )
        for name, text in COMMANDS.items()
    }
    for name in ("run", "plan", "sweep"):
        _add_suite_options(parsers[name], stages=name != "sweep")
    for name in ("run", "sweep"):
        parsers[name].add_argument(
            "--fail-fast", action="store_true", help="end the run at the first failed cell"
        )
    _add_sweep_options(parsers["sweep"])
    parsers["report"].add_argument("run_dir", type=Path, metavar="RUN_DIR", help="as in runs/mini")
    parsers["verify"].add_argument(
        "subject",
        metavar="RUN_DIR|KIND",
        help="a run, as in runs/mini; or imagefolder, voc, coco, ade20k",
    )
    parsers["verify"].add_argument(
        "path", type=Path, nargs="?", metavar="PATH", help="after a KIND: the data set's folder"
    )
    actions = parsers["data"].add_subparsers(
        dest="data_command", required=True, metavar="COMMAND", parser_class=_Parser
    )
    prepare = actions.add_parser("prepare", help=DATA_COMMANDS["prepare"], allow_abbrev=False)
    _add_prepare_arguments(prepare)
    verify = actions.add_parser("verify", help=DATA_COMMANDS["verify"], allow_abbrev=False)
    verify.add_argument("kind", metavar="KIND", help="imagefolder, voc, coco or ade20k")
    verify.add_argument("path", type=Path, metavar="PATH", help="the data set's folder")
    parsers["prepare"] = prepare
    return parser, parsers


def _add_prepare_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    names = ", ".join(("miniworld", *SETS))
    add("names", nargs="+", metavar="NAME", help=f"one or more of {names}")
    add("--root", type=Path, help="data folder (default: data; of miniworld: data/miniworld)")
    add("--preset", default="mini", help="miniworld: its size (default: mini)")
    add(
        "--archives",
        type=Path,
        metavar="DIR",
        help="imagenet: where its archives are, as they can't be downloaded (default: the root)",
    )


def _add_sweep_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(stages=None)
    parser.add_argument("--stage", required=True, metavar="STAGE", help="det or seg")
    parser.add_argument(
        "--factors",
        nargs="+",
        type=_factor,
        default=[0.3, 1.0, 3.0],
        metavar="F",
        help="what the config's learning rate is multiplied by, the same for all rows (default: 0.3 1 3)",
    )


def _add_suite_options(parser: argparse.ArgumentParser, *, stages: bool) -> None:
    add = parser.add_argument
    add("suite", nargs="?", default="mini", help="name, or path of a suite file (default: mini)")
    add("--backbone", action="append", default=[], metavar="SPEC", help="add a row; repeatable")
    add("--rows", nargs="+", metavar="ROW", help="only these rows")
    if stages:
        add("--stages", nargs="+", metavar="STAGE", help=f"only these of {', '.join(STAGES)}")
    add("--seeds", nargs="+", type=_seed, metavar="N", help="in place of the suite's seeds")
    add("--budget", default="full", help=f"{', '.join(BUDGETS)} (default: full)")
    add("--precision", default="auto", help=f"{', '.join(PRECISIONS)} (default: auto)")
    add("--jobs", type=_jobs, metavar="N", help="cells at a time (default: what the machine takes)")
    add("--run-dir", type=Path, metavar="DIR", help="default: runs/SUITE")
    add(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.KEY=VALUE",
        help="override a config key",
    )
    for stage in STAGES:
        add(f"--{stage}-data", type=Path, metavar="DIR", help=f"data for the {stage} stage")


def _seed(text: str) -> int:
    if not text.isdigit():
        raise UserError(f"--seeds {text} was given; a seed is a whole number, 0 or more.")
    return int(text)


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise UserError(
            f"--factors {text} was given; a factor is a finite number above 0, such as 0.3."
        )
    return factor


def _jobs(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) == 0:
        raise UserError(f"--jobs {text} was given; expected auto or a whole number, 1 or more.")
    return int(text)


def _restore_signals() -> None:
    """Lets Ctrl-C and SIGTERM interrupt, also where a shell started this with SIGINT ignored."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
