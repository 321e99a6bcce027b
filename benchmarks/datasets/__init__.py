"""Data sets: the generated miniworld, and the reading and checking of the three layouts."""

from benchmarks.datasets.fingerprint import fingerprint
from benchmarks.datasets.layout import KINDS, Kind
from benchmarks.datasets.report import Problem, VerifyReport
from benchmarks.datasets.verify import class_names, verify

__all__ = ["KINDS", "Kind", "Problem", "VerifyReport", "class_names", "fingerprint", "verify"]
