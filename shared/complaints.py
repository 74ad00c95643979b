"""What cyclopts complains about, in the words of ``SettingsError``: the name, the value, its origin, the fix."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from cyclopts import (
    Argument,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    Token,
    UnknownOptionError,
    UnusedCliTokensError,
)

from shared.fields import Setting
from shared.settings import HIDDEN, Origin, SettingsError, flag

__all__ = ["in_our_words"]


def in_our_words(  # noqa: PLR0911 -- one per complaint
    error: CycloptsError,
    settings: Mapping[str, Setting],
    arguments: Sequence[str],
    origin: Callable[[Token], Origin],
    place: Callable[[str], Origin],
) -> SettingsError:
    """Return the error for an error.

    Args:
        error: what cyclopts raised.
        settings: those that there are, by name.
        arguments: the flags that were given.
        origin: tells where a token comes from.
        place: tells where a setting of a name would be, or the nothing that is there.
    """
    match error:
        case UnknownOptionError(token=token):
            return _unknown(origin(token), settings, place("").name)
        case UnusedCliTokensError(unused_tokens=[word, *_]):
            if any(each.secret and flag(name) in arguments for name, each in settings.items()):
                word = HIDDEN  # it may be the rest of a password with a space in it
            fix = "is no setting: give settings as --name value; --help lists them"
            return SettingsError("", None, fix, Origin("flag", word))
        case RepeatArgumentError(token=token):
            return SettingsError("", None, "give it once", origin(token))
        case MissingArgumentError(argument=Argument() as argument):
            name = _name(argument)
            if argument.required:
                return SettingsError(name, None, "it has to be set", place(name))
            return SettingsError(name, None, "give it a value")
        case CoercionError(argument=Argument() as argument, token=Token() as token):
            name = _name(argument)
            setting = settings[name]
            return SettingsError(name, setting.show(token.value), f"give {setting.kind}", origin(token))
        case _:
            return SettingsError("", None, str(error), place(""))


def _name(argument: Argument) -> str:
    return argument.name.lstrip("-").replace("-", "_")


def _unknown(origin: Origin, settings: Mapping[str, Setting], prefix: str) -> SettingsError:
    """Return the error for a name that no setting has, with the one that comes nearest."""
    name = origin.name.removeprefix(prefix)
    known = [flag(each) for each in settings] if name.startswith("-") else list(settings)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    known_here = f"there are {', '.join(settings)}" if prefix else "--help lists them"
    return SettingsError("", None, f"there is no such setting; {hint}{known_here}", origin)
