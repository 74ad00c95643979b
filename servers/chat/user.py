"""A user: who is connected, and what others may know of it. No bytes, no sockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from servers.chat.protocol import ACCOUNT, TAGS, TIME

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from framework.outbox import Outbox
    from servers.chat.channel import Channel

__all__ = ["User"]


@dataclass(eq=False, slots=True)
class User:
    """Whoever is connected; known to others once registered.

    Args:
        outbox: where what the user shall hear is put; nothing here looks into it.
        address: where the user is connected from.
        host: what others see of that.
        signon: when that was, in seconds since the epoch.
    """

    outbox: Outbox
    address: str
    host: str
    signon: float
    secure: bool = False
    session: object = field(default_factory=object)
    """Tells this user from others who had the same nick at other times."""
    nick: str = ""
    username: str = ""
    realname: str = ""
    registered: bool = False
    account: str = ""
    """Whom the user has logged in as; empty: nobody."""
    away: str = ""
    modes: set[str] = field(default_factory=set[str])
    caps: AbstractSet[str] = frozenset()
    tagging: int = 0
    """Which tags the user wants, for ``Message.encode()``."""
    monitored: dict[str, str] = field(default_factory=dict[str, str])
    """The nicks that the user watches, by what two spellings of one have in common."""
    spoke: float = field(init=False)
    # In the order of joining; a dict, since a set has none.
    channels: dict[Channel, None] = field(init=False, default_factory=dict["Channel", None])

    def __post_init__(self) -> None:
        self.spoke = self.signon

    @property
    def source(self) -> str:
        """Whom the user's messages are from, as others see it."""
        return f"{self.nick}!{self.username}@{self.host}"

    @property
    def is_operator(self) -> bool:
        """Whether the user is an operator of the network."""
        return "o" in self.modes

    def negotiate(self, caps: AbstractSet[str]) -> None:
        """Give the user these capabilities and no others."""
        self.caps = frozenset(caps)
        self.tagging = (
            TIME * ("server-time" in caps)
            | TAGS * ("message-tags" in caps)
            | ACCOUNT * ("account-tag" in caps)
        )
