"""``Replay``: does again what a store has kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.keyvalue.client import Client
from servers.keyvalue.commands import execute
from servers.keyvalue.protocol import CommandError, Request

if TYPE_CHECKING:
    from framework import Outbox
    from servers.keyvalue.engine import Engine

__all__ = ["Replay"]


class Replay:
    """A client of its own for the effects that a store returns.

    Args:
        engine: on whose data.
    """

    def __init__(self, engine: Engine) -> None:
        self._client = Client(engine, "", "", _nobody)
        self._client.authenticated = True
        self._client.gate()
        self._keyspaces = engine.dataset.keyspaces

    def apply(self, database: int, effect: Request) -> None:
        """Do one thing again.

        Raises:
            CommandError: it cannot be done: it was not kept by this program, or for fewer databases.
        """
        if database >= len(self._keyspaces):
            raise CommandError(
                f"ERR there is no database {database}: start with at least {database + 1} of them"
            )
        keyspace = self._client.db = self._keyspaces[database]
        # The bulk of any log; the same as the command does, without the way to it.
        if len(effect) == 3 and effect[0] == b"SET":  # noqa: PLR2004 -- the name, a key, a value
            keyspace.set(effect[1], effect[2])
            return
        reply = execute(self._client, effect)
        if isinstance(reply, CommandError):
            raise reply


def _nobody() -> Outbox:
    raise AssertionError("nothing is pushed while a store is loaded")
