"""The table of commands: dispatch, COMMAND and its documentation, and the checks before a command runs come from it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from servers.keyvalue.protocol import CommandError, Reply, Request

__all__ = ["TABLE", "Command", "Table", "command", "find", "without"]

Run: TypeAlias = Callable[..., Reply]
RunMany: TypeAlias = Callable[..., Sequence[Reply] | None]


@dataclass(slots=True, eq=False)
class Command:
    """One row.

    Args:
        name: in lower case; that of a subcommand has its container's before it, ``client|id``.
        group: the family it is documented under.
        run: called with the client and the arguments.
        arity: how many words it has, its name counted.
        flags: ``write``: changes data; ``denyoom``: not when memory is full; ``stranger``: before the password, too;
            ``listening``: also while a client of RESP2 has subscriptions; ``unqueued``: runs within MULTI at once;
            ``outside``: not within MULTI; the others are for COMMAND.
        keys: which words are keys: the first, the last (negative: counted from the end) and every how many.
        numbered: at which word the number of keys stands that follow it; 0: at none.
        summary: what it does, in a line.
        many: does what several requests say that follow each other; called with the client and each argument of all of
            them. It returns their replies, or ``None`` where they have to be run one by one, and has done nothing then.
    """

    name: str
    group: str
    run: Run
    arity: range
    flags: frozenset[str]
    keys: tuple[int, int, int]
    numbered: int
    summary: str
    many: RunMany | None = None
    write: bool = False
    skip: int = 1
    """How many words its name has."""
    subcommands: dict[bytes, Command] = field(default_factory=dict[bytes, Any])

    @property
    def redis_arity(self) -> int:
        """The arity in redis' notation: negative for "at least"."""
        return self.arity.start if len(self.arity) == 1 else -self.arity.start

    def keys_of(self, request: Request) -> list[bytes]:
        """Return the keys among the words of a request."""
        first, last, step = self.keys
        found = request[first : last + 1 if last >= 0 else len(request) + last + 1 : step] if first else []
        if self.numbered:
            count = request[self.numbered]
            number = int(count) if count.isdigit() else 0
            found = found + request[self.numbered + 1 : self.numbered + 1 + number]
        return found


TABLE: dict[bytes, Command] = {}
"""By name, in lower and in upper case, so that hardly any client's spelling takes a second look."""


def command(
    name: str,
    flags: str = "",
    *,
    keys: int | tuple[int, int, int] = 0,
    numbered: int = 0,
    many: RunMany | None = None,
) -> Callable[[Run], Run]:
    """Make a function a command: its parameters, after the client, are the arguments, and its docstring the summary."""

    def register(run: Run) -> Run:
        parent, _, own = name.partition("|")
        words = 2 if own else 1
        least, most = words, words
        for parameter in list(inspect.signature(run).parameters.values())[1:]:
            if parameter.kind is parameter.VAR_POSITIONAL:
                most = sys.maxsize - 1
            else:
                least += parameter.default is parameter.empty
                most += 1
        row = Command(
            name,
            run.__module__.rpartition(".")[2].replace("_", "-"),
            run,
            range(least, most + 1),
            frozenset(flags.split()),
            (keys, keys, 1) if isinstance(keys, int) else keys,
            numbered,
            inspect.getdoc(run) or "",
            many,
            write="write" in flags.split(),
            skip=words,
        )
        if own:
            TABLE[parent.encode()].subcommands[own.upper().encode()] = row
        else:
            TABLE[name.encode()] = TABLE[name.upper().encode()] = row
        return run

    return register


Table: TypeAlias = Mapping[bytes, Command]


def without(names: Iterable[str]) -> Table:
    """Return the table without some commands or subcommands.

    Raises:
        KeyError: there is no such one.
    """
    table = dict(TABLE)
    for name in names:
        parent, _, own = name.lower().encode().partition(b"|")
        row = table[parent]
        if own:
            kept = dict(row.subcommands)
            del kept[own.upper()]
            table[parent] = table[parent.upper()] = replace(row, subcommands=kept)
        else:
            del table[parent], table[parent.upper()]
    return table


def find(table: Table, request: Sequence[bytes]) -> Command:
    """Return the row for a request.

    Raises:
        CommandError: there is no such command, or the number of its arguments is wrong.
    """
    row = table.get(request[0]) or table.get(request[0].upper())
    if row is None:
        # The beginnings, as redis shows them: enough to recognize, too little to flood a log.
        begin = "".join(f"'{_printable(each)}' " for each in request[1:9])[:128]
        raise CommandError(
            f"ERR unknown command '{_printable(request[0])}', with args beginning with: {begin}"
        )
    if row.subcommands and len(request) > 1:
        found = row.subcommands.get(request[1].upper())
        if found is None:
            raise CommandError(
                f"ERR unknown subcommand '{_printable(request[1])}'. Try {row.name.upper()} HELP."
            )
        row = found
    if len(request) not in row.arity:
        raise CommandError(f"ERR wrong number of arguments for '{row.name}' command")
    return row


def _printable(word: bytes) -> str:
    return word[:128].decode("utf-8", "surrogateescape")
