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
    from servers.chat.user import User


def join(client: Client, names: str, keys: str = "") -> Steps:
    """JOIN: enter channels, perhaps with their keys, or with "0" leave all."""
    if names == "0":
        for channel in list(client.user.channels):
            _part(client, channel, "")
        return
    for name, key in zip_longest(names.split(","), keys.split(",") if keys else (), fillvalue=""):
        if not name:
            continue
        try:
            joined = client.network.join(client.user, name, key, client.chat.clock())
        except Refused as refused:
            client.refuse(refused)
            continue
        if joined is not None:
            _announce(client, joined)
            if joined.topic is not None:
                _reply_topic(client, joined)
            yield from lists.reply_names(client, joined)


def part(client: Client, names: str, reason: str = "") -> None:
    """PART: leave channels, perhaps with a reason."""
    for name in filter(None, names.split(",")):
        try:
            channel = client.network.channel(name)
            channel.require_member(client.user)
            _part(client, channel, reason)
        except Refused as refused:
            client.refuse(refused)


def topic(client: Client, name: str, text: str | None = None) -> None:
    """TOPIC: ask for a channel's topic, or set it."""
    channel = client.network.visible(name, client.user)
    if text is None:
        _reply_topic(client, channel)
        return
    channel.require_member(client.user)
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
        try:
            _kick(client, client.network.visible(name, client.user), victim, reason)
        except Refused as refused:
            client.refuse(refused)


def _kick(client: Client, channel: Channel, nick: str, reason: str) -> None:
    channel.require_member(client.user)
    channel.require_operator(client.user)
    victim = member(client, channel, nick)
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
    channel = network.visible(name, me)
    channel.require_member(me)
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


def member(client: Client, channel: Channel, nick: str) -> User:
    """Return a user who is in the channel, or raise 401 or 441."""
    user = client.network.user(nick)
    if user not in channel.members:
        raise Refused(numerics.ERR_USERNOTINCHANNEL, user.nick, channel.name)
    return user


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
