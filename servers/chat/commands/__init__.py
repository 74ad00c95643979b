"""What a client may ask for: the table of commands, and one family of them per file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from servers.chat import numerics
from servers.chat.commands import channels, messages, modes, queries, registration
from servers.chat.numerics import Refused

if TYPE_CHECKING:
    from servers.chat.client import Client
    from servers.chat.protocol import Message

__all__ = ["COMMANDS", "Command", "obey"]


class Command(NamedTuple):
    """One row of the table.

    Args:
        run: called with the client and the parameters; raises ``Refused``.
        least: with fewer parameters it is not called, but 461 sent.
        early: whether it may come before registration, when all others are answered by 451.
    """

    run: Callable[[Client, Sequence[str]], None]
    least: int = 0
    early: bool = False


COMMANDS = {
    "CAP": Command(registration.cap, 1, early=True),
    "PASS": Command(registration.password, 1, early=True),
    "NICK": Command(registration.nick, early=True),
    "USER": Command(registration.user, 4, early=True),
    "PING": Command(registration.ping, 1, early=True),
    "PONG": Command(registration.pong, early=True),
    "QUIT": Command(registration.quit_, early=True),
    "JOIN": Command(channels.join, 1),
    "PART": Command(channels.part, 1),
    "TOPIC": Command(channels.topic, 1),
    "NAMES": Command(channels.names),
    "LIST": Command(channels.list_),
    "MODE": Command(modes.mode, 1),
    "PRIVMSG": Command(messages.privmsg),
    "NOTICE": Command(messages.notice, early=True),
    "WHO": Command(queries.who, 1),
    "WHOIS": Command(queries.whois),
    "USERHOST": Command(queries.userhost, 1),
    "ISON": Command(queries.ison, 1),
    "LUSERS": Command(queries.lusers),
    "MOTD": Command(queries.motd),
    "VERSION": Command(queries.version),
}


def obey(client: Client, message: Message) -> None:
    """Do what a message says, or tell the client why not; the caller holds the server's lock."""
    try:
        _command(client, message).run(client, message.params)
    except Refused as refused:
        client.reply(refused.numeric, *refused.params)


def _command(client: Client, message: Message) -> Command:
    """Return the row for a message, or raise 421, 451 or 461."""
    command = COMMANDS.get(message.command)
    if command is None:
        raise Refused(numerics.ERR_UNKNOWNCOMMAND, message.command)
    if not (command.early or client.user.registered):
        raise Refused(numerics.ERR_NOTREGISTERED)
    if len(message.params) < command.least:
        raise Refused(numerics.ERR_NEEDMOREPARAMS, message.command)
    return command
