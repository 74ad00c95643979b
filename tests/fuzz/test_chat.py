"""Lines of every kind to the chat's commands: nothing raises, all that is sent is a line, and the network stays sound.

``FUZZ_LINES=1000000`` is the long run, ``FUZZ_SEED`` another one.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from servers.chat import commands
from servers.chat.chat import Chat
from servers.chat.client import Client
from servers.chat.commands.capabilities import CAPABILITIES
from servers.chat.network import Network
from servers.chat.protocol import LINE, ProtocolError, parse
from servers.chat.settings import Settings
from servers.chat.user import User
from shared.secret import Login

LINES = int(os.environ.get("FUZZ_LINES", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))

NAMES = [
    "anna",
    "bob",
    "ANNA",
    "carol",
    "#a",
    "#b",
    "#A",
    "@#a",
    "+#b",
    "#",
    "*",
    "a*",
    "?",
    "0",
    ",",
    "none",
]
WORDS = [
    *(
        "+b",
        "-b",
        "+ov",
        "+k-k",
        "+l",
        "+imnst-n",
        "+beI",
        "o",
        "+r",
        "%tcuihsnfdlaor,1",
        "LS",
        "302",
        "END",
        "L",
    ),
    *(
        "C",
        "S",
        "+",
        "-",
        "LATEST",
        "AFTER",
        "TARGETS",
        "timestamp=2020-01-01T00:00:00.000Z",
        "msgid=x",
        "100",
    ),
    *("-1", "99999999999", "x" * 100, "é" * 60, "\u202e", "\x01VERSION\x01", ":", "root", "secret", "PLAIN"),
    *("root:secret", "<3", ">1", "C>1", "!*a*", "T<5", "*!*@*", "a!b@c", "\ud800", "=", "+draft/x"),
]
# Each takes tens of milliseconds, to no use here: what they do is tested elsewhere.
SLOW = {"AUTHENTICATE", "REGISTER", "QUIT"}


@dataclass(eq=False)
class Outbox:
    """Takes what a client is sent, and looks at it."""

    size: int = 0
    lines: list[bytes] = field(default_factory=list[bytes])

    def put(self, data: bytes) -> int:
        """Take lines."""
        assert data.endswith(b"\r\n")
        for line in data.splitlines(keepends=True):
            self._look(line)
        return 0

    def _look(self, line: bytes) -> None:
        tags, text = line.split(b" ", 1) if line[:1] == b"@" else (b"", line)
        assert len(text) <= LINE
        assert len(tags) <= 8191
        assert not any(octet in line[:-2] for octet in b"\0\r\n")
        assert line.endswith(b"\r\n")
        assert line.decode()
        parse(line[:-2])
        self.lines.append(line)

    def flush(self) -> None:
        """Send nothing."""


@dataclass(eq=False)
class Connection:
    """Is none."""

    reason: object = None

    def end_input(self, reason: object) -> None:
        """End nothing."""


def _enter(chat: Chat, nick: str) -> Client:
    user = User(cast("Any", Outbox()), "127.0.0.1", "host", 0.0)
    client = Client(chat, user, cast("Any", Connection()))
    chat.enter(client)
    for line in (f"NICK {nick}", f"USER {nick} 0 * :{nick}"):
        commands.obey(client, parse(line.encode()))
    return client


def _line(chance: random.Random) -> bytes:
    name = chance.choice([each for each in commands.COMMANDS if each not in SLOW])
    params = [chance.choice(NAMES if chance.random() < 0.6 else WORDS) for _ in range(chance.randrange(5))]
    if name == "CAP" and chance.random() < 0.7:
        params = ["REQ", ":" + " ".join(chance.sample(sorted(CAPABILITIES), chance.randrange(6)))]
    line = " ".join([name, *params]).encode("utf-8", "surrogatepass")
    if chance.random() < 0.3:
        line = b"@label=%d;+x=%s " % (chance.randrange(9), chance.choice([b"", rb"\s\:", b"y" * 50])) + line
    if chance.random() < 0.1:
        place = chance.randrange(len(line) + 1)
        line = line[:place] + chance.randbytes(chance.randrange(4)) + line[place:]
    return line


def _check(network: Network) -> None:
    """Assert that whoever is in a channel is known to be, from both sides."""
    for channel in network.channels:
        assert channel.members
        assert all(channel in user.channels for user in channel.members)
        assert channel.invited <= set(network.users)
    for user in network.users:
        assert network.user(user.nick) is user
        assert all(user in channel.members for channel in user.channels)


@pytest.mark.timeout(3600)
def test_lines() -> None:
    """Whatever three users ask for, each line is answered by lines, and no state is left half changed."""
    chance = random.Random(SEED)
    now = iter(range(10**9))
    chat = Chat(Settings(port=0, oper=(Login.parse("root:secret"),)), lambda: next(now) / 10)
    clients = [_enter(chat, nick) for nick in ("anna", "bob", "carol")]
    for number in range(LINES):
        client = chance.choice(clients)
        try:
            message = parse(_line(chance))
        except ProtocolError:
            continue
        before = len(cast("Any", client.user.outbox).lines)
        steps = commands.obey(client, message)
        while steps is not None:
            try:
                next(steps)()
            except StopIteration:
                steps = None
        client.fanout.spill()
        if client.user.caps >= {"labeled-response", "batch"} and message.tags.get("label"):
            assert len(cast("Any", client.user.outbox).lines) > before, message
        if client.leaving:
            chat.leave(client, client.message("QUIT", client.leaving))
            clients.remove(client)
            clients.append(_enter(chat, f"n{number}"))
        if number % 100 == 0:
            _check(chat.network)
    _check(chat.network)
