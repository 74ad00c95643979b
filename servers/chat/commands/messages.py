"""Talking: PRIVMSG and NOTICE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.numerics import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servers.chat.client import Client


def privmsg(client: Client, params: Sequence[str]) -> None:
    """PRIVMSG: say something to users and channels."""
    for refused in _say(client, "PRIVMSG", params):
        client.reply(refused.numeric, *refused.params)


def notice(client: Client, params: Sequence[str]) -> None:
    """NOTICE: the same, but never answered, so that two programs do not go on for ever (RFC 2812 3.3.2)."""
    if client.user.registered:
        _say(client, "NOTICE", params)


def _say(client: Client, command: str, params: Sequence[str]) -> list[Refused]:
    """Deliver a message, and return why not where not."""
    if not (params and params[0]):
        return [Refused(numerics.ERR_NORECIPIENT, f"No recipient given ({command})")]
    if len(params) == 1 or not params[1]:
        return [Refused(numerics.ERR_NOTEXTTOSEND)]
    targets = list(dict.fromkeys(target for target in params[0].split(",") if target))
    if len(targets) > client.settings.max_targets:
        return [Refused(numerics.ERR_TOOMANYTARGETS, targets[client.settings.max_targets])]
    client.user.spoke = client.server.clock()
    refusals: list[Refused] = []
    for target in targets:
        try:
            _deliver(client, command, target, params[1])
        except Refused as refused:
            refusals.append(refused)
    return refusals


def _deliver(client: Client, command: str, target: str, text: str) -> None:
    if target.startswith("#"):
        channel = client.network.channel(target)
        message = client.message(command, channel.name, text)
        client.tell((member for member in channel.members if member is not client.user), message)
    else:
        user = client.network.user(target)
        client.tell((user,), client.message(command, user.nick, text))
