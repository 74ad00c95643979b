"""CLIENT: this connection, and the others."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from servers.keyvalue.arguments import NOT_AN_INTEGER, SYNTAX, integer
from servers.keyvalue.commands.connection import check_name
from servers.keyvalue.commands.table import command
from servers.keyvalue.protocol import CommandError, Reply, Several, Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.keyvalue.client import Client


@command("client", "")
def client_(client: Client) -> Reply:
    """A container for client connection commands."""
    raise CommandError("ERR wrong number of arguments for 'client' command")


@command("client|id", "noscript loading stale")
def client_id(client: Client) -> Reply:
    """Returns the unique client ID of the connection."""
    return client.number


@command("client|getname", "noscript loading stale")
def client_getname(client: Client) -> Reply:
    """Returns the name of the connection."""
    return client.name or None


@command("client|setname", "noscript loading stale")
def client_setname(client: Client, name: bytes) -> Reply:
    """Sets the connection name."""
    check_name(name)
    client.name = name
    return "OK"


@command("client|getredir", "noscript loading stale")
def client_getredir(client: Client) -> Reply:
    """Returns the client ID to which the connection's tracking notifications are redirected."""
    return -1


@command("client|info", "noscript random loading stale")
def client_info(client: Client) -> Reply:
    """Returns information about the connection."""
    return Text(_describe(client) + "\n")


@command("client|list", "admin noscript random loading stale")
def client_list(client: Client, *options: bytes) -> Reply:
    """Lists open connections."""
    wanted: Callable[[Client], bool] = _everybody
    if options:
        match options[0].upper():
            case b"TYPE" if len(options) == 2:  # noqa: PLR2004 -- the word and the type
                wanted = _of_type(options[1])
            case b"ID" if len(options) > 1:
                numbers = {integer(number, "ERR Invalid client ID") for number in options[1:]}
                wanted = lambda other: other.number in numbers  # noqa: E731 -- one of three
            case _:
                raise CommandError(SYNTAX)
    lines = [_describe(other) + "\n" for other in client.engine.clients.values() if wanted(other)]
    return Text("".join(lines))


def _everybody(_: Client) -> bool:
    return True


def _of_type(name: bytes) -> Callable[[Client], bool]:
    match name.lower():
        case b"normal":
            return lambda other: not (other.subscriptions or other.patterns)
        case b"pubsub":
            return lambda other: bool(other.subscriptions or other.patterns)
        case b"master" | b"replica" | b"slave":
            return lambda _: False
        case _:
            raise CommandError(f"ERR Unknown client type '{name.decode('utf-8', 'surrogateescape')}'")


def _describe(client: Client) -> str:
    now = monotonic()
    flags = "".join(
        flag
        for flag, holds in (
            ("P", client.subscriptions or client.patterns),
            ("x", client.queue is not None),
            ("b", client.waiter is not None),
            ("d", client.dirty),
            ("e", client.no_evict),
        )
        if holds
    )
    unsent = 0 if client.outbox is None else client.outbox.size
    values = {
        "id": client.number,
        "addr": client.address,
        "laddr": client.local,
        "fd": client.descriptor,
        "name": client.name.decode(),
        "age": int(now - client.created),
        "idle": int(now - client.last_used),
        "flags": flags or "N",
        "db": client.db.number,
        "sub": len(client.subscriptions),
        "psub": len(client.patterns),
        "ssub": 0,
        "multi": -1 if client.queue is None else len(client.queue),
        "qbuf": 0,
        "qbuf-free": 0,
        "argv-mem": 0,
        "multi-mem": client.queued,
        "rbs": 0,
        "rbp": 0,
        "obl": 0,
        "oll": int(unsent > 0),
        "omem": unsent,
        "tot-mem": unsent + client.queued,
        "events": "r",
        "cmd": client.last_command,
        "user": "default",
        "redir": -1,
        "resp": client.version,
    }
    return " ".join(f"{name}={value}" for name, value in values.items())


@command("client|kill", "admin noscript loading stale")
def client_kill(client: Client, filter_: bytes, *filters: bytes) -> Reply:
    """Terminates open connections."""
    everybody = list(client.engine.clients.values())
    if not filters:
        victims = [other for other in everybody if other.address.encode() == filter_]
        if not victims:
            raise CommandError("ERR No such client")
        _kill(client, victims)
        return "OK"
    words = (filter_, *filters)
    if len(words) % 2:
        raise CommandError(SYNTAX)
    pairs = [(name.upper(), value) for name, value in zip(words[::2], words[1::2], strict=True)]
    tests = [_test(name, value) for name, value in pairs]
    if (b"SKIPME", b"NO") not in [(name, value.upper()) for name, value in pairs]:
        tests.append(lambda other: other is not client)
    victims = [other for other in everybody if all(test(other) for test in tests)]
    _kill(client, victims)
    return len(victims)


def _test(name: bytes, value: bytes) -> Callable[[Client], bool]:
    """Return what one filter of CLIENT KILL says about a client."""
    text = value.decode("utf-8", "surrogateescape")
    match name:
        case b"ID":
            number = integer(value, "ERR client-id should be greater than 0")
            return lambda other: other.number == number
        case b"TYPE":
            return _of_type(value)
        case b"ADDR":
            return lambda other: other.address == text
        case b"LADDR":
            return lambda other: other.local == text
        case b"USER" if text == "default":
            return _everybody
        case b"USER":
            raise CommandError(f"ERR No such user '{text}'")
        case b"SKIPME" if value.upper() in {b"YES", b"NO"}:
            return _everybody
        case _:
            raise CommandError(SYNTAX)


def _kill(client: Client, victims: list[Client]) -> None:
    for victim in victims:
        victim.closing = True
        if victim is not client and victim.kill is not None:
            # Gone from the list at once; oneself hears the answer first.
            client.engine.clients.pop(victim.number, None)
            victim.kill()


@command("client|reply", "noscript loading stale")
def client_reply(client: Client, mode: bytes) -> Reply:
    """Instructs the server whether to reply to commands."""
    if mode.upper() not in {b"ON", b"OFF", b"SKIP"}:
        raise CommandError(SYNTAX)
    if mode.upper() == b"SKIP":
        # Unless it hears none anyway: this one's reply, and the next.
        if not client.silent or client.skipping:
            client.silent, client.skipping = True, 2
        return Several()
    client.silent, client.skipping = mode.upper() == b"OFF", 0
    return "OK" if mode.upper() == b"ON" else Several()


@command("client|no-evict", "admin noscript loading stale")
def client_no_evict(client: Client, enabled: bytes) -> Reply:
    """Sets the client eviction mode of the connection."""
    if enabled.upper() not in {b"ON", b"OFF"}:
        raise CommandError(SYNTAX)
    client.no_evict = enabled.upper() == b"ON"
    return "OK"


@command("client|unblock", "admin noscript loading stale")
def client_unblock(client: Client, number: bytes, *how: bytes) -> Reply:
    """Unblocks a client blocked by a blocking command from a different connection."""
    if len(how) > 1 or (how and how[0].upper() not in {b"TIMEOUT", b"ERROR"}):
        raise CommandError(
            "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR" if len(how) == 1 else SYNTAX
        )
    other = client.engine.clients.get(integer(number, NOT_AN_INTEGER))
    if other is None or other.waiter is None:
        return 0
    if how and how[0].upper() == b"ERROR":
        other.waiter.end(CommandError("UNBLOCKED client unblocked via CLIENT UNBLOCK"))
    else:
        other.waiter.end(other.waiter.block.otherwise)
    return 1
