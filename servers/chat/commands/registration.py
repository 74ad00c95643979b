"""Coming, being there, and going: CAP, PASS, NICK, USER, PING, PONG, QUIT."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.commands import queries
from servers.chat.numerics import Refused
from servers.chat.protocol import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servers.chat.client import Client

# "!" and "@" would let a user pose as another; the rest would only confuse.
_NOT_USERNAME = re.compile(r"[^A-Za-z0-9._-]")


def cap(client: Client, params: Sequence[str]) -> None:
    """CAP: there is no capability yet to be had, but clients ask and wait.

    https://ircv3.net/specs/extensions/capability-negotiation.html: LS and REQ hold registration until END.
    """
    what = params[0].upper()
    if what in {"LS", "REQ"}:
        client.negotiating = not client.user.registered
    if what in {"LS", "LIST"}:
        _cap(client, what, "")
    elif what == "REQ":
        _cap(client, "NAK", params[1] if len(params) > 1 else "")
    elif what == "END":
        client.negotiating = False
        _register(client)
    else:
        raise Refused(numerics.ERR_INVALIDCAPCMD, params[0])


def _cap(client: Client, what: str, names: str) -> None:
    client.send(Message("CAP", (client.user.nick or "*", what, names), client.settings.name))


def password(client: Client, _params: Sequence[str]) -> None:
    """PASS: accepted and not looked at, since some clients send one whatever they are told."""
    if client.user.registered:
        raise Refused(numerics.ERR_ALREADYREGISTERED)


def nick(client: Client, params: Sequence[str]) -> None:
    """NICK: take a nick, or change it."""
    if not (params and params[0]):
        raise Refused(numerics.ERR_NONICKNAMEGIVEN)
    user, new = client.user, params[0]
    if new == user.nick:
        return
    change = client.message("NICK", new)
    client.network.rename(user, new)
    if user.registered:
        client.tell({user} | client.network.neighbours(user), change)
    else:
        _register(client)


def user(client: Client, params: Sequence[str]) -> None:
    """USER: say who is behind the nick."""
    if client.user.registered:
        raise Refused(numerics.ERR_ALREADYREGISTERED)
    username = _NOT_USERNAME.sub("", params[0])[: client.settings.username_length]
    if not (username and params[3]):
        raise Refused(numerics.ERR_NEEDMOREPARAMS, "USER")
    client.user.username = username
    client.user.realname = params[3]
    _register(client)


def ping(client: Client, params: Sequence[str]) -> None:
    """PING: the client asks whether the server is there."""
    if not params[0]:
        raise Refused(numerics.ERR_NOORIGIN)
    client.send(Message("PONG", (client.settings.name, params[0]), client.settings.name))


def pong(_client: Client, _params: Sequence[str]) -> None:
    """PONG: the client is there, as any line proves."""


def quit_(client: Client, params: Sequence[str]) -> None:
    """QUIT: the conversation ends."""
    client.leaving = f"Quit: {params[0] if params else ''}"


def _register(client: Client) -> None:
    """Let the client in, once there is all it takes."""
    me = client.user
    if me.registered or client.negotiating or not (me.nick and me.username):
        return
    me.registered = True
    settings, version = client.settings, queries.VERSION
    created = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(client.server.created))
    client.reply(numerics.RPL_WELCOME, f"Welcome to the {settings.network} network, {me.source}")
    client.reply(numerics.RPL_YOURHOST, f"Your host is {settings.name}, running version {version}")
    client.reply(numerics.RPL_CREATED, f"This server was started {created}")
    # No user modes, and one letter of channel modes that can be asked about.
    client.reply(numerics.RPL_MYINFO, settings.name, version, "-", "b")
    client.reply(numerics.RPL_ISUPPORT, *queries.isupport(settings))
    queries.lusers(client, ())
    queries.motd(client, ())
