"""Settings: one frozen dataclass per server, each field with its help and its rule.

Each field is a flag, an environment variable and a key of the TOML file: ``max_clients`` of the chat is
``--max-clients``, ``CHAT_MAX_CLIENTS`` and ``max_clients = …``; ``shared.sources`` reads them. What is wrong is found at
the start, and told in one line that names the setting, its value, where it was set and the way out.

>>> @dataclass(frozen=True, kw_only=True)
... class Settings(ServerSettings):
...     bind: tuple[str, ...] = setting(("tcp://127.0.0.1:7",), "where to listen", endpoint("tcp", "unix"))
...     greeting: str = setting("hello", "what a client is told first", matching("[a-z]+", "small letters"))
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, TypeVar

from framework.addresses import AddressError, Endpoint

__all__ = [
    "Origin",
    "Rule",
    "ServerSettings",
    "SettingsError",
    "Table",
    "at_least",
    "between",
    "endpoint",
    "host_and_port",
    "matching",
    "required",
    "setting",
]

ValueT = TypeVar("ValueT")

Rule: TypeAlias = Callable[[Any], str]
"""Says of a value what to give instead; nothing if it is good."""

HIDDEN = "(not shown)"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting was set."""

    kind: Literal["flag", "environment", "file"]
    name: str
    """What it is called there: ``--port``, ``CHAT_PORT``, ``port``, ``routes[2].path``."""
    file: str = ""

    def show(self, value: object) -> str:
        """Return the setting as it is written there; ``None``: without a value."""
        text = "''" if value == "" else str(value)
        match self.kind:
            case "flag":
                return self.name if value is None else f"{self.name} {text}"
            case "environment":
                return f"{self.name}={text} (environment)"
            case "file":
                return f"{self.name if value is None else f'{self.name} = {text}'} ({self.file})"


class SettingsError(ValueError):
    """A setting that cannot be used.

    Args:
        name: of the field.
        value: what it was set to; for a tuple, the one that is wrong; ``None`` if there is none to show.
        fix: what to do about it.
        origin: where it was set, where that is known; ``shared.sources`` finds out.
    """

    def __init__(self, name: str, value: object, fix: str, origin: Origin | None = None) -> None:
        super().__init__(name, value, fix)
        self.name = name
        self.value = value
        self.fix = fix
        self.origin = origin

    def __str__(self) -> str:
        origin = self.origin or Origin("flag", flag(self.name))
        return f"{origin.show(self.value)}: {self.fix}"


# -- rules: each holds for every member of a tuple --------------------------------------------------------------------


def at_least(low: float) -> Rule:
    """Return the rule for numbers from ``low`` on."""
    return lambda value: "" if low <= value < math.inf else f"give at least {low}"


def between(low: float, high: float) -> Rule:
    """Return the rule for numbers from ``low`` to ``high``, both included."""
    return lambda value: "" if low <= value <= high else f"give from {low} to {high}"


def matching(pattern: str, wanted: str) -> Rule:
    """Return the rule for text of which all matches ``pattern``; in words, ``wanted``."""
    return lambda value: "" if re.fullmatch(pattern, value) else f"give {wanted}"


def endpoint(*schemes: str) -> Rule:
    """Return the rule for URLs of ``framework.addresses``, of the given schemes; ``fd`` and ``systemd`` always go."""

    def complain(value: str) -> str:
        try:
            Endpoint.parse(value)
        except AddressError as error:
            return _problem(error)
        if value.partition(":")[0] not in {*schemes, "fd", "systemd"}:
            return f"give one of {', '.join(schemes)}, fd and systemd"
        return ""

    return complain


def host_and_port(value: str) -> str:
    """Hold as the rule for ``HOST:PORT``, or nothing."""
    if not value:
        return ""
    try:
        Endpoint.parse(f"tcp://{value}")
    except AddressError as error:
        return _problem(error)
    return ""


def _problem(error: AddressError) -> str:
    # Without the URL, which whoever complains shows anyway.
    return f"{error.part}: {error.problem.partition(' (in ')[0]}"


# -- fields -----------------------------------------------------------------------------------------------------------


def setting(
    default: ValueT,
    about: str,
    rule: Rule | None = None,
    *,
    group: str = "Service",
    form: str = "",
    parse: Callable[[str], Any] | None = None,
    pair: str = "",
    secret: bool = False,
) -> ValueT:
    """Return a field of a dataclass of settings.

    It may be text, a number, a bool, a ``Literal``, whatever ``parse`` makes, a tuple of any of these (a flag is
    repeated, a variable has words or a list of JSON, a file has a list), or a tuple of frozen dataclasses (tables).

    Args:
        default: its value, if it is set nowhere.
        about: its line of help.
        rule: for its value.
        group: under which heading ``--help`` has it.
        form: what its value looks like, for ``--help``: ``URL``, ``NAME=FILE``.
        parse: makes the value, or each of a tuple, of what was written; raises ValueError with the fix.
        pair: what stands between the two halves of ``NAME=FILE``: a file may have a table instead of a list.
        secret: never show its value.
    """
    details = {"rule": rule, "group": group, "form": form, "parse": parse, "pair": pair, "secret": secret}
    made: ValueT = field(default=default, metadata={"about": about, **details})
    return made


def required(about: str, rule: Rule | None = None, *, parse: Callable[[str], Any] | None = None) -> Any:
    """Return a field that has no default, such as a table's that means nothing without it; ``Any``, as field() is."""
    return field(metadata={"about": about, "rule": rule, "parse": parse})


@dataclass(frozen=True, kw_only=True)
class Table:
    """What has settings as fields: those of a server, or a table in its file.

    Raises:
        SettingsError: a field breaks its rule.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            rule: Rule | None = each.metadata.get("rule")
            if rule is None:
                continue
            value = getattr(self, each.name)
            for one in members(value):
                if fix := rule(one):
                    raise SettingsError(each.name, HIDDEN if each.metadata.get("secret") else one, fix)


@dataclass(frozen=True, kw_only=True)
class ServerSettings(Table):
    """What every server has; subclasses give ``bind`` a default, and add their own."""

    bind: tuple[str, ...] = setting(
        (), "where to listen", endpoint("tcp", "unix"), group="Listening", form="URL"
    )

    drain_timeout: float = setting(
        15.0, "seconds that requests get to end when the server does", between(0, 3600), group="Operation"
    )
    metrics: str = setting(
        "",
        "where to serve /metrics, /healthz and /readyz",
        host_and_port,
        group="Operation",
        form="HOST:PORT",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "the least that is logged", group="Operation"
    )
    log_format: Literal["terminal", "json"] = setting(
        "terminal", "lines to read, or an object of JSON per line", group="Operation"
    )
    config: str = setting("", "TOML file with settings, keys like the fields", group="Program", form="FILE")
    check_config: bool = setting(False, "check all settings, say ok, and end", group="Program")

    loaded_by: tuple[str, tuple[str, ...]] | None = field(default=None, init=False, repr=False, compare=False)
    """The program and its arguments, of settings that were read rather than made."""

    def check(self) -> None:
        """Look at what only the world can tell, such as files that the settings name. Here: nothing.

        Raises:
            SettingsError: a setting is of no use.
        """


def members(value: Any) -> tuple[Any, ...]:
    """Return the values of a setting: one, or those of a tuple."""
    # What the members are only the dataclass knows.
    return value if isinstance(value, tuple) else (value,)  # pyright: ignore[reportUnknownVariableType]


def flag(name: str) -> str:
    """Return the flag of a field."""
    return "--" + name.replace("_", "-")
