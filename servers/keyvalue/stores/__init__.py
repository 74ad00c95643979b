"""Stores: what keeps the changes, and brings them back when the server starts.

A store is given *effects*: requests that, done again in this order on empty keyspaces, come to the same. It knows
nothing of what they mean. ``Store`` is all that the server asks for, and each engine has a URL of its own:

=================================================  =================================================================
``memory:``                                        nothing is kept
``log:FOLDER?fsync=always|everysec|no``            a log and snapshots, in files of a folder
=================================================  =================================================================

An engine beyond one machine can stand behind the same: ``append()`` collects the effects of a turn, ``commit()``
writes them where they are safe, as one batch that is there whole or not at all, and ``load()`` returns them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from servers.keyvalue.protocol import CommandError, Request

__all__ = ["Apply", "Store"]

Apply: TypeAlias = Callable[[int, Request], None]
"""Does an effect again: in which database, and what."""


class Store(Protocol):
    """What keeps the changes."""

    saved: float
    """When the last snapshot was made, in seconds since the epoch."""
    save_worked: bool
    """Whether making it worked."""
    changes_at_save: int
    """What it was told of changes when it was begun."""

    @property
    def durable(self) -> bool:
        """Whether it keeps anything; if not, nothing below is called but ``save()``, ``tick()`` and ``close()``."""
        ...

    appended: int
    """How many effects it has been given: a mark, of which is asked whether what was done before is safe."""
    committed: int
    """Up to which mark that is decided."""

    @property
    def full(self) -> bool:
        """Whether it has no room, so that commands that write are refused."""
        ...

    @property
    def saving(self) -> bool:
        """Whether a snapshot is being made."""
        ...

    def load(self, apply: Apply) -> None:
        """Bring back what was kept.

        Raises:
            DamagedError: some of that cannot be read; nothing has been changed.
        """
        ...

    def reserve(self, request: Sequence[bytes]) -> None:
        """Make sure that an effect of that size can be kept, before it is done.

        Raises:
            CommandError: there is no room (``MISCONF``); reading goes on.
        """
        ...

    def append(self, database: int, effect: Sequence[bytes]) -> None:
        """Take in an effect."""
        ...

    def commit(self) -> None:
        """Return when it is decided whether all that was appended before is as safe as it was asked for; from any thread.

        Raises:
            CommandError: there was no room for it after all (``MISCONF``): memory is ``ahead``.
            OSError: it is not, and never will be: the server must stop.
        """
        ...

    def refusal(self, mark: int, /) -> CommandError | None:
        """Return the answer to what was done before a mark, if that is lost since there was no room for it."""
        ...

    @property
    def ahead(self) -> bool:
        """Whether memory has what the store has not, and will not have; then nothing is taken in before ``reload()``."""
        ...

    def reload(self, apply: Apply) -> None:
        """Bring back what is kept, for keyspaces that have been emptied."""
        ...

    def save(self, changes: int) -> None:
        """Begin to make a snapshot, by which the next start is shorter."""
        ...

    def tick(self) -> None:
        """Do what is to be done now and then."""
        ...

    def close(self) -> None:
        """Keep what is still pending, and end."""
        ...
