"""The network: users, channels, and their rules. No bytes, no sockets, no clock.

Nothing here is safe for threads. The server owns one lock, and whoever touches a network holds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.numerics import Refused
from servers.chat.protocol import clip, fold, is_channel, is_nick

if TYPE_CHECKING:
    from framework.outbox import Outbox
    from servers.chat.settings import Settings

__all__ = ["Channel", "Network", "Topic", "User"]


@dataclass(eq=False, slots=True)
class User:
    """Whoever is connected; known to others once registered.

    Args:
        outbox: where what the user shall hear is put; the network itself never looks into it.
        host: where the user is connected from.
        signon: when that was, in seconds since the epoch.
    """

    outbox: Outbox
    host: str
    signon: float
    nick: str = ""
    username: str = ""
    realname: str = ""
    registered: bool = False
    spoke: float = field(init=False)
    # In the order of joining; a dict, since a set has none.
    channels: dict[Channel, None] = field(init=False, default_factory=dict["Channel", None])

    def __post_init__(self) -> None:
        self.spoke = self.signon

    @property
    def source(self) -> str:
        """Whom the user's messages are from, as others see it."""
        return f"{self.nick}!{self.username}@{self.host}"


@dataclass(frozen=True, slots=True)
class Topic:
    """What a channel is about, who said so, and when, in seconds since the epoch."""

    text: str
    setter: str
    time: float


@dataclass(eq=False, slots=True)
class Channel:
    """A channel lives as long as somebody is in it."""

    name: str
    topic: Topic | None = None
    members: dict[User, None] = field(default_factory=dict[User, None])


class Network:
    """Who is there, and who is where.

    Args:
        settings: the limits of names, and of channels per user.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._users: dict[str, User] = {}  # by nick, from the moment it is claimed
        self._channels: dict[str, Channel] = {}

    @property
    def users(self) -> list[User]:
        """All registered users."""
        return [user for user in self._users.values() if user.registered]

    @property
    def channels(self) -> list[Channel]:
        """All channels."""
        return list(self._channels.values())

    def user(self, nick: str) -> User:
        """Return the registered user of that nick, or raise 401."""
        user = self._users.get(fold(nick))
        if user is None or not user.registered:
            raise Refused(numerics.ERR_NOSUCHNICK, nick)
        return user

    def channel(self, name: str) -> Channel:
        """Return the channel of that name, or raise 403."""
        channel = self._channels.get(fold(name))
        if channel is None:
            raise Refused(numerics.ERR_NOSUCHCHANNEL, name)
        return channel

    def rename(self, user: User, nick: str) -> None:
        """Give the user a nick, or another; raise 432 or 433."""
        if not is_nick(nick) or len(nick) > self._settings.nick_length:
            raise Refused(numerics.ERR_ERRONEUSNICKNAME, nick)
        if self._users.setdefault(fold(nick), user) is not user:
            raise Refused(numerics.ERR_NICKNAMEINUSE, nick)
        if user.nick and fold(user.nick) != fold(nick):
            del self._users[fold(user.nick)]
        user.nick = nick

    def join(self, user: User, name: str) -> Channel | None:
        """Take the user into a channel, made if need be; raise 403, 405 or 476.

        Returns:
            The channel, or ``None`` if the user was there already.
        """
        if not name.startswith("#"):
            raise Refused(numerics.ERR_NOSUCHCHANNEL, name)
        octets = self._settings.channel_length
        if not is_channel(name) or clip(name, octets) != name:
            raise Refused(numerics.ERR_BADCHANMASK, name)
        channel = self._channels.get(fold(name))
        if channel is not None and user in channel.members:
            return None
        if len(user.channels) >= self._settings.channels_per_user:
            raise Refused(numerics.ERR_TOOMANYCHANNELS, name)
        if channel is None:
            channel = self._channels[fold(name)] = Channel(name)
        channel.members[user] = None
        user.channels[channel] = None
        return channel

    def joined(self, user: User, name: str) -> Channel:
        """Return the channel of that name if the user is in it, or raise 403 or 442."""
        channel = self.channel(name)
        if user not in channel.members:
            raise Refused(numerics.ERR_NOTONCHANNEL, name)
        return channel

    def part(self, user: User, channel: Channel) -> None:
        """Take the user out of a channel, which ends with its last member."""
        del user.channels[channel]
        del channel.members[user]
        if not channel.members:
            del self._channels[fold(channel.name)]

    def set_topic(self, user: User, channel: Channel, text: str, time: float) -> None:
        """Give the channel a topic, cut to what is allowed; an empty one takes it away."""
        text = clip(text, self._settings.topic_length)
        channel.topic = Topic(text, user.source, time) if text else None

    def neighbours(self, user: User) -> set[User]:
        """Return everybody who shares a channel with the user, the user excepted."""
        found = {member for channel in user.channels for member in channel.members}
        return found - {user}

    def leave(self, user: User) -> set[User]:
        """Forget the user, and return who were the neighbours."""
        found = self.neighbours(user)
        for channel in list(user.channels):
            self.part(user, channel)
        if user.nick:
            del self._users[fold(user.nick)]
        return found
