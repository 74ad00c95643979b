"""The program as cyclopts knows it: a flag for each setting, under headings, with ``--help`` and ``--version``."""

from __future__ import annotations

import contextlib
import inspect
import json
import platform
import shlex
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, ArgumentCollection, Group, Parameter
from cyclopts.config import Env

from shared.fields import Setting, is_list
from shared.settings import Origin, SettingsError

__all__ = ["parse"]

# What all servers have comes after what is the server's own.
_LAST_GROUPS = ("Operation", "Program")


def parse(
    settings: Iterable[Setting],
    arguments: Sequence[str],
    read: Callable[[App, tuple[str, ...], ArgumentCollection], None],
    program: str = "",
    about: str = "",
) -> dict[str, Any]:
    """Return what is set, as cyclopts converts it.

    Args:
        settings: what can be set.
        arguments: the flags.
        read: reads what is neither a flag nor in the environment; called as a cyclopts configuration is.
        program: its name; without one there is no environment.
        about: a line for ``--help``.

    Raises:
        CycloptsError: something cannot be read; not what our own rules say.
        SystemExit: help or the version was asked for, and has been printed.
    """
    given: dict[str, Any] = {}

    def take(**values: Any) -> bool:
        given.update(values)
        return True

    groups = _groups(settings)
    parameters = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if each.required else each.field.default,
            annotation=Annotated[each.written, _parameter(each, groups, program)],
        )
        for each in settings
    ]
    vars(take)["__signature__"] = inspect.Signature(parameters)
    environment = [Env(f"{program.upper()}_", command=False)] if program else []
    app = App(
        name=program or "table",
        help=about,
        version=lambda: f"{program} {_version()} (Python {platform.python_version()})",
        config=[*environment, read],
        group_commands=groups.get("Program"),
        result_action="return_value",
    )
    app.default(take)
    if app(arguments, exit_on_error=False, print_error=False) is not True:
        raise SystemExit(0)
    return given


def _groups(settings: Iterable[Setting]) -> dict[str, Group]:
    """Return the headings, in the order in which the settings bring them up, but the common ones last."""
    names = dict.fromkeys(_group(each) for each in settings)
    ordered = sorted(names, key=lambda name: _LAST_GROUPS.index(name) if name in _LAST_GROUPS else -1)
    return {name: Group(name, sort_key=place) for place, name in enumerate(ordered)}


def _group(setting: Setting) -> str:
    return str(setting.field.metadata.get("group", ""))


def _parameter(setting: Setting, groups: Mapping[str, Group], program: str) -> Parameter:
    variable = f"{program}_{setting.name}".upper()

    def split(_kind: Any, text: str, **_options: Any) -> list[str]:
        """Return the values that a variable has: words, quoted as in a shell; tables in JSON."""
        if setting.tables is not None:
            with contextlib.suppress(ValueError):  # which whoever makes tables of it will meet, too
                found: object = json.loads(text)
                return [json.dumps(one) for one in (found if is_list(found) else [found])]
        elif setting.several:
            try:
                return shlex.split(text)
            except ValueError as error:
                fix = f"{error}; quote as in a shell"
                origin = Origin("environment", variable)
                raise SettingsError(setting.name, setting.show(text), fix, origin) from None
        return [text]

    return Parameter(
        help=setting.field.metadata["about"],
        group=groups[_group(setting)],
        metavar=setting.form,
        show_default=setting.show_default,
        negative=(),  # --flag=false says it as well
        env_var_split=split,
    )


def _version() -> str:
    """Return the version of the checkout."""
    with (Path(__file__).parents[1] / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])
