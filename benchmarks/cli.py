"""The command line of the harness: its commands and their shared options."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.cluster.options import add_cluster_options
from contract.command_line import STOPPED, Parser, device_name, duration, positive_factor
from contract.errors import UserError
from contract.settings import BUDGETS, DEVICES, PRECISIONS
from contract.tasks import TASKS
from contract.trackers import TRACKERS
from datasets.prepare.catalogue import SETS

COMMANDS = {
    "run": "run a suite and print its table",
    "plan": "show which runs a command would start, why, and what they cost",
    "sweep": "choose each row's learning rate on held-out training images",
    "status": "show where the runs of a folder stand, whichever machines train them",
    "report": "write the table and report.html of a run folder again",
    "verify": "check a run against published figures: RUN_DIR; or a dataset: KIND PATH",
    "data": "prepare, verify, shrink, pack or unpack datasets",
    "doctor": "show what this machine and its packages offer",
    "list": "list the tricks, backbones, suites, tasks or datasets",
}
DATA_COMMANDS = {
    "prepare": "download and arrange datasets, or generate the miniworld",
    "verify": "check a dataset: every file, every annotation, every label",
    "shrink": "make a smaller copy of an image folder",
    "pack": "make a packed copy of an image folder, for network file systems",
    "unpack": "make the image folder of a packed copy",
}
MEASURE = ("unknown", "never", "again")
LISTS = ("tricks", "backbones", "suites", "tasks", "datasets")
TEACHERS = "teachers"
_FUNCTIONS = {"list": "list_names"}


class TimeIsOver(BaseException):
    """SIGUSR1 came before or after the runs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments after `python -m benchmarks`; None takes those of the process.

    Returns:
        The exit status: 0; 1 if a run failed; 2 for a user's mistake, including wrong data; 75 if runs were stopped
        and the same command goes on with them; 130 after an interruption.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    _restore_signals()
    try:
        options = parse(words)
        return action(options.command)(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = "" if "doctor" in words[:1] else " Run the same command again to continue."
        print(f"\nInterrupted.{again}", file=sys.stderr)
        return 130
    except TimeIsOver:
        print("\nStopped. Run the same command again to continue.", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = f" while writing {error.filename}" if error.filename else ""
        print(
            f"error: The disk is full{place}. Free some space and run the same command again: "
            "finished runs are kept, the others continue from their last checkpoint.",
            file=sys.stderr,
        )
        return 2


def action(command: str) -> Callable[[argparse.Namespace], int]:
    """Return the function of a command, imported late, because mistakes on the command line are reported at once."""
    return getattr(
        import_module(f"benchmarks.commands.{command}"), _FUNCTIONS.get(command, command)
    )


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read a command line.

    Raises:
        UserError: A command or an option is unknown or wrong.
    """
    found = _parser().parse_args(list(words))
    # Jobs of a cluster get the same command.
    found.words = list(words)
    return found


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks",
        description="Pretrains backbones, trains detectors and segmentors from them, prints a table.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {
        name: commands.add_parser(name, help=text, description=text.capitalize())
        for name, text in COMMANDS.items()
    }
    for name in ("run", "plan", "sweep"):
        _add_suite_options(parsers[name], tasks=name != "sweep")
    for name in ("run", "sweep"):
        parsers[name].add_argument(
            "--fail-fast", action="store_true", help="end at the first failed run"
        )
        parsers[name].add_argument(
            "--stop-after",
            type=duration("--stop-after"),
            metavar="TIME",
            help="save everything and end with status 75 after a time such as 2h, 90m or 1h30m",
        )
    _add_plan_options(parsers["plan"])
    _add_sweep_options(parsers["sweep"])
    _add_data_commands(parsers["data"])
    add_cluster_options(parsers["run"])
    for name in ("report", "status"):
        parsers[name].add_argument("run_dir", type=Path, metavar="RUN_DIR", help="as in runs/mini")
    _add_status_options(parsers["status"])
    verify = parsers["verify"]
    verify.add_argument("subject", metavar="RUN_DIR|KIND", help=f"a run folder; or {_kinds()}")
    verify.add_argument(
        "path", type=Path, nargs="?", metavar="PATH", help="after a KIND: the dataset's folder"
    )
    _add_doctor_options(parsers["doctor"])
    parsers["list"].add_argument("what", choices=LISTS, metavar="KIND", help=", ".join(LISTS))
    return parser


def _add_status_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--json", action="store_true", help="print everything as JSON")
    help_text = "print it again every SECONDS (default: 10), until nothing is left to do"
    add("--watch", type=float, nargs="?", const=10.0, metavar="SECONDS", help=help_text)


def _add_doctor_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--full", action="store_true", help="try everything on this machine, in some minutes")
    add(
        "--json", type=Path, metavar="FILE", help="with --full: write all findings, for bug reports"
    )
    add("--device", type=device_name, choices=DEVICES, default="auto", help="with --full")


def _add_data_commands(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="data_command", required=True, metavar="DATA COMMAND")
    prepare = actions.add_parser("prepare", help=DATA_COMMANDS["prepare"])
    _add_prepare_arguments(prepare)
    verify = actions.add_parser("verify", help=DATA_COMMANDS["verify"])
    verify.add_argument("kind", metavar="KIND", help=_kinds())
    verify.add_argument("path", type=Path, metavar="PATH", help="the dataset's folder")
    for name in ("shrink", "pack", "unpack"):
        _add_conversion_arguments(actions.add_parser(name, help=DATA_COMMANDS[name]), name)


def _add_conversion_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    add = parser.add_argument
    packed = name == "unpack"
    add("source", type=Path, metavar="SRC", help="a packed folder" if packed else "an image folder")
    add("target", type=Path, metavar="DST", help="the new folder")
    if name == "shrink":
        help_text = "largest short side in pixels; smaller images are copied (default: 384)"
        add("--short-side", type=int, default=384, metavar="PX", help=help_text)
        add("--quality", type=int, default=90, metavar="Q", help="JPEG quality (default: 90)")
    if name == "pack":
        help_text = "size of a shard in MiB (default: 256)"
        add("--shard-mib", type=int, default=256, metavar="N", help=help_text)
    if name != "unpack":
        add("--kind", choices=["imagefolder"], default="imagefolder", help="layout of SRC")
    add("--processes", type=int, metavar="N", help="default: one for each core")


def _kinds() -> str:
    kinds = list(dict.fromkeys(layout for task in TASKS.values() for layout in task.layouts))
    return f"{', '.join(kinds[:-1])} or {kinds[-1]}"


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


def _add_plan_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--measure",
        choices=MEASURE,
        default=MEASURE[0],
        help="which times to measure, about 20 s each: of unknown steps (default), never, or all again",
    )
    parser.add_argument(
        "--no-measure",
        dest="measure",
        action="store_const",
        const="never",
        help="as --measure never",
    )


def _add_sweep_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(tasks=None)
    names = " or ".join(task.name for task in TASKS.values() if task.holds_out)
    parser.add_argument("--task", "--stage", dest="task", required=True, metavar="TASK", help=names)
    parser.add_argument(
        "--factors",
        nargs="+",
        type=positive_factor("--factors"),
        default=[0.3, 1.0, 3.0],
        metavar="F",
        help="factors on the config's learning rate, the same for all rows (default: 0.3 1 3)",
    )


def _add_suite_options(parser: argparse.ArgumentParser, *, tasks: bool) -> None:
    add = parser.add_argument
    add("suite", nargs="?", default="mini", help="name, or path of a suite file (default: mini)")
    add("--backbone", action="append", default=[], metavar="SPEC", help="add a row; repeatable")
    add("--rows", nargs="+", metavar="ROW", help="run only these rows; the table keeps all")
    if tasks:
        help_text = f"run only these of {', '.join(TASKS)}; the table keeps all"
        add("--tasks", "--stages", dest="tasks", nargs="+", metavar="TASK", help=help_text)
    add("--seeds", nargs="+", type=_seed, metavar="N", help="in place of the suite's seeds")
    add("--budget", default="full", help=f"{', '.join(BUDGETS)} (default: full)")
    add("--precision", default="auto", help=f"{', '.join(PRECISIONS)} (default: auto)")
    help_text = f"{', '.join(DEVICES)} (default: auto, a GPU if any)"
    add("--device", type=device_name, default="auto", help=help_text)
    add(
        "--deterministic",
        action="store_true",
        help="deterministic algorithms where torch has them, see docs/determinism.md; slower on a GPU",
    )
    add("--jobs", type=_jobs, metavar="N", help="runs at a time (default: what the machine takes)")
    add(
        "--gpus",
        type=_gpus,
        metavar="ID,ID",
        help="use these GPUs, busy or not (default: all that no other process occupies)",
    )
    add(
        "--gpus-per-run",
        type=_processes,
        action="append",
        default=[],
        metavar="N",
        help="train each run on N GPUs by torchrun; teachers=N: only the teachers; repeatable",
    )
    # The same on a CPU, where several processes are slower than one: for tests.
    add(
        "--processes-per-run",
        type=_processes,
        action="append",
        default=[],
        help=argparse.SUPPRESS,
    )
    add(
        "--tracker",
        action="append",
        choices=TRACKERS,
        default=[],
        help="report losses and scores to it as well, see docs/cluster.md; repeatable",
    )
    add("--run-dir", type=Path, metavar="DIR", help="default: runs/SUITE, and a suffix for --set")
    add(
        "--set", action="append", default=[], metavar="TASK.KEY=VALUE", help="override a config key"
    )
    for task in TASKS.values():
        add(f"--{task.name}-data", type=Path, metavar="DIR", help=f"data for {task.label}")


def _seed(text: str) -> int:
    if not text.isdigit():
        raise UserError(f"--seeds {text} was given; a seed is a whole number, 0 or more.")
    return int(text)


def _jobs(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) == 0:
        raise UserError(f"--jobs {text} was given; expected auto or a whole number, 1 or more.")
    return int(text)


def _gpus(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise UserError(f"--gpus {text} was given; expected ids separated by commas, such as 0,2.")
    return names


def _processes(text: str) -> tuple[bool, int]:
    """Return whether a number is that of teachers only, and the number."""
    name, equals, number = text.rpartition("=")
    if (
        name not in ("", TEACHERS)
        or (equals and not name)
        or not number.isdigit()
        or int(number) == 0
    ):
        raise UserError(
            f"--gpus-per-run {text} was given; expected a whole number, 1 or more, or {TEACHERS}=N."
        )
    return name == TEACHERS, int(number)


def _restore_signals() -> None:
    """Let Ctrl-C and SIGTERM interrupt, even if a shell started this with SIGINT ignored; SIGUSR1 ends the time."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def stop(number: int, frame: object) -> None:
        raise TimeIsOver

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGUSR1, stop)
