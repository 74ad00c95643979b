"""Settings: one frozen dataclass per server, each field with its help and its rule, each a flag.

What is wrong is found at the start, and told in one line that names the setting, its value and the way out.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

__all__ = ["Rule", "ServerSettings", "SettingsError", "at_least", "between", "matching", "setting"]

ValueT = TypeVar("ValueT", str, int, float)


class SettingsError(ValueError):
    """A setting that cannot be used.

    Args:
        name: of the field.
        value: what it was set to.
        fix: what to do about it.
    """

    def __init__(self, name: str, value: object, fix: str) -> None:
        super().__init__(f"{_flag(name)} {value!s}: {fix}")


@dataclass(frozen=True, slots=True)
class Rule:
    """Which values a setting may have, and how to say that."""

    allows: Callable[[Any], bool]
    wanted: str


def at_least(low: float) -> Rule:
    """Return the rule for numbers from ``low`` on."""
    return Rule(lambda value: bool(low <= value < float("inf")), f"at least {low}")


def between(low: float, high: float) -> Rule:
    """Return the rule for numbers from ``low`` to ``high``, both included."""
    return Rule(lambda value: bool(low <= value <= high), f"from {low} to {high}")


def matching(pattern: str, wanted: str) -> Rule:
    """Return the rule for text of which all matches ``pattern``; in words, ``wanted``."""
    return Rule(lambda value: re.fullmatch(pattern, value) is not None, wanted)


def setting(default: ValueT, about: str, rule: Rule | None = None) -> ValueT:
    """Return a field of a dataclass of settings; the type of ``default`` is that of the flag."""
    made: ValueT = field(default=default, metadata={"about": about, "kind": type(default), "rule": rule})
    return made


@dataclass(frozen=True)
class ServerSettings:
    """What every server's settings begin with; subclasses give both a default, and add their own.

    Raises:
        SettingsError: a field breaks its rule.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        for each in fields(self):
            value, rule = getattr(self, each.name), each.metadata["rule"]
            if rule is not None and not rule.allows(value):
                raise SettingsError(each.name, value, f"give {rule.wanted}")

    @classmethod
    def from_arguments(cls, program: str, arguments: Sequence[str] | None = None) -> Self:
        """Return the settings that a program's arguments ask for; ``None``: those of this process.

        Raises:
            SettingsError: one of them cannot be used.
            SystemExit: after ``--help``, or because of arguments that are no settings at all.
        """
        parser = _Parser(prog=program, allow_abbrev=False)
        for each in fields(cls):
            # argparse takes a "%" for the beginning of a format.
            about = f"{each.metadata['about']} (default: {each.default or 'none'})".replace("%", "%%")
            parser.add_argument(_flag(each.name), metavar="...", default=each.default, help=about)
        given: dict[str, Any] = vars(parser.parse_args(arguments))
        for each in fields(cls):
            kind: type[str | int | float] = each.metadata["kind"]
            try:
                given[each.name] = kind(given[each.name])
            except ValueError:
                wanted = "a whole number" if kind is int else "a number"
                raise SettingsError(each.name, given[each.name], f"give {wanted}") from None
        return cls(**given)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End the program with one line."""
        self.exit(2, f"{self.prog}: {message}; --help lists the settings\n")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
