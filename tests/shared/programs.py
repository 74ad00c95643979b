"""Settings of every kind, for the tests."""

from dataclasses import dataclass
from typing import Literal

from shared.secret import Login, Secret
from shared.settings import (
    ServerSettings,
    Table,
    at_least,
    between,
    endpoint,
    matching,
    required,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class Filter(Table):
    """A table in a table."""

    word: str = required("what to look for", matching("[a-z]+", "small letters"))


@dataclass(frozen=True, kw_only=True)
class Route(Table):
    """A table in the file."""

    facility: str = required("which", matching("[a-z]+", "small letters"))
    level: int = setting(7, "from", between(0, 7))
    filters: tuple[Filter, ...] = setting((), "words")


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings):
    """A server for tests.

    Nothing else.
    """

    bind: tuple[str, ...] = setting(
        ("tcp://127.0.0.1:7",), "where to listen", endpoint("tcp", "unix"), group="Listening", form="URL"
    )
    port: int = setting(1, "which", between(0, 9))
    long_wait: float = setting(0.5, "seconds, 100% of them", at_least(0.1))
    word: str = setting("", "letters", matching("[a-z]*", "small letters"))
    colour: Literal["red", "green"] = setting("red", "of the roof")
    eager: bool = setting(False, "whether to hurry")
    zone: tuple[str, ...] = setting(
        (), "a zone's file", matching(".+=.+", "NAME=FILE"), form="NAME=FILE", pair="="
    )
    password: Secret | None = setting(None, "of the server", parse=Secret.parse, secret=True, group="Access")
    oper: tuple[Login, ...] = setting(
        (), "an operator", parse=Login.parse, pair=":", secret=True, group="Access", form="NAME:PASSWORD"
    )
    routes: tuple[Route, ...] = setting((), "what goes where")
