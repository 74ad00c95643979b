"""What users have said to each other in private, for as long as the server runs. No I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

from servers.chat.history import History
from servers.chat.protocol import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.chat.network import Network
    from servers.chat.protocol import Message
    from servers.chat.user import User

__all__ = ["Conversations"]

# Who somebody is: an account, or else one connection, since a nick may be another's tomorrow.
_Identity: TypeAlias = object

_MOST = 4096
"""Conversations remembered; the one in which nothing was said for longest makes room."""


class Conversations:
    """All that users have said to each other.

    Args:
        network: who is there.
        length: messages of each conversation that are kept.
    """

    def __init__(self, network: Network, length: int) -> None:
        self._network = network
        self._length = length
        self._known: OrderedDict[frozenset[_Identity], tuple[History, dict[_Identity, str]]] = OrderedDict()

    def append(self, sender: User, receiver: User, message: Message) -> None:
        """Remember a message."""
        key = frozenset({_identity(sender), _identity(receiver)})
        if key not in self._known:
            self._known[key] = (History(self._length), {})
        self._known.move_to_end(key)
        history, names = self._known[key]
        history.append(message)
        names[_identity(sender)], names[_identity(receiver)] = sender.nick, receiver.nick
        if len(self._known) > _MOST:
            self._known.popitem(last=False)

    def between(self, user: User, nick: str) -> History:
        """Return what a user and whoever goes by a nick, or has an account of that name, have said."""
        mine, name = _identity(user), fold(nick)
        found = [_identity(each) for each in self._network.users if fold(each.nick) == name]
        for other in (*found, name):
            if (known := self._known.get(frozenset({mine, other}))) is not None:
                return known[0]
        return History(0)

    def partners(self, user: User) -> Iterator[tuple[str, str]]:
        """Yield when a user's conversations ended, as a ``time`` tag has it, and with whom they were."""
        mine = _identity(user)
        for key, (history, names) in self._known.items():
            if mine in key:
                (other,) = key - {mine} or {mine}
                yield history.latest, names[other]


def _identity(user: User) -> _Identity:
    return fold(user.account) if user.account else user.session
