"""An argparse parser that reports mistakes as `UserError`, with the closest known name."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from contract.errors import UserError, unknown

# The exit status of a command that stopped on request, saved its state, and goes on when it is repeated: EX_TEMPFAIL of
# sysexits.h.
STOPPED = 75
# The progress report of processes whose launcher has an exit status of its own.
STOPPED_REPORT = "stopped"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


class Parser(argparse.ArgumentParser):
    """A parser that raises `UserError` for a mistake; options cannot be abbreviated."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **keywords})

    def error(self, message: str) -> NoReturn:
        """Raise the mistake instead of printing it and exiting."""
        raise UserError(f"{message}; see {self.prog} --help")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """Refuse unknown options here, because then each command suggests its own options."""
        found, extra = super().parse_known_args(args, namespace)
        if not extra:
            return found, extra
        stray = next((word for word in extra if word.startswith("-")), None)
        if stray is None:
            words = " ".join(extra)
            raise UserError(f"{words!r} is one word too many; see {self.prog} --help")
        known = [name for action in self._actions for name in action.option_strings]
        raise unknown("option", stray.split("=")[0], known)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # argparse lists the choices and suggests none.
        if action.choices is not None and value not in action.choices:
            kind = next(iter(action.option_strings), action.metavar or action.dest or "word")
            name = str(kind).lstrip("-").lower()
            raise unknown(name, str(value), [str(choice) for choice in action.choices])


def device_name(text: str) -> str:
    """Return the name of a device; `gpu` is another word for `cuda`."""
    return "cuda" if text.lower() == "gpu" else text


def positive_factor(option: str) -> Callable[[str], float]:
    """Return the `type=` of an option whose value multiplies a learning rate.

    Args:
        option: The option, for the message.
    """
    return _above_zero(
        f"{option} {{}} was given; it must be a finite number above 0, such as 0.3, by which the config's "
        "learning rate is multiplied"
    )


def positive_number(option: str) -> Callable[[str], float]:
    """Return the `type=` of an option whose value is a finite number above 0.

    Args:
        option: The option, for the message.
    """
    return _above_zero(f"{option} {{}} was given; expected a finite number above 0, such as 10")


def _above_zero(message: str) -> Callable[[str], float]:
    """Return a function that reads a finite number above 0, and else raises a message with the text in its place."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise UserError(message.format(text))
        return number

    return parse


def duration(option: str) -> Callable[[str], float]:
    """Return the `type=` of an option whose value is a time such as `2h`, `90m`, `30s` or `1h30m`, in seconds.

    Args:
        option: The option, for the message.
    """

    def parse(text: str) -> float:
        parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        if "".join(map("".join, parts)) != text or not 0 < seconds < math.inf:
            raise UserError(
                f"{option} {text} was given; expected a time with its unit, such as 2h, 90m, 30s or 1h30m"
            )
        return seconds

    return parse
