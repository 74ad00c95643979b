"""Questions about users: WHO with WHOX (https://ircv3.net/specs/extensions/whox), WHOIS, WHOWAS."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.masks import is_mask, matches
from servers.chat.numerics import Refused
from servers.chat.protocol import Message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from servers.chat.channel import Channel
    from servers.chat.client import Client, Steps
    from servers.chat.user import User

_FIELDS = "tcuihsnfdlaor"
"""Of WHOX, in the order in which a reply has them."""
_TOKEN = 3


def who(client: Client, mask: str, options: str = "") -> Steps:
    """WHO: the members of a channel, or the users that match a mask."""
    fields, _, token = options.partition("%")[2].partition(",")
    if not (len(token) <= _TOKEN and token.isascii() and token.isdigit()):
        token = "0"  # noqa: S105 -- no secret
    operators_only = "o" in options.partition("%")[0]
    name, channel, users = _asked(client, mask)
    found = [user for user in users if user.is_operator or not operators_only]
    if fields:
        lines = [_row(client, user, channel, name, fields, token) for user in found]
    else:
        lines = [_line(client, user, channel, name) for user in found]
    yield from client.stream(lines)
    client.reply(numerics.RPL_ENDOFWHO, mask)


def _asked(client: Client, mask: str) -> tuple[str, Channel | None, Iterable[User]]:
    """Return whom a question is about, and in which channel."""
    me, network = client.user, client.network
    try:
        if mask.startswith("#"):
            channel = network.visible(mask, me)
            inside = me in channel.members or me.is_operator
            return (
                channel.name,
                channel,
                [each for each in channel.members if inside or "i" not in each.modes],
            )
        if not is_mask(mask):
            return "*", None, [network.user(mask)]
    except Refused:
        return "*", None, ()
    # RFC 2812 section 3.6.1: "0" is everybody. Who is invisible is seen by those in a channel with it.
    wanted = "*" if mask == "0" else mask
    seen = [each for each in network.users if matches(wanted, each.nick) or matches(wanted, each.source)]
    if me.is_operator:
        return "*", None, seen
    near = network.neighbours(me) | {me}
    return "*", None, [each for each in seen if "i" not in each.modes or each in near]


def _flags(client: Client, user: User, channel: Channel | None) -> str:
    prefix = channel.prefix(user, every="multi-prefix" in client.user.caps) if channel else ""
    return ("G" if user.away else "H") + "*" * user.is_operator + prefix + "B" * ("B" in user.modes)


def _line(client: Client, user: User, channel: Channel | None, name: str) -> Message:
    server, flags = client.settings.name, _flags(client, user, channel)
    # "0": servers between that one and this.
    about = (name, user.username, user.host, server, user.nick, flags, f"0 {user.realname}")
    return Message(numerics.RPL_WHOREPLY.code, (client.user.nick, *about), server)


def _row(client: Client, user: User, channel: Channel | None, name: str, fields: str, token: str) -> Message:
    me = client.user
    known = {
        "t": token,
        "c": name,
        "u": user.username,
        "i": user.address if user is me or me.is_operator else "255.255.255.255",
        "h": user.host,
        "s": client.settings.name,
        "n": user.nick,
        "f": _flags(client, user, channel),
        "d": "0",
        "l": str(_idle(client, user)),
        "a": user.account or "0",
        "o": "n/a",
        "r": user.realname,
    }
    row = [known[field] for field in _FIELDS if field in fields]
    return Message(numerics.RPL_WHOSPCRPL.code, (me.nick, *row), client.settings.name)


def _idle(client: Client, user: User) -> int:
    return max(0, int(client.chat.clock() - user.spoke))


def whois(client: Client, target: str = "", nick: str = "") -> None:
    """WHOIS: all there is to know about a user."""
    # "WHOIS server nick" asks a server of the network; there is but one.
    asked = nick or target
    if not asked:
        raise Refused(numerics.ERR_NONICKNAMEGIVEN)
    user = client.attempt(client.network.user, asked)
    if user is not None:
        _describe(client, user)
    client.reply(numerics.RPL_ENDOFWHOIS, asked)


def _describe(client: Client, user: User) -> None:
    me, settings, nick = client.user, client.settings, user.nick
    client.reply(numerics.RPL_WHOISUSER, nick, user.username, user.host, "*", user.realname)
    if user is me or me.is_operator:
        origin = f"is connecting from {user.username}@{user.address} {user.address}"
        client.reply(numerics.RPL_WHOISHOST, nick, origin)
    # Who is invisible shows only those channels in which both are.
    seen = [
        channel
        for channel in user.channels
        if channel.is_visible_to(me) and ("i" not in user.modes or me in channel.members or user is me)
    ]
    every = "multi-prefix" in me.caps
    names = (channel.prefix(user, every=every) + channel.name for channel in seen)
    client.reply_words(numerics.RPL_WHOISCHANNELS, nick, words=names)
    client.reply(numerics.RPL_WHOISSERVER, nick, settings.name, f"The {settings.network} network")
    if user.is_operator:
        client.reply(numerics.RPL_WHOISOPERATOR, nick)
    if "B" in user.modes:
        client.reply(numerics.RPL_WHOISBOT, nick)
    if user.account:
        client.reply(numerics.RPL_WHOISACCOUNT, nick, user.account)
    if user.away:
        client.reply(numerics.RPL_AWAY, nick, user.away)
    if user.secure:
        client.reply(numerics.RPL_WHOISSECURE, nick)
    client.reply(numerics.RPL_WHOISIDLE, nick, str(_idle(client, user)), str(int(user.signon)))


def whowas(client: Client, nick: str = "", count: str = "", _server: str = "") -> None:
    """WHOWAS: who went by a nick, lately."""
    if not nick:
        raise Refused(numerics.ERR_NONICKNAMEGIVEN)
    # RFC 2812 section 3.6.3: a number that is not positive stands for all.
    most = int(count[:4]) if count.isascii() and count.isdigit() else 0
    for past in (client.attempt(client.network.past, nick) or [])[: most or None]:
        client.reply(numerics.RPL_WHOWASUSER, past.nick, past.username, past.host, "*", past.realname)
        if past.account:
            client.reply(numerics.RPL_WHOISACCOUNT, past.nick, past.account)
        when = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(past.time))
        client.reply(numerics.RPL_WHOISSERVER, past.nick, client.settings.name, when)
    client.reply(numerics.RPL_ENDOFWHOWAS, nick)
