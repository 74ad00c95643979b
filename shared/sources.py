"""Where settings come from: flags, over the environment, over the file, over the defaults.

cyclopts reads them. Of its peers it alone knows, for each value it took or refused, the flag, variable or key that it
came from, which an error has to name; takes ``--bind URL --bind URL``; replaces, not appends, across sources; suggests
the nearest name; and needs nothing that is compiled. pydantic-settings wants its own model classes, starts slower
(0.14 s against 0.07 s) and says neither which source was wrong nor what to do; jsonargparse takes no repeated flag for a tuple
and reads YAML first; typed-settings names no origin of a value of the wrong type. All are typed and have hashes.

cyclopts is given a signature made of a dataclass's fields (``command_line``), and what it raises is told in our words
(``complaints``). A table within the file is read by the same method, so an error in ``routes[2].path`` reads like any.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import sys
import tomllib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from cyclopts import App, Argument, ArgumentCollection, CycloptsError, Token
from cyclopts.config import Dict

from shared.command_line import parse
from shared.complaints import in_our_words
from shared.fields import Setting, is_dict, is_list, settings_of
from shared.settings import Origin, ServerSettings, SettingsError, Table, flag, members

__all__ = ["load", "reread"]

_log = logging.getLogger(__name__)

TableT = TypeVar("TableT", bound=Table)
SettingsT = TypeVar("SettingsT", bound=ServerSettings)

# Where a file is named cannot be told in that file.
_NOT_IN_FILE = ("config", "check_config")
_IN_FILE = Origin("file", "")


def load(program: str, settings: type[SettingsT], arguments: Sequence[str] | None = None) -> SettingsT:
    """Return the settings that a program was started with, checked.

    Args:
        program: its name, which begins the names of its variables, too.
        settings: their class; its docstring's first line is the program's description.
        arguments: by default those of this process.

    Raises:
        SettingsError: one cannot be used.
        SystemExit: after ``--help`` and ``--version``.
    """
    chosen = tuple(sys.argv[1:] if arguments is None else arguments)
    source = _Source(chosen, program, (inspect.getdoc(settings) or "").partition("\n")[0])
    made = source.read(settings)
    with source.telling_where():
        made.check()
    object.__setattr__(made, "loaded_by", (program, chosen))
    return made


def reread(old: SettingsT, *names: str) -> SettingsT:
    """Return ``old`` with what ``names`` are set to now, for a server's ``reload()``; what else has changed is logged.

    Where the settings cannot be used, the error is logged, and what is returned is ``old`` itself; likewise, without a
    word, where they were made rather than loaded.
    """
    if old.loaded_by is None:
        return old
    program, arguments = old.loaded_by
    try:
        new = load(program, type(old), arguments)
        changed = {each.name for each in fields(old) if getattr(old, each.name) != getattr(new, each.name)}
        if later := sorted(changed - {*names}):
            _log.warning("these settings change when the server is started anew: %s", ", ".join(later))
        # They may not go with those that stay.
        made = replace(old, **{name: getattr(new, name) for name in changed & {*names}})
    except SettingsError as error:
        _log.error("the settings stay as they were: %s", error)
        return old
    object.__setattr__(made, "loaded_by", old.loaded_by)
    return made


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
    """What cyclopts has found, where."""

    def read(self, cls: type[TableT]) -> TableT:
        """Return the table that is here.

        Raises:
            SettingsError: something in it cannot be used.
        """
        settings = settings_of(cls)

        def read_file(app: App, commands: tuple[str, ...], found: ArgumentCollection) -> None:
            self.found = found
            for token in self.tokens("config") if self.program else ():
                self.table = _open(token.value, self.origin(token))
                self.place = Origin("file", "", token.value)
            Dict(self._written(settings), source="file")(app, commands, found)

        with self.telling_where():
            try:
                given = parse(settings.values(), self.arguments, read_file, self.program, self.about)
            except CycloptsError as error:
                raise in_our_words(error, settings, self.arguments, self.origin, self.at) from None
            return cls(**{name: self._value(settings[name], value) for name, value in given.items()})

    # -- where something is --------------------------------------------------------------------------------------

    def at(self, key: str) -> Origin:
        """Return where a key of the table is."""
        return replace(self.place, name=f"{self.place.name}{key}")

    def origin(self, token: Token) -> Origin:
        """Return where a token was written."""
        name = token.keyword or ""
        match token.source:
            case "cli":
                return Origin("flag", name.partition("=")[0])
            case "env":
                return Origin("environment", name)
            case _:
                return self.at(name.strip("[]").replace("][", "."))

    def tokens(self, name: str) -> Sequence[Token]:
        """Return what was written for a setting, in the source that won."""
        argument: Argument | None = self.found.get(flag(name), None)
        return argument.tokens if argument is not None else ()

    @contextlib.contextmanager
    def telling_where(self) -> Generator[None]:
        """Add to an error where its value comes from."""
        try:
            yield
        except SettingsError as error:
            tokens = self.tokens(error.name) if error.origin is None else ()
            if tokens:
                token = next((each for each in tokens if each.value == str(error.value)), tokens[0])
                error.origin = self.origin(token)
            raise

    # -- between what is written and what is meant ---------------------------------------------------------------

    def _written(self, settings: Mapping[str, Setting]) -> dict[str, Any]:
        """Return the table with pairs as ``NAME=FILE`` and tables as JSON, which is how they are written in a flag."""
        written = dict(self.table)
        for key, value in self.table.items():
            setting = settings.get(key.replace("-", "_"))
            if setting is None:
                continue  # for cyclopts to complain about
            several = value if is_list(value) and setting.several else [value]
            pair = setting.field.metadata.get("pair")
            wanted = None
            if self.program and setting.name in _NOT_IN_FILE:
                wanted = f"leave it out, and use {flag(setting.name)}"
            elif setting.tables is not None:
                if all(map(is_dict, several)):
                    written[key] = [json.dumps(one, default=str) for one in several]
                else:
                    wanted = f"give tables, each under [[{key}]]"
            elif pair and is_dict(value) and all(map(_is_plain, value.values())):
                written[key] = [f"{one}{pair}{other}" for one, other in value.items()]
            elif not all(map(_is_plain, several)):
                wanted = f"give {setting.kind}"
            if wanted is not None:
                shown = value if isinstance(value, str) else json.dumps(value, default=str)
                raise SettingsError(setting.name, setting.show(shown), wanted, self.at(key))
        return written

    def _value(self, setting: Setting, written: Any) -> Any:
        """Return the value of a setting, made of what was written."""
        tables, parse_one = setting.tables, setting.parse
        if tables is not None:
            return tuple(self._table(tables, setting, number) for number in range(len(written)))
        if parse_one is None:
            return written

        def made(text: str) -> Any:
            try:
                return parse_one(text)
            except ValueError as error:
                raise SettingsError(setting.name, setting.show(text), str(error)) from None

        return tuple(map(made, members(written))) if setting.several else made(written)

    def _table(self, cls: type[TableT], setting: Setting, number: int) -> TableT:
        """Return one of the tables of a setting."""
        token = self.tokens(setting.name)[number]
        origin = self.origin(token)
        table: object = None
        with contextlib.suppress(ValueError):
            table = json.loads(token.value)
        if not is_dict(table):
            raise SettingsError(setting.name, token.value, "give an object of JSON", origin)
        return _Source(table=table, place=replace(origin, name=f"{origin.name}[{number}].")).read(cls)


def _open(path: str, origin: Origin) -> dict[str, Any]:
    """Return what a file of TOML has."""
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        fix = f"cannot be read ({error.strerror}): name a file of TOML"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        fix = f"is no TOML: {error}"
    raise SettingsError("config", path, fix, origin)


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)
