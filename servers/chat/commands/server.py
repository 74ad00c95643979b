"""Questions about the server: LUSERS, MOTD, VERSION, INFO, TIME."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.channel import FLAGS, LISTS, PREFIXES
from servers.chat.commands import history as history_command
from servers.chat.commands import lists, messages, modes
from servers.chat.masks import matches
from servers.chat.numerics import Refused
from servers.chat.protocol import fold

if TYPE_CHECKING:
    from servers.chat.client import Client
    from servers.chat.settings import Settings

VERSION = "chat-0.1"
"""What the server says that it is."""

_LETTERS = "".join(sorted({*FLAGS, *LISTS, *PREFIXES, "k", "l"}))
_WITH_PARAMETER = "".join(sorted({*LISTS, *PREFIXES, "k", "l"}))
MODE_LETTERS = (modes.USER_MODES, _LETTERS, _WITH_PARAMETER)
"""For 004: modes of users, of channels, and of channels with a parameter."""

_TOKENS_PER_LINE = 13  # https://modern.ircdocs.horse/#rplisupport-005


def lusers(client: Client, _mask: str = "", _server: str = "") -> None:
    """LUSERS: how many there are."""
    network = client.network
    count, most = len(network.users), network.most
    hidden = sum("i" in user.modes for user in network.users)
    unknown = max(0, client.chat.admission.clients - count)
    operators = sum(user.is_operator for user in network.users)
    about = f"There are {count - hidden} users and {hidden} invisible on 1 servers"
    client.reply(numerics.RPL_LUSERCLIENT, about)
    client.reply(numerics.RPL_LUSEROP, str(operators))
    client.reply(numerics.RPL_LUSERUNKNOWN, str(unknown))
    client.reply(numerics.RPL_LUSERCHANNELS, str(len(network.channels)))
    client.reply(numerics.RPL_LUSERME, f"I have {count} clients and 0 servers")
    numbers = (str(count), str(most))
    client.reply(numerics.RPL_LOCALUSERS, *numbers, f"Current local users {count}, max {most}")
    client.reply(numerics.RPL_GLOBALUSERS, *numbers, f"Current global users {count}, max {most}")


def motd(client: Client, target: str = "") -> None:
    """MOTD: the message of the day."""
    _require_here(client, target)
    if not client.chat.motd:
        client.reply(numerics.ERR_NOMOTD)
        return
    client.reply(numerics.RPL_MOTDSTART, f"- {client.settings.name} Message of the day -")
    for line in client.chat.motd:
        client.reply(numerics.RPL_MOTD, f"- {line}")
    client.reply(numerics.RPL_ENDOFMOTD)


def version(client: Client, target: str = "") -> None:
    """VERSION: what the server is, and what it supports."""
    _require_here(client, target)
    client.reply(numerics.RPL_VERSION, VERSION, client.settings.name, "")
    reply_isupport(client)


def info(client: Client, target: str = "") -> None:
    """INFO: what the server is, in more words."""
    _require_here(client, target)
    started = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(client.chat.created))
    client.reply(
        numerics.RPL_INFO, f"{VERSION}: a chat server of one process, in Python, built on blocking handlers"
    )
    client.reply(numerics.RPL_INFO, f"Up since {started}; HELP lists the commands")
    client.reply(numerics.RPL_ENDOFINFO)


def time_(client: Client, target: str = "") -> None:
    """TIME: what the server's clock shows."""
    _require_here(client, target)
    now = client.chat.clock()
    shown = time.strftime("%A %B %d %Y -- %H:%M:%S +00:00", time.gmtime(now))
    client.reply(numerics.RPL_TIME, client.settings.name, shown)


def reply_isupport(client: Client) -> None:
    """Tell what the server supports."""
    tokens = isupport(client.settings)
    for start in range(0, len(tokens), _TOKENS_PER_LINE):
        client.reply(numerics.RPL_ISUPPORT, *tokens[start : start + _TOKENS_PER_LINE])


def isupport(settings: Settings) -> list[str]:
    """Return what 005 tells (https://modern.ircdocs.horse/#rplisupport-parameters)."""
    most = settings.max_targets
    flags = "".join(sorted(FLAGS))
    prefix = f"({''.join(PREFIXES)}){''.join(PREFIXES.values())}"
    limited = ",".join(f"{name}:{most}" for name in ("KICK", "NOTICE", "PRIVMSG", "TAGMSG"))
    return [
        f"AWAYLEN={settings.topic_length}",
        "BOT=B",
        "CASEMAPPING=ascii",
        f"CHANLIMIT=#:{settings.channels_per_user}",
        f"CHANMODES={LISTS},k,l,{flags}",
        f"CHANNELLEN={settings.channel_length}",
        "CHANTYPES=#",
        f"CHATHISTORY={history_command.MOST}",
        f"ELIST={lists.ELIST}",
        "EXCEPTS=e",
        f"HOSTLEN={settings.host_length}",
        "INVEX=I",
        f"KEYLEN={settings.key_length}",
        f"KICKLEN={settings.topic_length}",
        f"MAXLIST={LISTS}:{settings.list_length}",
        f"MAXTARGETS={most}",
        f"MODES={modes.MOST}",
        f"MONITOR={settings.monitor_limit}",
        "MSGREFTYPES=msgid,timestamp",
        f"NAMELEN={settings.realname_length}",
        f"NETWORK={settings.network}",
        f"NICKLEN={settings.nick_length}",
        f"PREFIX={prefix}",
        "SAFELIST",
        f"STATUSMSG={messages.STATUSMSG}",
        f"TARGMAX=JOIN:,LIST:,{limited},MONITOR:,NAMES:1,PART:,WHOIS:1",
        f"TOPICLEN={settings.topic_length}",
        f"USERLEN={settings.username_length}",
        "UTF8ONLY",
        "WHOX",
    ]


def _require_here(client: Client, target: str) -> None:
    """Raise 402 unless it is this server that is asked, by its name, a mask of it, or the nick of somebody on it."""
    if not target or matches(target, client.settings.name):
        return
    if not any(fold(user.nick) == fold(target) for user in client.network.users):
        raise Refused(numerics.ERR_NOSUCHSERVER, target)
