"""A channel: who is in it, its modes, and what they let whom do. No bytes, no sockets, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from servers.chat import numerics
from servers.chat.history import History
from servers.chat.masks import matches_any
from servers.chat.numerics import Refused

if TYPE_CHECKING:
    from servers.chat.user import User

__all__ = ["FLAGS", "LISTS", "PREFIXES", "Channel", "Entry", "Topic"]

PREFIXES = {"o": "@", "v": "+"}
"""What members may be, the most powerful first, and how that is shown: operators, and those with a voice."""
LISTS = "beI"
"""Modes that are lists of masks: bans, exceptions from these, and who needs no invitation."""
FLAGS = "Cimnrst"
"""No CTCP; invited only; moderated; no messages from outside; registered; secret; topic by operators."""


class Topic(NamedTuple):
    """What a channel is about, who said so, and when, in seconds since the epoch."""

    text: str
    setter: str
    time: float


class Entry(NamedTuple):
    """Who put a mask on a list, and when, in seconds since the epoch."""

    setter: str
    time: float


@dataclass(eq=False, slots=True)
class Channel:
    """A channel lives as long as somebody is in it, or for ever once it is registered.

    Args:
        name: as its first member wrote it.
        created: when, in seconds since the epoch.
        length: messages that its history holds.
    """

    name: str
    created: float
    length: int = 0
    topic: Topic | None = None
    members: dict[User, str] = field(default_factory=dict["User", str])
    """What of ``PREFIXES`` each member is, in that order; the members in the order of joining."""
    flags: set[str] = field(default_factory=lambda: {"n", "t"})
    key: str = ""
    limit: int = 0
    lists: dict[str, dict[str, Entry]] = field(
        default_factory=lambda: {mode: dict[str, Entry]() for mode in LISTS}
    )
    invited: set[User] = field(default_factory=set["User"])
    founder: str = ""
    """The account that has registered it."""
    history: History = field(init=False)

    def __post_init__(self) -> None:
        self.history = History(self.length)

    def prefix(self, user: User, *, every: bool = False) -> str:
        """Return what stands before a member's nick: the highest of its prefixes, or every one of them."""
        modes = self.members.get(user, "")
        return "".join([PREFIXES[mode] for mode in (modes if every else modes[:1])]) if modes else ""

    def is_visible_to(self, user: User) -> bool:
        """Tell whether the user may know that the channel exists."""
        return "s" not in self.flags or user in self.members or user.is_operator

    def is_operator(self, user: User) -> bool:
        """Tell whether the user is an operator of this channel."""
        return "o" in self.members.get(user, "")

    def require_member(self, user: User) -> None:
        """Raise 442 unless the user is in the channel."""
        if user not in self.members:
            raise Refused(numerics.ERR_NOTONCHANNEL, self.name)

    def require_operator(self, user: User) -> None:
        """Raise 482 unless the user is an operator of this channel."""
        if not self.is_operator(user):
            raise Refused(numerics.ERR_CHANOPRIVSNEEDED, self.name)

    def require_admission(self, user: User, key: str) -> None:
        """Raise 471, 473, 474 or 475 unless the user may join; an invitation is good for all but a ban."""
        if self.founder and user.account == self.founder:
            return
        if self.is_banned(user):
            raise Refused(numerics.ERR_BANNEDFROMCHAN, self.name)
        if user in self.invited:
            return
        if "i" in self.flags and not matches_any(self.lists["I"], user.source):
            raise Refused(numerics.ERR_INVITEONLYCHAN, self.name)
        if self.key and key != self.key:
            raise Refused(numerics.ERR_BADCHANNELKEY, self.name)
        if self.limit and len(self.members) >= self.limit:
            raise Refused(numerics.ERR_CHANNELISFULL, self.name)

    def require_voice(self, user: User) -> None:
        """Raise 404 unless the user may speak here."""
        mine = self.members.get(user)
        if mine:
            return
        if (mine is None and "n" in self.flags) or "m" in self.flags or self.is_banned(user):
            raise Refused(numerics.ERR_CANNOTSENDTOCHAN, self.name)

    def is_banned(self, user: User) -> bool:
        """Tell whether a ban matches the user, and no exception."""
        bans = self.lists["b"]
        return bool(bans) and matches_any(bans, user.source) and not matches_any(self.lists["e"], user.source)

    def grant(self, user: User, mode: str, *, on: bool) -> bool:
        """Give a member one of ``PREFIXES`` or take it away; tell whether that changed anything."""
        before = self.members[user]
        now = "".join(each for each in PREFIXES if (on if each == mode else each in before))
        self.members[user] = now
        return now != before

    def show_modes(self, user: User) -> list[str]:
        """Return the modes as MODE writes them; to members with their parameters."""
        letters = "".join(sorted(self.flags)) + "k" * bool(self.key) + "l" * bool(self.limit)
        params = [self.key] * bool(self.key) + [str(self.limit)] * bool(self.limit)
        return [f"+{letters}", *(params if user in self.members else ())]
