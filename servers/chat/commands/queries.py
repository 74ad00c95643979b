"""Questions: about users (WHO, WHOIS, USERHOST, ISON), and about the server (LUSERS, MOTD, VERSION)."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.numerics import Refused
from servers.chat.protocol import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from servers.chat.client import Client
    from servers.chat.network import User
    from servers.chat.settings import Settings

VERSION = "chat-0.1"
"""What the server says that it is."""


def who(client: Client, params: Sequence[str]) -> None:
    """WHO: the members of a channel, or the users whose nick matches a mask."""
    mask = params[0]
    try:
        if mask.startswith("#"):
            channel = client.network.channel(mask)
            _reply_who(client, channel.name, channel.members)
        else:
            _reply_who(client, "*", _matching(client.network.users, mask))
    except Refused as refused:
        # To ask about a channel that is not there is no error (RFC 2812 section 3.6.1).
        if refused.numeric is not numerics.ERR_NOSUCHCHANNEL:
            raise
    client.reply(numerics.RPL_ENDOFWHO, mask)


def whois(client: Client, params: Sequence[str]) -> None:
    """WHOIS: all there is to know about a user."""
    if not params:
        raise Refused(numerics.ERR_NONICKNAMEGIVEN)
    # "WHOIS server nick" asks a server of the network; there is but one.
    nick = params[-1]
    try:
        user = client.network.user(nick)
        idle = max(0, int(client.server.clock() - user.spoke))
        about = (client.settings.name, f"The {client.settings.network} network")
        client.reply(numerics.RPL_WHOISUSER, user.nick, user.username, user.host, "*", user.realname)
        joined = (channel.name for channel in user.channels)
        client.reply_words(numerics.RPL_WHOISCHANNELS, user.nick, words=joined)
        client.reply(numerics.RPL_WHOISSERVER, user.nick, *about)
        client.reply(numerics.RPL_WHOISIDLE, user.nick, str(idle), str(int(user.signon)))
    except Refused as refused:
        client.reply(refused.numeric, *refused.params)
    client.reply(numerics.RPL_ENDOFWHOIS, nick)


def userhost(client: Client, params: Sequence[str]) -> None:
    """USERHOST: where up to five users are connected from."""
    words = [f"{user.nick}=+{user.username}@{user.host}" for user in _known(client, params[:5])]
    client.reply(numerics.RPL_USERHOST, " ".join(words))


def ison(client: Client, params: Sequence[str]) -> None:
    """ISON: which of these users are there."""
    nicks = [nick for param in params for nick in param.split(" ")]
    client.reply(numerics.RPL_ISON, " ".join(user.nick for user in _known(client, nicks)))


def lusers(client: Client, _params: Sequence[str]) -> None:
    """LUSERS: how many there are."""
    users = len(client.network.users)
    unknown = client.server.connected() - users
    client.reply(numerics.RPL_LUSERCLIENT, f"There are {users} users and 0 invisible on 1 servers")
    client.reply(numerics.RPL_LUSEROP, "0")
    client.reply(numerics.RPL_LUSERUNKNOWN, str(unknown))
    client.reply(numerics.RPL_LUSERCHANNELS, str(len(client.network.channels)))
    client.reply(numerics.RPL_LUSERME, f"I have {users + unknown} clients and 0 servers")


def motd(client: Client, _params: Sequence[str]) -> None:
    """MOTD: the message of the day."""
    if not client.server.motd:
        client.reply(numerics.ERR_NOMOTD)
        return
    client.reply(numerics.RPL_MOTDSTART, f"- {client.settings.name} Message of the day -")
    for line in client.server.motd:
        client.reply(numerics.RPL_MOTD, f"- {line}")
    client.reply(numerics.RPL_ENDOFMOTD)


def version(client: Client, _params: Sequence[str]) -> None:
    """VERSION: what the server is, and what it supports."""
    client.reply(numerics.RPL_VERSION, VERSION, client.settings.name, "")
    client.reply(numerics.RPL_ISUPPORT, *isupport(client.settings))


def isupport(settings: Settings) -> list[str]:
    """Return what 005 tells, in up to 13 words (https://modern.ircdocs.horse/#rplisupport-005)."""
    targets = settings.max_targets
    return [
        "CASEMAPPING=ascii",
        f"CHANLIMIT=#:{settings.channels_per_user}",
        "CHANMODES=b,,,",
        f"CHANNELLEN={settings.channel_length}",
        "CHANTYPES=#",
        f"MAXTARGETS={targets}",
        f"NETWORK={settings.network}",
        f"NICKLEN={settings.nick_length}",
        "PREFIX=",
        f"TARGMAX=JOIN:,LIST:,NAMES:,NOTICE:{targets},PART:,PRIVMSG:{targets},WHOIS:1",
        f"TOPICLEN={settings.topic_length}",
        f"USERLEN={settings.username_length}",
    ]


def _known(client: Client, nicks: Iterable[str]) -> Iterator[User]:
    """Yield the users of these nicks, as far as there are such."""
    for nick in nicks:
        try:
            yield client.network.user(nick)
        except Refused:
            continue


def _matching(users: Iterable[User], mask: str) -> Iterator[User]:
    """Yield the users whose nick matches; "*" and "?" are wild, "[" is a letter of nicks."""
    pattern = fold(mask).replace("[", "[[]")
    return (user for user in users if fnmatch.fnmatchcase(fold(user.nick), pattern))


def _reply_who(client: Client, channel: str, users: Iterable[User]) -> None:
    for user in users:
        client.require_room("WHO")
        where = (user.username, user.host, client.settings.name, user.nick)
        # "H": here, which is to say not away. "0": servers between that one and this.
        client.reply(numerics.RPL_WHOREPLY, channel, *where, "H", f"0 {user.realname}")
