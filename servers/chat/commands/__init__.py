"""What a client may ask for: the table of commands, and one family of them per file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.commands import (
    accounts,
    capabilities,
    channels,
    history,
    lists,
    messages,
    modes,
    operators,
    presence,
    registration,
    server,
    who,
)
from servers.chat.numerics import Refused
from servers.chat.protocol import pack

if TYPE_CHECKING:
    from servers.chat.client import Client, Steps
    from servers.chat.protocol import Message

__all__ = ["COMMANDS", "Command", "May", "obey"]


class May(Enum):
    """Who may give a command, and the numeric for all others."""

    ANYBODY = None
    NEWCOMERS = numerics.ERR_ALREADYREGISTERED
    USERS = numerics.ERR_NOTREGISTERED
    OPERATORS = numerics.ERR_NOPRIVILEGES


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table.

    Args:
        name: what the client writes.
        usage: its parameters; those in brackets may be missing, one with dots repeated.
        may: who may give it.
        run: called with the client and the parameters; raises ``Refused``. What needs time is a generator.
    """

    name: str
    usage: str
    may: May
    run: Callable[..., Steps | None]
    least: int = field(init=False)
    """With fewer parameters it is not run, but 461 sent."""
    most: int | None = field(init=False)
    """More parameters are not looked at; ``None``: all are."""

    def __post_init__(self) -> None:
        words = self.usage.split()
        object.__setattr__(self, "least", sum(word[0] != "[" for word in words))
        object.__setattr__(self, "most", None if "..." in self.usage else len(words))


def help_(client: Client, topic: str = "") -> None:
    """HELP: which commands there are, or what one of them takes and does."""
    command = COMMANDS.get(topic.upper())
    if command is None and topic:
        raise Refused(numerics.ERR_HELPNOTFOUND, topic)
    if command is None:
        subject, first, lines = "*", "The commands are", list(pack(sorted(COMMANDS), 60))
    else:
        about = (command.run.__doc__ or "").partition(": ")[2].partition("\n")[0]
        subject, first = command.name, f"{command.name} {command.usage}".rstrip()
        lines = ["", about[:1].upper() + about[1:]]
    client.reply(numerics.RPL_HELPSTART, subject, first)
    for line in lines:
        client.reply(numerics.RPL_HELPTXT, subject, line)
    client.reply(numerics.RPL_ENDOFHELP, subject, "HELP by itself lists all commands")


_TABLE = [
    Command("CAP", "subcommand [parameter]", May.ANYBODY, capabilities.cap),
    Command("AUTHENTICATE", "data", May.ANYBODY, accounts.authenticate),
    Command("REGISTER", "account email password", May.ANYBODY, accounts.register),
    Command("PASS", "password", May.NEWCOMERS, registration.password),
    Command("NICK", "[nick]", May.ANYBODY, registration.nick),
    Command("USER", "username mode unused realname", May.NEWCOMERS, registration.user),
    Command("PING", "token", May.ANYBODY, registration.ping),
    Command("PONG", "[token]", May.ANYBODY, registration.pong),
    Command("QUIT", "[reason]", May.ANYBODY, registration.quit_),
    Command("JOIN", "channels [keys]", May.USERS, channels.join),
    Command("PART", "channels [reason]", May.USERS, channels.part),
    Command("TOPIC", "channel [topic]", May.USERS, channels.topic),
    Command("KICK", "channels nicks [reason]", May.USERS, channels.kick),
    Command("INVITE", "[nick] [channel]", May.USERS, channels.invite),
    Command("NAMES", "[channels]", May.USERS, lists.names),
    Command("LIST", "[channels-or-conditions] [server]", May.USERS, lists.list_),
    Command("MODE", "target [modes] [parameter...]", May.USERS, modes.mode),
    Command("PRIVMSG", "[targets] [text]", May.USERS, messages.privmsg),
    Command("NOTICE", "[targets] [text]", May.ANYBODY, messages.notice),
    Command("TAGMSG", "[targets]", May.USERS, messages.tagmsg),
    Command("CHATHISTORY", "subcommand [target] [from] [to] [limit]", May.USERS, history.chathistory),
    Command("WHO", "mask [fields]", May.USERS, who.who),
    Command("WHOIS", "[server-or-nick] [nick]", May.USERS, who.whois),
    Command("WHOWAS", "[nick] [count] [server]", May.USERS, who.whowas),
    Command("AWAY", "[message]", May.USERS, presence.away),
    Command("SETNAME", "realname", May.USERS, presence.setname),
    Command("MONITOR", "subcommand [nicks]", May.USERS, presence.monitor),
    Command("USERHOST", "nick...", May.USERS, presence.userhost),
    Command("ISON", "nick...", May.USERS, presence.ison),
    Command("OPER", "name password", May.USERS, operators.oper),
    Command("KILL", "nick [reason]", May.OPERATORS, operators.kill),
    Command("REHASH", "", May.OPERATORS, operators.rehash),
    Command("WALLOPS", "text", May.OPERATORS, operators.wallops),
    Command("LUSERS", "[mask] [server]", May.USERS, server.lusers),
    Command("MOTD", "[server]", May.USERS, server.motd),
    Command("VERSION", "[server]", May.USERS, server.version),
    Command("INFO", "[server]", May.USERS, server.info),
    Command("TIME", "[server]", May.USERS, server.time_),
    Command("HELP", "[command]", May.USERS, help_),
    Command("HELPOP", "[command]", May.USERS, help_),
]
COMMANDS = {command.name: command for command in _TABLE}

# https://ircv3.net/specs/extensions/labeled-response: a label is at most 64 octets.
_LABEL = 64


def obey(client: Client, message: Message) -> Steps | None:
    """Do what a message says, or tell the client why not; with the lock held.

    Returns:
        What is still to be done, where that takes time.
    """
    client.begin_answer(message.tags.get("label", "")[:_LABEL])
    client.request = message
    try:
        steps = _run(client, message)
    except Refused as refused:
        client.refuse(refused)
    else:
        if steps is not None:
            return _finish(client, steps)
    client.end_answer()
    return None


def _run(client: Client, message: Message) -> Steps | None:
    """Give a command to whoever obeys it, or raise 421, 451, 461, 462 or 481."""
    command = COMMANDS.get(message.command)
    if command is None:
        raise Refused(numerics.ERR_UNKNOWNCOMMAND, message.command)
    user = client.user
    if not user.registered and command.may in {May.USERS, May.OPERATORS}:
        raise Refused(numerics.ERR_NOTREGISTERED)
    if (command.may is May.NEWCOMERS and user.registered) or (
        command.may is May.OPERATORS and not user.is_operator
    ):
        raise Refused(command.may.value)
    if len(message.params) < command.least:
        raise Refused(numerics.ERR_NEEDMOREPARAMS, message.command)
    return command.run(client, *message.params[: command.most])


def _finish(client: Client, steps: Steps) -> Steps:
    try:
        yield from steps
    except Refused as refused:
        client.refuse(refused)
    client.end_answer()
