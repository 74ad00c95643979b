"""Talking: PRIVMSG, NOTICE, TAGMSG."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.channel import PREFIXES
from servers.chat.numerics import Refused

if TYPE_CHECKING:
    from servers.chat.client import Client
    from servers.chat.protocol import Message

_MODES = {prefix: mode for mode, prefix in PREFIXES.items()}
STATUSMSG = "".join(_MODES)
"""What before a channel's name means only those of its members who are at least that."""


def privmsg(client: Client, targets: str = "", text: str = "") -> None:
    """PRIVMSG: say something to users and channels."""
    if not targets:
        raise Refused(numerics.ERR_NORECIPIENT, "No recipient given (PRIVMSG)")
    if not text:
        raise Refused(numerics.ERR_NOTEXTTOSEND)
    _say(client, "PRIVMSG", targets, text)


def notice(client: Client, targets: str = "", text: str = "") -> None:
    """NOTICE: say something that no program answers."""
    # RFC 2812 section 3.3.2: not even by an error, so that two programs do not go on for ever.
    if client.user.registered and targets and text:
        with contextlib.suppress(Refused):
            _say(client, "NOTICE", targets, text)


def tagmsg(client: Client, targets: str = "") -> None:
    """TAGMSG: send nothing but tags (https://ircv3.net/specs/extensions/message-tags)."""
    if not targets:
        raise Refused(numerics.ERR_NORECIPIENT, "No recipient given (TAGMSG)")
    _say(client, "TAGMSG", targets)


def _say(client: Client, command: str, targets: str, *text: str) -> None:
    """Deliver a message to each of the targets."""
    names = list(dict.fromkeys(name for name in targets.split(",") if name))
    if len(names) > client.settings.max_targets:
        raise Refused(numerics.ERR_TOOMANYTARGETS, names[client.settings.max_targets])
    user = client.user
    user.spoke = client.chat.clock()
    # RFC 2812 has none for a client's own words, but tags that begin with "+" are for other clients.
    mine = {}
    if "message-tags" in user.caps and client.request.tags:
        mine = {name: value for name, value in client.request.tags.items() if name[:1] == "+"}
    for name in names:
        to = _to_channel if name.lstrip(STATUSMSG).startswith("#") else _to_user
        try:
            message = to(client, command, name, text, mine)
        except Refused as refused:
            if command != "NOTICE":
                client.refuse(refused)
        else:
            if "echo-message" in user.caps:
                client.send(message)


def _to_channel(
    client: Client, command: str, name: str, text: tuple[str, ...], tags: dict[str, str]
) -> Message:
    user = client.user
    bare = name.lstrip(STATUSMSG)
    status = name[: len(name) - len(bare)][:1]
    channel = client.network.channel(bare)
    channel.require_voice(user)
    if "C" in channel.flags and text and text[0][:1] == "\x01" and not text[0].startswith("\x01ACTION"):
        raise Refused(numerics.ERR_CANNOTSENDTOCHAN, channel.name)
    message = client.message(command, status + channel.name, *text, tags=tags)
    if not status:
        client.chat.remember(client, channel, message)
    if not status and command != "TAGMSG":
        client.fanout.relay(channel.members, message)
        return message
    ranks = list(PREFIXES)
    enough = set(ranks[: ranks.index(_MODES[status]) + 1]) if status else None
    receivers = [
        each
        for each, modes in channel.members.items()
        if each is not user
        and (enough is None or enough & set(modes))
        and (command != "TAGMSG" or "message-tags" in each.caps)
    ]
    client.tell(receivers, message)
    return message


def _to_user(client: Client, command: str, name: str, text: tuple[str, ...], tags: dict[str, str]) -> Message:
    receiver = client.network.user(name)
    message = client.message(command, receiver.nick, *text, tags=tags)
    if command != "TAGMSG" or "message-tags" in receiver.caps:
        client.tell([receiver], message, answers=False)
    client.chat.remember_privately(client.user, receiver, message)
    if receiver.away and command == "PRIVMSG":
        client.reply(numerics.RPL_AWAY, receiver.nick, receiver.away)
    return message
