"""Being there: AWAY, SETNAME, MONITOR, USERHOST, ISON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.numerics import Refused
from servers.chat.protocol import clip, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from servers.chat.client import Client
    from servers.chat.user import User


def away(client: Client, text: str = "") -> None:
    """AWAY: say that one is away, and why, or without a text that one is back."""
    user = client.user
    text = clip(text, client.settings.topic_length)
    changed, user.away = user.away != text, text
    client.reply(numerics.RPL_NOWAWAY if text else numerics.RPL_UNAWAY)
    if changed:
        client.tell(audience(client, "away-notify"), client.message("AWAY", *([text] if text else [])))


def setname(client: Client, realname: str) -> None:
    """SETNAME: change one's real name (https://ircv3.net/specs/extensions/setname)."""
    if not realname or clip(realname, client.settings.realname_length) != realname:
        client.fail("SETNAME", "INVALID_REALNAME", "Your real name would be empty, or too long")
        return
    user = client.user
    user.realname = realname
    others = audience(client, "setname")
    client.tell([user, *others] if "setname" in user.caps else others, client.message("SETNAME", realname))


def audience(client: Client, capability: str) -> list[User]:
    """Return who is to be told of a change in this user, and understands it."""
    user = client.user
    near = client.network.neighbours(user)
    near.update(each for each in client.network.watchers(user.nick) if "extended-monitor" in each.caps)
    near.discard(user)
    return [each for each in near if capability in each.caps]


def userhost(client: Client, *nicks: str) -> None:
    """USERHOST: where up to five users are connected from."""
    words = [
        f"{user.nick}{'*' * user.is_operator}={'-' if user.away else '+'}{user.username}@{user.host}"
        for user in _known(client, nicks[:5])
    ]
    client.reply(numerics.RPL_USERHOST, " ".join(words))


def ison(client: Client, *nicks: str) -> None:
    """ISON: which of these users are there."""
    asked = [nick for param in nicks for nick in param.split(" ")]
    client.reply(numerics.RPL_ISON, " ".join(user.nick for user in _known(client, asked)))


def monitor(client: Client, subcommand: str, nicks: str = "") -> None:
    """MONITOR: watch nicks come and go: + and - change the list, C clears, L and S show it."""
    user, network = client.user, client.network
    match subcommand.upper():
        case "+":
            _watch(client, [nick for nick in nicks.split(",") if nick])
        case "-":
            for nick in nicks.split(","):
                network.unwatch(user, nick)
        case "C":
            for nick in list(user.monitored.values()):
                network.unwatch(user, nick)
        case "L":
            _reply_nicks(client, numerics.RPL_MONLIST, user.monitored.values())
            client.reply(numerics.RPL_ENDOFMONLIST)
        case "S":
            _reply_status(client, user.monitored.values())
        case _:
            pass  # https://ircv3.net/specs/extensions/monitor has no error for it


def _watch(client: Client, nicks: list[str]) -> None:
    for place, nick in enumerate(nicks):
        if not client.network.watch(client.user, nick):
            _reply_status(client, nicks[:place])
            rest = ",".join(nicks[place:])
            raise Refused(numerics.ERR_MONLISTFULL, str(client.settings.monitor_limit), rest)
    _reply_status(client, nicks)


def _reply_status(client: Client, nicks: Iterable[str]) -> None:
    nicks = list(nicks)
    there = {fold(user.nick): user.source for user in _known(client, nicks)}
    _reply_nicks(client, numerics.RPL_MONONLINE, [there[fold(nick)] for nick in nicks if fold(nick) in there])
    _reply_nicks(client, numerics.RPL_MONOFFLINE, [nick for nick in nicks if fold(nick) not in there])


def _reply_nicks(client: Client, numeric: numerics.Numeric, nicks: Iterable[str]) -> None:
    # What was no nick may hold a space, which would look like two.
    client.reply_words(numeric, words=[nick.replace(" ", "_") for nick in nicks], separator=",")


def _known(client: Client, nicks: Iterable[str]) -> Iterator[User]:
    """Yield the users of these nicks, as far as there are such."""
    for nick in nicks:
        try:
            yield client.network.user(nick)
        except Refused:
            continue
