"""Channels: JOIN, PART, TOPIC, NAMES, LIST."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.numerics import Refused
from servers.chat.protocol import fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from servers.chat.client import Client
    from servers.chat.network import Channel


def join(client: Client, params: Sequence[str]) -> None:
    """JOIN: enter channels, or with "0" leave all."""
    if params[0] == "0":
        for channel in list(client.user.channels):
            _part(client, channel, ())
        return
    for name in _each(params[0]):
        try:
            joined = client.network.join(client.user, name)
        except Refused as refused:
            client.reply(refused.numeric, *refused.params)
            continue
        if joined is not None:
            client.tell(joined.members, client.message("JOIN", joined.name))
            if joined.topic is not None:
                _reply_topic(client, joined)
            _reply_names(client, joined)


def part(client: Client, params: Sequence[str]) -> None:
    """PART: leave channels, perhaps with a reason."""
    for name in _each(params[0]):
        try:
            _part(client, client.network.joined(client.user, name), params[1:2])
        except Refused as refused:
            client.reply(refused.numeric, *refused.params)


def topic(client: Client, params: Sequence[str]) -> None:
    """TOPIC: ask for a channel's topic, or as a member set it."""
    if len(params) > 1:
        channel = client.network.joined(client.user, params[0])
        client.network.set_topic(client.user, channel, params[1], client.server.clock())
        text = channel.topic.text if channel.topic else ""
        client.tell(channel.members, client.message("TOPIC", channel.name, text))
    else:
        _reply_topic(client, client.network.channel(params[0]))


def names(client: Client, params: Sequence[str]) -> None:
    """NAMES: who is in these channels."""
    if not params:
        # RFC 2812 section 3.2.5 would have everybody listed, for which no client asks any more.
        client.reply(numerics.RPL_ENDOFNAMES, "*")
        return
    for name in _each(params[0]):
        try:
            _reply_names(client, client.network.channel(name))
        except Refused:
            client.reply(numerics.RPL_ENDOFNAMES, name)


def list_(client: Client, params: Sequence[str]) -> None:
    """LIST: which channels there are, or what of these."""
    wanted = set(_each(fold(params[0]))) if params else None
    client.reply(numerics.RPL_LISTSTART, "Channel")
    for channel in client.network.channels:
        if wanted is not None and fold(channel.name) not in wanted:
            continue
        client.require_room("LIST")
        about = channel.topic.text if channel.topic else ""
        client.reply(numerics.RPL_LIST, channel.name, str(len(channel.members)), about)
    client.reply(numerics.RPL_LISTEND)


def _each(names: str) -> Iterator[str]:
    """Yield the names in a list of them, each once."""
    return iter(dict.fromkeys(name for name in names.split(",") if name))


def _part(client: Client, channel: Channel, reason: Sequence[str]) -> None:
    client.tell(channel.members, client.message("PART", channel.name, *reason))
    client.network.part(client.user, channel)


def _reply_topic(client: Client, channel: Channel) -> None:
    if channel.topic is None:
        client.reply(numerics.RPL_NOTOPIC, channel.name)
        return
    client.reply(numerics.RPL_TOPIC, channel.name, channel.topic.text)
    client.reply(numerics.RPL_TOPICWHOTIME, channel.name, channel.topic.setter, str(int(channel.topic.time)))


def _reply_names(client: Client, channel: Channel) -> None:
    # "=": a public channel, the only kind there is.
    nicks = (member.nick for member in channel.members)
    client.reply_words(numerics.RPL_NAMREPLY, "=", channel.name, words=nicks)
    client.reply(numerics.RPL_ENDOFNAMES, channel.name)
