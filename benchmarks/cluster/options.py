"""The options of `run` that concern a cluster."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence

from benchmarks.plan.store import RunKey
from contract.errors import UserError

CLUSTERS = ("slurm",)
_VALUE_OPTIONS = (
    *("--cluster", "--partition", "--account", "--qos", "--slurm-args", "--time-limit"),
    *("--memory-per-run", "--cpus-per-run", "--signal-seconds"),
    # These are set for each job.
    *("--jobs", "--run-dir", "--device"),
)
_FLAGS = ("--dry-run", "--fail-fast")


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument_group(
        "cluster", "submit each run as a job and end; docs/cluster.md"
    ).add_argument
    add("--cluster", choices=CLUSTERS, help=f"submit to {' or '.join(CLUSTERS)}")
    add("--dry-run", action="store_true", help="show what would be submitted")
    for name in ("partition", "account", "qos"):
        add(f"--{name}", metavar="NAME", help=f"Slurm's option --{name}")
    add("--slurm-args", default="", metavar="ARGS", help="more of sbatch's options, in one word")
    add("--time-limit", type=_positive("--time-limit"), default=1440, metavar="MINUTES",
        help="longest time limit of a job (default: 1440); longer runs are continued")  # fmt: skip
    add("--memory-per-run", type=_positive("--memory-per-run"), metavar="GIB",
        help="memory of a job (default: from the plan)")  # fmt: skip
    add("--cpus-per-run", type=_positive("--cpus-per-run"), metavar="N",
        help="cores of a job (default: 8 for each GPU)")  # fmt: skip
    add("--signal-seconds", type=_positive("--signal-seconds"), default=180, metavar="S",
        help="time to store a checkpoint before the time limit (default: 180)")  # fmt: skip
    # What a job calls.
    parser.add_argument("--only", type=parse_key, metavar="ROW/TASK/SEED", help=argparse.SUPPRESS)


def job_words(words: Sequence[str], key: RunKey, run_dir: str, device: str) -> list[str]:
    """Return the words of a job's command from those of the command that submits it.

    Args:
        words: The words of the submitting command, with `run` first.
        key: The run of the job.
        run_dir: The run folder.
        device: Value of `--device`.
    """
    kept: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, _ = word.partition("=")
        if name in _VALUE_OPTIONS:
            if not equals and left:
                left.pop(0)
        elif name not in _FLAGS:
            kept.append(word)
            continue
        # In its place, because the values of an option such as `--rows` end at the next option.
        kept.append("--jobs=1")
    only = f"{key.row}/{key.task}/{key.seed}"
    return [*kept, f"--run-dir={run_dir}", f"--device={device}", f"--only={only}"]


def sbatch_options(text: str) -> Mapping[str, str | bool]:
    """Read sbatch's options from one word, such as `--constraint=a100 --exclusive`.

    Raises:
        UserError: A part is no long option, or is set by us.
    """
    found: dict[str, str | bool] = {}
    for word in shlex.split(text):
        name, equals, value = word.partition("=")
        if not name.startswith("--") or len(name) < 4:
            raise UserError(
                f"--slurm-args {text!r} was given; write each option as --NAME=VALUE or --NAME, such as "
                "--slurm-args='--constraint=a100 --exclusive'."
            )
        if name in ("--array", "--dependency", "--signal", "--output", "--error", "--requeue"):
            raise UserError(
                f"--slurm-args has {name}, which this command sets itself; leave it out."
            )
        found[name.removeprefix("--")] = value if equals else True
    return found


def parse_key(text: str) -> RunKey:
    """Read ROW/TASK/SEED."""
    row, task, seed = [*text.rsplit("/", 2), "", ""][:3]
    if not (row and task and seed.isdigit()):
        raise UserError(f"--only {text} was given; expected ROW/TASK/SEED.")
    return RunKey(row, task, int(seed))


def _positive(option: str):
    def parse(text: str) -> int:
        if not text.isdigit() or int(text) == 0:
            raise UserError(f"{option} {text} was given; expected a whole number, 1 or more.")
        return int(text)

    return parse
