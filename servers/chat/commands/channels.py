"""Channels: JOIN, PART, TOPIC, KICK, INVITE."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.commands import lists
from servers.chat.numerics import Refused
from servers.chat.protocol import clip

if TYPE_CHECKING:
    from servers.chat.channel import Channel
    from servers.chat.client import Client, Steps


def join(client: Client, names: str, keys: str = "") -> Steps:
    """JOIN: enter channels, perhaps with their keys, or with "0" leave all."""
    if names == "0":
        for channel in list(client.user.channels):
            _part(client, channel, "")
        return
    for name, key in zip_longest(names.split(","), keys.split(",") if keys else (), fillvalue=""):
        if not name:
            continue
        joined = client.attempt(client.network.join, client.user, name, key, client.chat.clock())
        if joined is not None:
            _announce(client, joined)
            if joined.topic is not None:
                _reply_topic(client, joined)
            yield from lists.reply_names(client, joined)


def part(client: Client, names: str, reason: str = "") -> None:
    """PART: leave channels, perhaps with a reason."""
    for name in filter(None, names.split(",")):
        channel = client.attempt(_own, client, name)
        if channel is not None:
            _part(client, channel, reason)


def topic(client: Client, name: str, text: str | None = None) -> None:
    """TOPIC: ask for a channel's topic, or set it."""
    if text is None:
        _reply_topic(client, client.network.visible(name, client.user))
        return
    channel = _own(client, name)
    if "t" in channel.flags:
        channel.require_operator(client.user)
    client.network.set_topic(client.user, channel, text, client.chat.clock())
    change = client.message("TOPIC", channel.name, channel.topic.text if channel.topic else "")
    client.chat.remember(client, channel, change)
    client.chat.save(client, channel)
    client.tell(channel.members, change)


def kick(client: Client, names: str, nicks: str, reason: str = "") -> None:
    """KICK: make others leave a channel."""
    channels, victims = names.split(","), nicks.split(",")[: client.settings.max_targets]
    if len(channels) == 1:
        channels *= len(victims)
    reason = clip(reason or client.user.nick, client.settings.topic_length)
    for name, victim in zip(channels, victims, strict=False):
        client.attempt(_kick, client, name, victim, reason)


def _kick(client: Client, name: str, nick: str, reason: str) -> None:
    channel = _own(client, name)
    channel.require_operator(client.user)
    victim = client.network.member(channel, nick)
    client.tell(channel.members, client.message("KICK", channel.name, victim.nick, reason))
    client.network.part(victim, channel)


def invite(client: Client, nick: str = "", name: str = "") -> None:
    """INVITE: ask a user into a channel; by itself, list where one has been invited."""
    me, network = client.user, client.network
    if not nick:
        for channel in network.invitations(me):
            client.reply(numerics.RPL_INVITELIST, channel.name)
        client.reply(numerics.RPL_ENDOFINVITELIST)
        return
    if not name:
        raise Refused(numerics.ERR_NEEDMOREPARAMS, "INVITE")
    guest = network.user(nick)
    channel = _own(client, name)
    if guest in channel.members:
        raise Refused(numerics.ERR_USERONCHANNEL, guest.nick, channel.name)
    if "i" in channel.flags:
        channel.require_operator(me)
    channel.invited.add(guest)
    client.reply(numerics.RPL_INVITING, guest.nick, channel.name)
    if guest.away:
        client.reply(numerics.RPL_AWAY, guest.nick, guest.away)
    message = client.message("INVITE", guest.nick, channel.name)
    client.tell([guest], message)
    client.tell(
        [other for other in channel.members if other is not me and "invite-notify" in other.caps], message
    )


def _own(client: Client, name: str) -> Channel:
    """Return a channel that the user is in, or raise 403 or 442."""
    channel = client.network.visible(name, client.user)
    channel.require_member(client.user)
    return channel


def _announce(client: Client, channel: Channel) -> None:
    """Tell all members who has joined, each in the words it has asked for."""
    me = client.user
    short = client.message("JOIN", channel.name)
    if any("extended-join" in each.caps for each in channel.members):
        long = client.message("JOIN", channel.name, me.account or "*", me.realname)
        client.tell([each for each in channel.members if "extended-join" in each.caps], long)
        client.tell([each for each in channel.members if "extended-join" not in each.caps], short)
    else:
        client.tell(channel.members, short)
    if me.away:
        others = [each for each in channel.members if each is not me and "away-notify" in each.caps]
        client.tell(others, client.message("AWAY", me.away))
    if "o" in channel.members[me] and channel.founder:
        client.tell(channel.members, client.from_server("MODE", channel.name, "+o", me.nick))


def _part(client: Client, channel: Channel, reason: str) -> None:
    params = (channel.name, reason) if reason else (channel.name,)
    client.tell(channel.members, client.message("PART", *params))
    client.network.part(client.user, channel)


def _reply_topic(client: Client, channel: Channel) -> None:
    if channel.topic is None:
        client.reply(numerics.RPL_NOTOPIC, channel.name)
        return
    client.reply(numerics.RPL_TOPIC, channel.name, channel.topic.text)
    client.reply(numerics.RPL_TOPICWHOTIME, channel.name, channel.topic.setter, str(int(channel.topic.time)))
