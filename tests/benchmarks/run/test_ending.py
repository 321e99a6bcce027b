"""How a task ended, with and without torchrun."""

from __future__ import annotations

import pytest

from benchmarks.run.ending import LOG_TAIL_LINES, failure_message, without_launcher

# torch 2.14: what eight processes leave when the third fails, shortened in the middle.
OUTPUT = """step 1
error (rank 2): two problems:
  - the image a.jpg is truncated
  - the image b.jpg is truncated
[rank0]:[W1128 17:05:05.9 ProcessGroup.cpp:1] Warning: destroy_process_group() was not called
W1128 17:05:05.991000 25118 torch/distributed/elastic/multiprocessing/api.py:1028] Sending closing signal
E1128 17:05:05.992000 25118 torch/distributed/elastic/multiprocessing/api.py:2] failed (exitcode: {code}) local_rank: 2
Traceback (most recent call last):
  File "torch/distributed/run.py", line 1142, in <module>
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
cls_train.train FAILED
------------------------------------------------------------
Failures:
{failures}
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  rank      : 2 (local_rank: 2)
  exitcode  : {code} (pid: 25124)
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
============================================================
"""
OTHERS = "[1]:\n  rank      : 0 (local_rank: 0)\n  exitcode  : -15 (pid: 25123)  (SIGTERM)\n"


def output(code: int, processes: int = 8) -> list[str]:
    return OUTPUT.format(code=code, failures=OTHERS * processes).splitlines()


@pytest.mark.parametrize(("code", "status"), [(2, 2), (75, 75), (1, 1), (-9, 137)])
def test_status_is_that_of_the_first_process_to_fail(code, status):
    assert without_launcher(1, output(code))[0] == status


def test_tail_is_what_the_processes_wrote():
    status, tail = without_launcher(1, output(2))
    assert tail == OUTPUT.splitlines()[:4]
    assert failure_message(status, tail) == (
        "two problems:\n  - the image a.jpg is truncated\n  - the image b.jpg is truncated"
    )


def test_defect_behind_torchrun():
    lines = ["error (rank 1):", "Traceback (most recent call last):", "KeyError: 'weight'"]
    status, tail = without_launcher(1, [*lines, *output(1)[5:]])
    assert failure_message(status, tail) == "the task failed with exit status 1: KeyError: 'weight'"


def test_earlier_report_in_a_resumed_log_does_not_count():
    lines = [*output(2), "RuntimeError: the rendezvous failed"]
    assert without_launcher(1, lines) == (1, lines[-LOG_TAIL_LINES:])
    assert without_launcher(137, output(2))[0] == 137


def test_tail_is_short():
    assert without_launcher(2, ["line"] * 100) == (2, ["line"] * LOG_TAIL_LINES)
