"""MODE: there are none yet, but clients ask for them on their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.numerics import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servers.chat.client import Client


def mode(client: Client, params: Sequence[str]) -> None:
    """MODE: ask for modes, which are none; changing them is for operators, which nobody is."""
    if params[0].startswith("#"):
        _channel_mode(client, params)
    elif client.network.user(params[0]) is not client.user:
        raise Refused(numerics.ERR_USERSDONTMATCH)
    elif len(params) == 1:
        client.reply(numerics.RPL_UMODEIS, "+")
    else:
        raise Refused(numerics.ERR_UMODEUNKNOWNFLAG)


def _channel_mode(client: Client, params: Sequence[str]) -> None:
    channel = client.network.channel(params[0])
    letters = params[1].lstrip("+-") if len(params) > 1 else ""
    if not letters:
        client.reply(numerics.RPL_CHANNELMODEIS, channel.name, "+")
    elif letters[0] != "b":
        raise Refused(numerics.ERR_UNKNOWNMODE, letters[0])
    elif len(params) > 2:  # noqa: PLR2004 -- a third one is the mask to ban
        raise Refused(numerics.ERR_CHANOPRIVSNEEDED, channel.name)
    else:
        client.reply(numerics.RPL_ENDOFBANLIST, channel.name)
