"""The connection itself: its protocol, its password, its name, and the other connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.keyvalue.arguments import NOT_AN_INTEGER, SYNTAX, integer
from servers.keyvalue.commands import pubsub
from servers.keyvalue.commands.keys import keyspace
from servers.keyvalue.commands.table import command
from servers.keyvalue.protocol import CommandError, Reply, Several, Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.keyvalue.client import Client

VERSION = "7.0.15"
"""What it presents itself as: that of the redis-server whose every reply it was compared with."""

_VERSIONS = {b"2": 2, b"3": 3}
_WRONG = "WRONGPASS invalid username-password pair or user is disabled."


@command("ping", "fast listening")
def ping(client: Client, *message: bytes) -> Reply:
    """Returns the server's liveliness response."""
    if len(message) > 1:
        raise CommandError("ERR wrong number of arguments for 'ping' command")
    if (client.subscriptions or client.patterns) and not client.resp3:
        return [b"pong", message[0] if message else b""]
    return message[0] if message else "PONG"


@command("echo", "loading stale fast")
def echo(client: Client, message: bytes) -> Reply:
    """Returns the given string."""
    return message


@command("select", "loading stale fast")
def select(client: Client, index: bytes) -> Reply:
    """Changes the selected database."""
    client.db = keyspace(client, index)
    return "OK"


@command("quit", "noscript loading stale fast unqueued stranger listening")
def quit_(client: Client) -> Reply:
    """Closes the connection."""
    client.closing = True
    return "OK"


@command("reset", "noscript loading stale fast unqueued stranger listening")
def reset(client: Client) -> Reply:
    """Resets the connection."""
    client.queue, client.broken = None, False
    client.unwatch()
    leave_channels(client)
    client.version, client.name, client.silent, client.skipping = 2, b"", False, 0
    client.db = client.engine.dataset.keyspaces[0]
    client.authenticated = not client.engine.config.password
    client.gate()
    return "RESET"


def leave_channels(client: Client) -> None:
    """Have a client listen to nothing any more."""
    for channel in list(client.subscriptions):
        pubsub.forget(client, False, channel)
    for pattern in list(client.patterns):
        pubsub.forget(client, True, pattern)


@command("auth", "noscript loading stale fast unqueued stranger")
def auth(client: Client, *words: bytes) -> Reply:
    """Authenticates the connection."""
    match words:
        case [password]:
            name = b"default"
        case [name, password]:
            pass
        case []:
            raise CommandError("ERR wrong number of arguments for 'auth' command")
        case _:
            raise CommandError(SYNTAX)
    if not client.engine.config.password and len(words) == 1:
        raise CommandError(
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    _authenticate(client, name, password)
    return "OK"


def _authenticate(client: Client, name: bytes, password: bytes) -> None:
    config = client.engine.config
    if name != b"default" or (config.password and not config.accepts(password)):
        raise CommandError(_WRONG)
    client.authenticated = True
    client.gate()


@command("hello", "noscript loading stale fast unqueued stranger")
def hello(client: Client, *options: bytes) -> Reply:
    """Handshakes with the server."""
    version, name = client.version, None
    if options:
        version = _VERSIONS.get(options[0], 0)
        if not version:
            integer(options[0], "ERR Protocol version is not an integer or out of range")
            raise CommandError("NOPROTO unsupported protocol version")
    words = list(options[1:])
    while words:
        option = words.pop(0).upper()
        if option == b"AUTH" and len(words) > 1:
            _authenticate(client, words.pop(0), words.pop(0))
        elif option == b"SETNAME" and words:
            name = words.pop(0)
            _check_name(name)
        else:
            raise CommandError(
                f"ERR Syntax error in HELLO option '{option.decode('utf-8', 'surrogateescape').lower()}'"
            )
    if not client.authenticated:
        raise CommandError(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH "
            "<user> <pass> option can be used to authenticate the client and select the RESP protocol version at "
            "the same time"
        )
    client.name = client.name if name is None else name
    client.version = version
    client.gate()
    return {
        b"server": b"redis",
        b"version": VERSION.encode(),
        b"proto": version,
        b"id": client.number,
        b"mode": b"standalone",
        b"role": b"master",
        b"modules": [],
    }


def _check_name(name: bytes) -> None:
    if any(not 0x21 <= octet <= 0x7E for octet in name):  # noqa: PLR2004 -- ! to ~
        raise CommandError("ERR Client names cannot contain spaces, newlines or special characters.")


# -- CLIENT ------------------------------------------------------------------------------------------------------------


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
    _check_name(name)
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
    now = client.engine.clock()
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
            victim.kill()  # oneself hears the answer first


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
