"""Lists: who is in a channel (NAMES), and which channels there are (LIST)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.masks import is_mask, matches
from servers.chat.protocol import LINE, Message, fold, pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.chat.channel import Channel
    from servers.chat.client import Client, Steps

ELIST = "CMNTU"
"""By what LIST can choose: creation, mask, no mask, topic, users (https://modern.ircdocs.horse/#elist-parameter)."""


def names(client: Client, channels: str = "") -> Steps | None:
    """NAMES: who is in a channel."""
    if not channels:
        # RFC 2812 section 3.2.5 would have everybody listed, for which no client asks any more.
        client.reply(numerics.RPL_ENDOFNAMES, "*")
        return None
    name, *_ = channels.split(",")
    found = [each for each in client.network.channels if fold(each.name) == fold(name)]
    if not found or not found[0].is_visible_to(client.user):
        client.reply(numerics.RPL_ENDOFNAMES, name)
        return None
    return reply_names(client, found[0])


def reply_names(client: Client, channel: Channel) -> Steps:
    """Tell the client who is in a channel, as far as that may be known."""
    me = client.user
    inside = me in channel.members
    every, hosts = "multi-prefix" in me.caps, "userhost-in-names" in me.caps
    words = [
        channel.prefix(each, every=every) + (each.source if hosts else each.nick)
        for each in channel.members
        if inside or "i" not in each.modes
    ]
    head = (me.nick, "@" if "s" in channel.flags else "=", channel.name)
    code, name = numerics.RPL_NAMREPLY.code, client.settings.name
    room = LINE - len(Message(code, (*head, ""), name).encode())
    yield from client.stream([Message(code, (*head, text), name) for text in pack(words, room)])
    client.reply(numerics.RPL_ENDOFNAMES, channel.name)


def list_(client: Client, choice: str = "", _server: str = "") -> Steps:
    """LIST: which channels there are: all, those named, or those that meet conditions."""
    tests = [_test(each, client.chat.clock()) for each in choice.split(",") if each]
    plain = [test for named, test in tests if named]
    others = [test for named, test in tests if not named]
    client.reply(numerics.RPL_LISTSTART, "Channel")
    yield from client.stream(
        [
            _item(client, channel)
            for channel in client.network.channels
            if channel.is_visible_to(client.user)
            and (not plain or any(test(channel) for test in plain))
            and all(test(channel) for test in others)
        ]
    )
    client.reply(numerics.RPL_LISTEND)


def _test(condition: str, now: float) -> tuple[bool, Callable[[Channel], bool]]:
    """Return whether a condition names channels, and whether a channel meets it."""
    if condition[:1] in {"<", ">"} and condition[1:].isdecimal():
        return False, _compare(condition, lambda channel: len(channel.members))
    if condition[:2] in {"C<", "C>"} and condition[2:].isdecimal():
        return False, _compare(condition[1:], lambda channel: (now - channel.created) / 60)
    if condition[:2] in {"T<", "T>"} and condition[2:].isdecimal():
        compare = _compare(
            condition[1:], lambda channel: (now - channel.topic.time) / 60 if channel.topic else 0
        )
        return False, lambda channel: channel.topic is not None and compare(channel)
    if condition[0] == "!":
        return False, lambda channel: not matches(condition[1:], channel.name)
    if is_mask(condition):
        return True, lambda channel: matches(condition, channel.name)
    return True, lambda channel: fold(channel.name) == fold(condition)


def _compare(condition: str, value: Callable[[Channel], float]) -> Callable[[Channel], bool]:
    bound = int(condition[1:10])
    if condition[0] == "<":
        return lambda channel: value(channel) < bound
    return lambda channel: value(channel) > bound


def _item(client: Client, channel: Channel) -> Message:
    about = channel.topic.text if channel.topic else ""
    params = (client.user.nick, channel.name, str(len(channel.members)), about)
    return Message(numerics.RPL_LIST.code, params, client.settings.name)
