"""Coming, being there, and going: PASS, NICK, USER, PING, PONG, QUIT."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.commands import server
from servers.chat.numerics import Refused
from servers.chat.protocol import clip

if TYPE_CHECKING:
    from servers.chat.client import Client

# "!" and "@" would let a user pose as another; the rest would only confuse.
_NOT_USERNAME = re.compile(r"[^A-Za-z0-9._-]")


def password(client: Client, given: str) -> None:
    """PASS: the password of the server, where it has one; it comes before NICK and USER."""
    client.password = given


def nick(client: Client, new: str = "") -> None:
    """NICK: take a nick, or change it."""
    if not new:
        raise Refused(numerics.ERR_NONICKNAMEGIVEN)
    user, old = client.user, client.user.nick
    client.wanted = new
    if new == old:
        return
    if user.registered and client.chat.is_reserved(new, user.account):
        raise Refused(numerics.ERR_NICKRESERVED, new)
    change = client.message("NICK", new)
    client.network.rename(user, new, client.chat.clock())
    if not user.registered:
        register(client)
        return
    client.tell([user, *client.network.neighbours(user)], change)
    if new.lower() != old.lower():
        client.tell_watchers(old, online=False)
        client.tell_watchers(new, online=True)


def user(client: Client, username: str, _mode: str, _unused: str, realname: str) -> None:
    """USER: say who is behind the nick."""
    if not (username and realname):
        raise Refused(numerics.ERR_NEEDMOREPARAMS, "USER")
    username = _NOT_USERNAME.sub("", username)[: client.settings.username_length]
    if not username:
        raise Refused(numerics.ERR_INVALIDUSERNAME)
    client.user.username = username
    client.user.realname = clip(realname, client.settings.realname_length)
    register(client)


def ping(client: Client, token: str) -> None:
    """PING: ask whether the server is there."""
    if not token:
        raise Refused(numerics.ERR_NOORIGIN)
    client.send(client.from_server("PONG", client.settings.name, token))


def pong(_client: Client, _token: str = "") -> None:
    """PONG: say that the client is there, as any line does."""


def quit_(client: Client, reason: str = "") -> None:
    """QUIT: end the conversation."""
    client.leaving = f"Quit: {reason}"


def register(client: Client) -> None:
    """Let the client in, once there is all it takes."""
    me, settings = client.user, client.settings
    if me.registered or client.negotiating or not (me.nick and me.username):
        return
    if settings.password is not None:
        may = client.chat.admission.may_try(me.address, client.heard)
        if not (may and settings.password.matches(client.password or "")):
            client.reply(numerics.ERR_PASSWDMISMATCH)
            client.leaving = "Bad password"
            return
        client.chat.admission.was_right(me.address)
    if client.chat.is_reserved(me.nick, me.account):
        reserved = client.network.give_up(me)
        raise Refused(numerics.ERR_NICKRESERVED, reserved)
    client.network.register(me)
    created = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(client.chat.created))
    client.reply(numerics.RPL_WELCOME, f"Welcome to the {settings.network} network, {me.source}")
    client.reply(numerics.RPL_YOURHOST, f"Your host is {settings.name}, running version {server.VERSION}")
    client.reply(numerics.RPL_CREATED, f"This server was started {created}")
    client.reply(numerics.RPL_MYINFO, settings.name, server.VERSION, *server.MODE_LETTERS)
    server.reply_isupport(client)
    server.lusers(client)
    server.motd(client)
    client.tell_watchers(me.nick, online=True)
