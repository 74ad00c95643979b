"""The network: users, channels, and their rules. No bytes, no sockets, no clock.

Nothing here is safe for threads. The chat owns one lock, and whoever touches a network holds it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from servers.chat import numerics
from servers.chat.channel import Channel, Topic
from servers.chat.masks import matches
from servers.chat.numerics import Refused
from servers.chat.protocol import clip, fold, is_channel, is_nick

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from servers.chat.settings import Settings
    from servers.chat.user import User

__all__ = ["Network", "Past"]

# Ergo's number: enough for "who was that just now", which is all that WHOWAS is good for.
_PAST = 100


class Past(NamedTuple):
    """A user who has left, or goes by another nick; ``time`` is when, in seconds since the epoch."""

    nick: str
    username: str
    host: str
    realname: str
    account: str
    time: float


class Network:
    """Who is there, and who is where.

    Args:
        settings: the limits of names, lists, and channels per user.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._users: dict[str, User] = {}  # by nick, from the moment it is claimed
        self._channels: dict[str, Channel] = {}
        self._watchers: dict[str, dict[User, None]] = {}  # by nick
        self._past: deque[Past] = deque(maxlen=_PAST)
        self._registered: set[User] = set()
        self.most = 0
        """As many users as there have ever been at a time."""

    # -- who is there ------------------------------------------------------------------------------------------

    @property
    def users(self) -> Collection[User]:
        """All registered users."""
        return self._registered

    def user(self, nick: str) -> User:
        """Return the registered user of that nick, or raise 401."""
        user = self._users.get(fold(nick))
        if user is None or not user.registered:
            raise Refused(numerics.ERR_NOSUCHNICK, nick)
        return user

    def is_taken(self, nick: str, user: User) -> bool:
        """Tell whether somebody else has that nick, or is about to."""
        return self._users.get(fold(nick), user) is not user

    def rename(self, user: User, nick: str, now: float) -> None:
        """Give the user a nick, or another; raise 432 or 433."""
        if not is_nick(nick) or len(nick) > self._settings.nick_length:
            raise Refused(numerics.ERR_ERRONEUSNICKNAME, nick)
        if self._users.setdefault(fold(nick), user) is not user:
            raise Refused(numerics.ERR_NICKNAMEINUSE, nick)
        if user.nick and fold(user.nick) != fold(nick):
            self._remember(user, now)
            del self._users[fold(user.nick)]
        user.nick = nick

    def give_up(self, user: User) -> str:
        """Take the nick from a user who is not registered, and return it."""
        del self._users[fold(user.nick)]
        nick, user.nick = user.nick, ""
        return nick

    def register(self, user: User) -> None:
        """Make the user known to others."""
        user.registered = True
        self._registered.add(user)
        self.most = max(self.most, len(self._registered))

    def past(self, nick: str) -> list[Past]:
        """Return who went by that nick, which may be a mask, the latest first, or raise 406."""
        found = [past for past in reversed(self._past) if matches(nick, past.nick)]
        if not found:
            raise Refused(numerics.ERR_WASNOSUCHNICK, nick)
        return found

    def neighbours(self, user: User) -> set[User]:
        """Return everybody who shares a channel with the user, the user excepted."""
        found: set[User] = set()
        for channel in user.channels:
            found.update(channel.members)
        found.discard(user)
        return found

    def leave(self, user: User, now: float) -> set[User]:
        """Forget the user, and return who were the neighbours."""
        found = self.neighbours(user)
        for channel in list(user.channels):
            self.part(user, channel)
        for nick in list(user.monitored.values()):
            self.unwatch(user, nick)
        for channel in self._channels.values():
            channel.invited.discard(user)
        if user.nick:
            self._remember(user, now)
            del self._users[fold(user.nick)]
        self._registered.discard(user)
        return found

    def _remember(self, user: User, now: float) -> None:
        if user.registered:
            past = (user.nick, user.username, user.host, user.realname, user.account)
            self._past.append(Past(*past, now))

    # -- who watches whom (MONITOR) ----------------------------------------------------------------------------

    def watch(self, user: User, nick: str) -> bool:
        """Let the user watch a nick; tell whether there was room on the list for it."""
        if fold(nick) not in user.monitored:
            if len(user.monitored) >= self._settings.monitor_limit:
                return False
            user.monitored[fold(nick)] = nick
            self._watchers.setdefault(fold(nick), {})[user] = None
        return True

    def unwatch(self, user: User, nick: str) -> None:
        """Let the user watch a nick no more."""
        if user.monitored.pop(fold(nick), None) is not None:
            watchers = self._watchers[fold(nick)]
            del watchers[user]
            if not watchers:
                del self._watchers[fold(nick)]

    def watchers(self, nick: str) -> Collection[User]:
        """Return who watches that nick."""
        return self._watchers.get(fold(nick), ())

    # -- who is where ------------------------------------------------------------------------------------------

    @property
    def channels(self) -> list[Channel]:
        """All channels in which somebody is."""
        return [channel for channel in self._channels.values() if channel.members]

    def channel(self, name: str) -> Channel:
        """Return the channel of that name, or raise 403."""
        channel = self._channels.get(fold(name))
        if channel is None:
            raise Refused(numerics.ERR_NOSUCHCHANNEL, name)
        return channel

    def visible(self, name: str, user: User) -> Channel:
        """Return the channel of that name, or raise 403, as well if the user may not know of it."""
        channel = self.channel(name)
        if not channel.is_visible_to(user):
            raise Refused(numerics.ERR_NOSUCHCHANNEL, name)
        return channel

    def member(self, channel: Channel, nick: str) -> User:
        """Return a user who is in the channel, or raise 401 or 441."""
        user = self.user(nick)
        if user not in channel.members:
            raise Refused(numerics.ERR_USERNOTINCHANNEL, user.nick, channel.name)
        return user

    def found(self, channel: Channel) -> None:
        """Add a channel that outlives its members."""
        self._channels[fold(channel.name)] = channel

    def join(self, user: User, name: str, key: str, now: float) -> Channel | None:
        """Take the user into a channel, made if need be; raise 403, 405, 471, 473, 474, 475 or 476.

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
            channel = self._channels[fold(name)] = Channel(name, now, self._settings.history_length)
            modes = "o"
        else:
            channel.require_admission(user, key)
            modes = "o" if channel.founder and channel.founder == user.account else ""
        channel.invited.discard(user)
        channel.members[user] = modes
        user.channels[channel] = None
        return channel

    def part(self, user: User, channel: Channel) -> None:
        """Take the user out of a channel, which ends with its last member unless it is registered."""
        del user.channels[channel]
        del channel.members[user]
        if not channel.members and not channel.founder:
            del self._channels[fold(channel.name)]

    def set_topic(self, user: User, channel: Channel, text: str, now: float) -> None:
        """Give the channel a topic, cut to what is allowed; an empty one takes it away."""
        text = clip(text, self._settings.topic_length)
        channel.topic = Topic(text, user.source, now) if text else None

    def invitations(self, user: User) -> Iterator[Channel]:
        """Yield the channels into which the user has been invited."""
        return (channel for channel in self._channels.values() if user in channel.invited)
