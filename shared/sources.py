"""Where settings come from: flags, over the environment, over the file, over the defaults.

cyclopts reads them. Of its peers it alone knows, for each value it took or refused, the flag, variable or key that it
came from, which an error has to name; takes ``--bind URL --bind URL``; replaces, not appends, across sources; suggests
the nearest name; and needs nothing that is compiled. pydantic-settings wants its own model classes, starts slower
(0.14 s against 0.07 s) and says neither which source was wrong nor what to do; jsonargparse takes no repeated flag for a tuple
and reads YAML first; typed-settings names no origin of a value of the wrong type. All are typed and have hashes.

Only this module knows cyclopts. It is given a signature made of a dataclass's fields, and gives back what was set;
tables within the file are read by the same function, so an error in ``routes[2].path`` reads like any other.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import json
import logging
import platform
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeGuard, TypeVar, get_args, get_origin, get_type_hints

from cyclopts import (
    App,
    Argument,
    ArgumentCollection,
    CoercionError,
    CycloptsError,
    Group,
    MissingArgumentError,
    Parameter,
    RepeatArgumentError,
    Token,
    UnknownOptionError,
    UnusedCliTokensError,
)
from cyclopts.config import Dict, Env

from shared.settings import HIDDEN, Origin, ServerSettings, SettingsError, Table, flag, members

__all__ = ["load", "reread"]

_log = logging.getLogger(__name__)

TableT = TypeVar("TableT", bound=Table)
SettingsT = TypeVar("SettingsT", bound=ServerSettings)

# Where a file is named cannot be told in that file.
_NOT_IN_FILE = ("config", "check_config")
_IN_FILE = Origin("file", "")
_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}
_LAST_GROUPS = ("Operation", "Program")


@dataclass
class _Source:
    """What is read at once: a program's flags, environment and file, or one table of that file."""

    arguments: Sequence[str] = ()
    program: str = ""
    """Whose environment and file are read; none for a table."""
    about: str = ""
    table: Mapping[str, Any] = field(default_factory=dict[str, Any])
    place: Origin = _IN_FILE
    """Where the table is: its name is the beginning of the names in it."""
    found: ArgumentCollection = field(default_factory=ArgumentCollection)

    def origin(self, token: Token) -> Origin:
        """Return where a token was written."""
        name = token.keyword or ""
        match token.source:
            case "cli":
                return Origin("flag", name.partition("=")[0])
            case "env":
                return Origin("environment", name)
            case _:
                key = name.strip("[]").replace("][", ".")
                return replace(self.place, name=f"{self.place.name}{key}")

    def tokens(self, name: str) -> Sequence[Token]:
        """Return what was written for a field, in the source that won."""
        argument: Argument | None = self.found.get(flag(name), None)
        return argument.tokens if argument is not None else ()


def load(program: str, settings: type[SettingsT], arguments: Sequence[str] | None = None) -> SettingsT:
    """Return the settings that a program was started with.

    Args:
        program: its name, which begins the names of its variables, too.
        settings: their class; its docstring's first line is the program's description.
        arguments: by default those of this process.

    Raises:
        SettingsError: one cannot be used.
        SystemExit: after ``--help`` and ``--version``.
    """
    chosen = tuple(sys.argv[1:] if arguments is None else arguments)
    about = (inspect.getdoc(settings) or "").partition("\n")[0]
    made = _read(settings, _Source(chosen, program, about))
    object.__setattr__(made, "loaded_by", (program, chosen))
    return made


def reread(old: SettingsT, *names: str) -> SettingsT:
    """Return ``old`` with what ``names`` are set to now, for a server's ``reload()``; what else has changed is logged.

    Where the settings cannot be used, the error is logged, and what is returned is ``old`` itself; likewise, without a
    word, where they were made rather than loaded.
    """
    if old.loaded_by is None:
        return old
    try:
        new = load(old.loaded_by[0], type(old), old.loaded_by[1])
        new.check()
    except SettingsError as error:
        _log.error("the settings stay as they were: %s", error)
        return old
    changed = {each.name for each in fields(old) if getattr(old, each.name) != getattr(new, each.name)}
    if later := sorted(changed - {*names}):
        _log.warning("these settings change when the server is started anew: %s", ", ".join(later))
    made = replace(old, **{name: getattr(new, name) for name in changed & {*names}})
    object.__setattr__(made, "loaded_by", old.loaded_by)
    return made


# -- one source -------------------------------------------------------------------------------------------------------


def _read(cls: type[TableT], source: _Source) -> TableT:
    """Return the table that a source has."""
    try:
        given = _parse(cls, source)
        values = {name: _value(cls, source, name, value) for name, value in given.items()}
        return cls(**values)
    except SettingsError as error:
        tokens = source.tokens(error.name) if error.origin is None else ()
        if tokens:
            token = next((each for each in tokens if each.value == str(error.value)), tokens[0])
            error.origin = source.origin(token)
        raise
    except CycloptsError as error:
        _fail(cls, source, error)


def _parse(cls: type[Table], source: _Source) -> dict[str, Any]:
    """Return what was set, as cyclopts converts it."""
    given: dict[str, Any] = {}

    def take(**values: Any) -> bool:
        given.update(values)
        return True

    def keep(_app: App, _commands: tuple[str, ...], found: ArgumentCollection) -> None:
        source.found = found

    def read_file(app: App, commands: tuple[str, ...], found: ArgumentCollection) -> None:
        source.found = found
        tokens = source.tokens("config")
        if tokens:
            source.table = _open(tokens[0].value, source.origin(tokens[0]))
            source.place = Origin("file", "", tokens[0].value)
        table = _as_text(cls, source)
        Dict(table, source="file")(app, commands, found)

    hints, groups = _hints(cls), _groups(cls)
    signature = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if each.default is MISSING else each.default,
            annotation=Annotated[
                _written(each, hints[each.name]), _parameter(each, hints[each.name], groups, source)
            ],
        )
        for each in _settings(cls)
    ]
    vars(take)["__signature__"] = inspect.Signature(signature)
    environment = [Env(f"{source.program.upper()}_", command=False)] if source.program else []
    app = App(
        name=source.program or cls.__name__,
        help=source.about,
        version=lambda: f"{source.program} {_version()} (Python {platform.python_version()})",
        config=[*environment, read_file, keep],
        group_commands=groups.get("Program"),
        result_action="return_value",
    )
    app.default(take)
    if app(source.arguments, exit_on_error=False, print_error=False) is not True:
        raise SystemExit(0)  # it has printed what was asked for
    return given


def _hints(cls: type[Table]) -> dict[str, Any]:
    return get_type_hints(cls)


def _open(path: str, origin: Origin) -> dict[str, Any]:
    """Return what a file of TOML has."""
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        fix = f"cannot be read ({error.strerror}): name a file of TOML"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        fix = f"is no TOML: {error}"
    raise _error("config", path, fix, origin)


def _as_text(cls: type[Table], source: _Source) -> dict[str, Any]:
    """Return a table with its pairs as ``NAME=FILE`` and its tables as JSON: as they are written in a flag."""
    table = dict(source.table)
    hints, settings = _hints(cls), {each.name: each for each in _settings(cls)}
    for key, value in source.table.items():
        name = key.replace("-", "_")
        if name not in settings:
            continue  # for cyclopts to complain about
        hint, details = hints[name], settings[name].metadata
        several = value if _is_list(value) and get_origin(hint) is tuple else [value]
        wanted = None
        if source.program and name in _NOT_IN_FILE:
            wanted = f"leave it out, and use {flag(name)}"
        elif _is_tables(hint):
            if all(_is_dict(one) for one in several):
                table[key] = [json.dumps(one, default=str) for one in several]
            else:
                wanted = f"give tables, each under [[{key}]]"
        elif details.get("pair") and _is_dict(value) and all(map(_is_plain, value.values())):
            table[key] = [f"{one}{details['pair']}{other}" for one, other in value.items()]
        elif not all(map(_is_plain, several)):
            wanted = f"give {_kind(hint)}"
        if wanted is not None:
            shown = value if isinstance(value, str) else json.dumps(value, default=str)
            origin = replace(source.place, name=f"{source.place.name}{key}")
            raise _error(name, HIDDEN if details.get("secret") else shown, wanted, origin)
    return table


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_dict(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _written(each: Field[Any], hint: Any) -> Any:
    """Return the type that a setting is written as."""
    if _parse_by(each, hint) is None and not _is_tables(hint):
        return hint
    return tuple[str, ...] if get_origin(hint) is tuple else str


def _parse_by(each: Field[Any], hint: Any) -> Callable[[str], Any] | None:
    """Return what makes a value, or each of several, of text; ``None``: cyclopts does."""
    parse: Callable[[str], Any] | None = each.metadata.get("parse")
    return _whole if parse is None and int in {hint, *get_args(hint)} else parse


def _whole(text: str) -> int:
    """Return a whole number. cyclopts would round others."""
    if not re.fullmatch("[+-]?[0-9]{1,18}", text):
        raise ValueError("give a whole number")
    return int(text)


def _is_tables(hint: Any) -> bool:
    """Tell whether a field holds tables."""
    return (
        get_origin(hint) is tuple
        and isinstance(get_args(hint)[0], type)
        and issubclass(get_args(hint)[0], Table)
    )


def _value(cls: type[Table], source: _Source, name: str, written: Any) -> Any:
    """Return the value of a field, made of what was written."""
    hint = _hints(cls)[name]
    setting = next(each for each in fields(cls) if each.name == name)
    parse = _parse_by(setting, hint)
    if _is_tables(hint):
        return tuple(_table(get_args(hint)[0], source, name, number) for number in range(len(written)))
    if parse is None:
        return written

    def made(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise SettingsError(
                name, HIDDEN if setting.metadata.get("secret") else text, str(error)
            ) from None

    return tuple(map(made, members(written))) if isinstance(written, tuple) else made(written)


def _table(cls: type[TableT], source: _Source, name: str, number: int) -> TableT:
    """Return one of the tables of a field."""
    token = source.tokens(name)[number]
    origin = source.origin(token)
    table: object = None
    with contextlib.suppress(ValueError):
        table = json.loads(token.value)
    if not _is_dict(table):
        raise SettingsError(name, token.value, "give an object of JSON")
    place = replace(origin, name=f"{origin.name}[{number}].")
    return _read(cls, _Source(table=table, place=place))


# -- what help shows --------------------------------------------------------------------------------------------------


def _settings(cls: type[Table]) -> list[Field[Any]]:
    return [each for each in fields(cls) if "about" in each.metadata]


def _groups(cls: type[Table]) -> dict[str, Group]:
    """Return the headings, in the order in which the fields bring them up, but the common ones last."""
    names = dict.fromkeys(each.metadata.get("group", "") for each in _settings(cls))
    ordered = sorted(names, key=lambda name: _LAST_GROUPS.index(name) if name in _LAST_GROUPS else -1)
    return {name: Group(name, sort_key=place) for place, name in enumerate(ordered)}


def _parameter(each: Field[Any], hint: Any, groups: Mapping[str, Group], source: _Source) -> Parameter:
    variable = f"{source.program}_{each.name}".upper()

    def split(_kind: Any, text: str, **_options: Any) -> list[str]:
        """Return the values that a variable has: words, quoted as in a shell; tables in JSON."""
        if _is_tables(hint):
            with contextlib.suppress(ValueError):  # which whoever makes tables of it will meet, too
                found: object = json.loads(text)
                return [json.dumps(one) for one in (found if _is_list(found) else [found])]
        elif get_origin(hint) is tuple:
            try:
                return shlex.split(text)
            except ValueError as error:
                shown = HIDDEN if each.metadata.get("secret") else text
                fix = f"{error}; quote as in a shell"
                raise _error(each.name, shown, fix, Origin("environment", variable)) from None
        return [text]

    return Parameter(
        help=each.metadata["about"],
        group=groups[each.metadata.get("group", "")],
        metavar=each.metadata.get("form") or _form(each, hint),
        show_default=_show_default,
        negative=(),  # --flag=false says it as well
        env_var_split=split,
    )


def _form(each: Field[Any], hint: Any) -> str | None:
    """Return what to show in place of a value; ``None``: as cyclopts does."""
    if _is_tables(hint):
        return "JSON"
    return "INT" if _parse_by(each, hint) is _whole else None


def _show_default(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, members(value))) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value not in {"", None} else "none"


def _version() -> str:
    """Return the version of the checkout."""
    with (Path(__file__).parents[1] / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


# -- errors -----------------------------------------------------------------------------------------------------------


def _error(name: str, value: object, fix: str, origin: Origin) -> SettingsError:
    error = SettingsError(name, value, fix)
    error.origin = origin
    return error


def _fail(cls: type[Table], source: _Source, error: CycloptsError) -> NoReturn:
    """Raise what cyclopts complains about, in our words."""
    names = {each.name: each for each in _settings(cls)}
    match error:
        case UnknownOptionError(token=token):
            raise _unknown(list(names), source, token) from None
        case UnusedCliTokensError():
            words = error.unused_tokens or [""]
            if any(
                each.metadata.get("secret") and flag(name) in source.arguments for name, each in names.items()
            ):
                words = [HIDDEN]  # it may be the rest of a password with a space in it
            fix = "is no setting: give settings as --name value; --help lists them"
            raise _error("", None, fix, Origin("flag", words[0])) from None
        case RepeatArgumentError(token=token):
            raise _error("", None, "give it once", source.origin(token)) from None
        case MissingArgumentError(argument=Argument() as argument):
            name = argument.name.lstrip("-").replace("-", "_")
            if argument.tokens or not argument.required:
                raise _error(name, None, "give it a value", Origin("flag", flag(name))) from None
            origin = replace(source.place, name=f"{source.place.name}{name}")
            raise _error(name, None, "it has to be set", origin) from None
        case CoercionError(argument=Argument() as argument, token=Token() as token):
            name = argument.name.lstrip("-").replace("-", "_")
            raise _error(name, token.value, f"give {_kind(argument.hint)}", source.origin(token)) from None
        case _:
            raise _error("", None, str(error), Origin("flag", source.program)) from error


def _unknown(names: Sequence[str], source: _Source, token: Token) -> SettingsError:
    """Return the error for a name that no setting has."""
    origin = source.origin(token)
    known = [flag(name) for name in names] if origin.kind == "flag" and source.program else list(names)
    near = difflib.get_close_matches(origin.name.removeprefix(source.place.name), known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    all_of_them = "--help lists them" if source.program else f"there are {', '.join(names)}"
    return _error("", None, f"there is no such setting; {hint}{all_of_them}", origin)


def _kind(hint: Any) -> str:
    """Return in words what a value has to be."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) is tuple:
        return f"a list, each {_kind(get_args(hint)[0])}"
    return _KINDS.get(hint, "text")
