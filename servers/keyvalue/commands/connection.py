"""The connection itself: its protocol, its password, its name, and the other connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX, integer
from servers.keyvalue.commands import pubsub
from servers.keyvalue.commands.keys import keyspace
from servers.keyvalue.commands.table import command
from servers.keyvalue.protocol import CommandError, Reply

if TYPE_CHECKING:
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
def quit_(client: Client, *_: bytes) -> Reply:
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
        said = words.pop(0)
        option = said.upper()
        if option == b"AUTH" and len(words) > 1:
            _authenticate(client, words.pop(0), words.pop(0))
        elif option == b"SETNAME" and words:
            name = words.pop(0)
            check_name(name)
        else:
            raise CommandError(
                f"ERR Syntax error in HELLO option '{said.decode('utf-8', 'surrogateescape')}'"
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


def check_name(name: bytes) -> None:
    """Refuse a name that would break the lines of CLIENT LIST."""
    if any(not 0x21 <= octet <= 0x7E for octet in name):  # noqa: PLR2004 -- ! to ~
        raise CommandError("ERR Client names cannot contain spaces, newlines or special characters.")
