"""Capabilities: CAP (https://ircv3.net/specs/extensions/capability-negotiation)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.commands import registration
from servers.chat.numerics import Refused
from servers.chat.protocol import LINE, pack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from servers.chat.client import Client

CAPABILITIES = {
    "account-notify": "",
    "account-tag": "",
    "away-notify": "",
    "batch": "",
    "cap-notify": "",
    "draft/account-registration": "custom-account-name",
    "draft/chathistory": "",
    "draft/event-playback": "",
    "echo-message": "",
    "extended-join": "",
    "extended-monitor": "",
    "invite-notify": "",
    "labeled-response": "",
    "message-tags": "",
    "multi-prefix": "",
    "sasl": "PLAIN",
    "server-time": "",
    "setname": "",
    "standard-replies": "",
    "userhost-in-names": "",
}
"""What a client may ask for, and the value that those see who speak version 302."""
_WITH_VALUES = 302


def cap(client: Client, subcommand: str, parameter: str = "") -> None:
    """CAP: agree on extensions of the protocol; LS and REQ hold registration until END."""
    what = subcommand.upper()
    if what == "LS":
        client.negotiating = not client.user.registered
        if parameter.isascii() and parameter.isdigit():
            client.version = max(client.version, int(parameter[:9]))
        _reply(client, what, _offer(client))
    elif what == "LIST":
        _reply(client, what, sorted(client.user.caps))
    elif what == "REQ":
        client.negotiating = not client.user.registered
        _request(client, parameter)
    elif what == "END":
        client.negotiating = False
        registration.register(client)
    else:
        raise Refused(numerics.ERR_INVALIDCAPCMD, subcommand)


def _offer(client: Client) -> Iterable[str]:
    for name, value in CAPABILITIES.items():
        if client.version < _WITH_VALUES or not value:
            yield name
        elif client.settings.register_before_connect and "registration" in name:
            yield f"{name}=before-connect,{value}"
        else:
            yield f"{name}={value}"


def _request(client: Client, names: str) -> None:
    """Turn all of the capabilities on (or off: "-name"), or none."""
    caps = set(client.user.caps)
    for name in names.split():
        if name.removeprefix("-") not in CAPABILITIES:
            _reply(client, "NAK", [names])
            return
        if name.startswith("-"):
            caps.discard(name[1:])
        else:
            caps.add(name)
    client.user.negotiate(caps)
    _reply(client, "ACK", [names])


def _reply(client: Client, what: str, names: Iterable[str]) -> None:
    nick = client.user.nick or "*"
    room = LINE - len(client.from_server("CAP", nick, what, "*", "").encode())
    *lines, last = list(pack(names, room)) or [""]
    for line in lines:
        # Clients of before 302 know of no continuation, but all names without values fit into one line.
        client.send(client.from_server("CAP", nick, what, "*", line))
    client.send(client.from_server("CAP", nick, what, last))
