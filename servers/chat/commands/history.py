"""What was said: CHATHISTORY (https://ircv3.net/specs/extensions/chathistory)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from servers.chat.history import History, Moment
from servers.chat.numerics import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servers.chat.client import Client, Steps
    from servers.chat.protocol import Message

MOST = 100
"""Messages of one answer: a few screens, and within the send queue whatever their length."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_ARITY = {"LATEST": 3, "BEFORE": 3, "AFTER": 3, "AROUND": 3, "BETWEEN": 4, "TARGETS": 3}
_MESSAGES = frozenset({"PRIVMSG", "NOTICE"})


class _FailError(Exception):
    """What is wrong with a request: a code and its context."""


def chathistory(client: Client, subcommand: str, *params: str) -> Steps | None:
    """CHATHISTORY: have old messages repeated."""
    try:
        what, asked, most = _parse(subcommand, params)
        if what == "TARGETS":
            return _targets(client, _moment(what, asked[0]), _moment(what, asked[1]), most)
        target, *moments = asked
        name, place = _place(client, what, target)
        found = _find(place, what, moments, most)
    except _FailError as fault:
        client.fail("CHATHISTORY", *fault.args)
        return None
    if "draft/event-playback" not in client.user.caps:
        found = [message for message in found if message.command in _MESSAGES]
    return _send_batch(client, ("chathistory", name), found)


def _parse(subcommand: str, params: Sequence[str]) -> tuple[str, Sequence[str], int]:
    """Return the subcommand, its parameters but the last, and that, which is the limit."""
    what = subcommand.upper()
    if what not in _ARITY:
        raise _FailError("INVALID_PARAMS", subcommand, "Unknown subcommand")
    if len(params) < _ARITY[what]:
        raise _FailError("NEED_MORE_PARAMS", what, "Missing parameters")
    *asked, limit = params[: _ARITY[what]]
    if not (limit.isascii() and limit.isdigit()):
        raise _FailError("INVALID_PARAMS", what, limit, "The limit is a number")
    return what, asked, min(int(limit[:6]), MOST) or MOST


def _place(client: Client, what: str, target: str) -> tuple[str, History]:
    """Return the name and the history of a channel the user is in, or of its talks with another user."""
    user = client.user
    if not target.startswith("#"):
        return target, client.chat.private.between(user, target)
    try:
        channel = client.network.channel(target)
        channel.require_member(user)
    except Refused:
        raise _FailError("INVALID_TARGET", what, target, "Messages could not be retrieved") from None
    return channel.name, channel.history


def _find(place: History, what: str, moments: Sequence[str], most: int) -> list[Message]:
    if what == "LATEST" and moments[0] == "*":
        return place.before(None, most)
    first, *rest = (_moment(what, each) for each in moments)
    ways = {
        "LATEST": lambda: place.before(None, most, since=first),
        "BEFORE": lambda: place.before(first, most),
        "AFTER": lambda: place.after(first, most),
        "AROUND": lambda: place.around(first, most),
        "BETWEEN": lambda: place.between(first, rest[0], most),
    }
    try:
        return ways[what]()
    except LookupError:
        return []  # a message of long ago, or of nowhere: there is nothing to be found around it


def _moment(what: str, text: str) -> Moment:
    kind, _, value = text.partition("=")
    if kind == "msgid" and value:
        return Moment(msgid=value)
    if kind == "timestamp" and _TIME.fullmatch(value):
        return Moment(value)
    raise _FailError("INVALID_PARAMS", what, text, "Write timestamp=… or msgid=…")


def _targets(client: Client, one: Moment, other: Moment, most: int) -> Steps:
    """Tell where something was said last between two times."""
    since, until = sorted([one.time, other.time])
    user = client.user
    places = [(channel.history.latest, channel.name) for channel in user.channels]
    places += client.chat.private.partners(user)
    found = sorted((time, name) for time, name in places if since < time < until)
    lines = [client.from_server("CHATHISTORY", "TARGETS", name, time) for time, name in found[:most]]
    return _send_batch(client, ("draft/chathistory-targets",), lines)


def _send_batch(client: Client, kind: tuple[str, ...], messages: Sequence[Message]) -> Steps:
    if "batch" not in client.user.caps:
        yield from client.stream(messages)
        return
    batch = client.chat.next_id()
    client.send_batch(client.from_server("BATCH", f"+{batch}", *kind))
    yield from client.stream(
        [message._replace(tags={**message.tags, "batch": batch}) for message in messages]
    )
    client.send(client.from_server("BATCH", f"-{batch}"))
