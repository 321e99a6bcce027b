"""How a task ended, in words."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from typing import Any

LOG_TAIL_LINES = 40
# torchrun's own report of the first process that failed, and the line that ends its report.
_ROOT_CAUSE = re.compile(r"E\d{4} .*torch/distributed/elastic/.*failed \(exitcode: (-?\d+)\)")
_END_OF_REPORT = re.compile(r"={20,}\s*")
# The last message of a task, which may have several lines.
_SENTENCE = re.compile(r"(?:^|\n)error(?: \(rank \d+\))?: ((?:(?!\nerror: ).)*)\Z", re.S)
# Lines of torch's own log, such as `W1128 17:05:05.991000 25118 torch/…` and `[rank1]:[W1128 …`.
_TORCH_LOG = re.compile(r"(\[rank\d+\]:)?\[?[WEI]\d{4} \d\d:")


def without_launcher(status: int, lines: Sequence[str]) -> tuple[int, list[str]]:
    """Return exit status and last output of the process that failed first, if torchrun reports it.

    torchrun exits with 1 whatever the status of its processes was, and its report is longer than their output.

    Args:
        status: The exit status of the task's command.
        lines: The end of its output.

    Returns:
        The status, 128 + N for signal N, and at most `LOG_TAIL_LINES` lines.
    """
    lines = list(lines)
    found = {i: m[1] for i, line in enumerate(lines) if (m := _ROOT_CAUSE.match(line))}
    ended = next((line for line in reversed(lines) if line.strip()), "")
    # An older report lies in the log of a run that was resumed.
    if status == 1 and found and _END_OF_REPORT.fullmatch(ended):
        last = max(found)
        code = int(found[last])
        status = code if code >= 0 else 128 - code
        lines = [line for line in lines[:last] if not _TORCH_LOG.match(line)]
    return status, lines[-LOG_TAIL_LINES:]


def failure_message(status: int, tail: Sequence[str]) -> str:
    """Return the reason why a task failed, as a sentence.

    Args:
        status: Its exit status.
        tail: The last lines of its output.
    """
    text = "\n".join(tail)
    if status == 2 and (found := _SENTENCE.search(text)):
        return found.group(1).strip()
    if status == 0:
        return "the task ended without a complete result.json"
    if status == 128 + signal.SIGKILL:
        return (
            "the task was killed (signal 9). If nobody did so, memory ran out: use --jobs 1, or a "
            "smaller batch with --set"
        )
    if status > 128:
        return f"the task was ended by signal {status - 128}"
    raised = [line for line in tail if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    last = next(
        (line.strip() for line in reversed(raised or list(tail)) if line.strip()), "no output"
    )
    return f"the task failed with exit status {status}: {last}"


def headline(result: Mapping[str, Any]) -> str:
    """Return the first metrics of a result, as `: top1 71.2, top5 90.1`."""
    metrics = [
        f"{metric['name']} {metric['value']:.1f}"
        for metric in result.get("metrics", [])
        if isinstance(metric, dict) and isinstance(metric.get("value"), int | float)
    ]
    return f": {', '.join(metrics)}" if metrics else ""
