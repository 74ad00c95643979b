"""Operators of the network: OPER, KILL, REHASH, WALLOPS."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.numerics import Refused
from servers.chat.protocol import clip

if TYPE_CHECKING:
    from servers.chat.client import Client, Steps

_log = logging.getLogger(__name__)


def oper(client: Client, name: str, password: str) -> None:
    """OPER: become an operator."""
    chat, user = client.chat, client.user
    if not (chat.admission.may_try(user.address, client.heard) and chat.is_operator(name, password)):
        _log.warning("%s failed to become operator %s", user.source, name)
        raise Refused(numerics.ERR_PASSWDMISMATCH)
    chat.admission.was_right(user.address)
    _log.info("%s became operator %s", user.source, name)
    client.reply(numerics.RPL_YOUREOPER)
    if not user.is_operator:
        user.modes.add("o")
        client.send(client.message("MODE", user.nick, "+o"))


def kill(client: Client, nick: str, reason: str = "") -> None:
    """KILL: end a user's connection."""
    me, victim = client.user, client.network.user(nick)
    why = f"Killed ({me.nick} ({clip(reason or 'no reason given', client.settings.topic_length)}))"
    _log.info("%s killed %s: %s", me.source, victim.source, reason)
    client.chat.end(victim, why)


def rehash(client: Client) -> Steps:
    """REHASH: read settings, the message of the day and certificates anew, as SIGHUP does."""
    client.reply(numerics.RPL_REHASHING, client.settings.motd or "*")
    yield client.chat.reload_all


def wallops(client: Client, text: str) -> None:
    """WALLOPS: tell all who want to hear from operators (mode +w)."""
    message = client.message("WALLOPS", text)
    client.tell([user for user in client.network.users if "w" in user.modes], message)
