"""Accounts: AUTHENTICATE (https://ircv3.net/specs/extensions/sasl-3.2) and REGISTER (…/account-registration)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.accounts import AccountError
from servers.chat.commands import presence
from servers.chat.numerics import Refused
from servers.chat.protocol import fold, is_nick

if TYPE_CHECKING:
    from servers.chat.client import Client, Steps

_CHUNK = 400
"""A message of SASL comes in parts of so many characters, of which the last is shorter."""
_MOST = 4 * _CHUNK
"""Room for an account, a password, and whatever else a client may mean to say; Solanum allows less."""


def authenticate(client: Client, data: str) -> Steps | None:
    """AUTHENTICATE: log in."""
    if client.user.account:
        raise Refused(numerics.ERR_SASLALREADY)
    if data == "*":
        client.sasl = None
        raise Refused(numerics.ERR_SASLABORTED)
    if client.sasl is None:
        if data.upper() != "PLAIN":
            client.reply(numerics.RPL_SASLMECHS, "PLAIN")
            raise Refused(numerics.ERR_SASLFAIL)
        client.sasl = ""
        client.send(client.from_server("AUTHENTICATE", "+"))
        return None
    if len(data) > _CHUNK or len(client.sasl) + len(data) > _MOST:
        client.sasl = None
        raise Refused(numerics.ERR_SASLTOOLONG if len(data) > _CHUNK else numerics.ERR_SASLFAIL)
    client.sasl += "" if data == "+" else data
    if len(data) == _CHUNK:
        return None
    message, client.sasl = client.sasl, None
    return _log_in(client, *_plain(message))


def _plain(message: str) -> tuple[str, str]:
    """Return account and password (RFC 4616), or raise 904."""
    try:
        identity, account, password = base64.b64decode(message, validate=True).decode().split("\0")
    except (binascii.Error, ValueError):
        raise Refused(numerics.ERR_SASLFAIL) from None
    # Nobody may act for anybody else.
    if not account or fold(identity or account) != fold(account):
        raise Refused(numerics.ERR_SASLFAIL)
    return account, password


def _log_in(client: Client, account: str, password: str) -> Steps:
    chat, address = client.chat, client.user.address
    if not chat.admission.may_try(address, client.heard):
        raise Refused(numerics.Numeric("904", "Too many attempts, try again later"))
    known = yield lambda: chat.verify(account, password)
    if known is None or client.user.account:
        raise Refused(numerics.ERR_SASLFAIL)
    chat.admission.was_right(address)
    _logged_in(client, known)
    client.reply(numerics.RPL_SASLSUCCESS)


def register(client: Client, account: str, email: str, password: str) -> Steps | None:
    """REGISTER: make an account; "*" for one of the nick's name, and for no e-mail address."""
    user, settings = client.user, client.settings
    name = (user.nick or client.wanted) if account == "*" else account
    shown = name or "*"
    if user.account:
        client.fail("REGISTER", "ALREADY_AUTHENTICATED", shown, "You are logged in already")
    elif not (user.registered or settings.register_before_connect):
        client.fail("REGISTER", "COMPLETE_CONNECTION_REQUIRED", shown, "Finish connecting first")
    elif not is_nick(name) or len(name) > settings.nick_length:
        client.fail("REGISTER", "BAD_ACCOUNT_NAME", shown, "An account's name is like a nick")
    elif client.network.is_taken(name, user):
        # Or whoever is slow to register would lose the name to whoever listens.
        client.fail("REGISTER", "ACCOUNT_EXISTS", shown, "Somebody else uses that nick")
    elif email != "*" and "@" not in email:
        client.fail("REGISTER", "INVALID_EMAIL", shown, "No e-mail address is needed: write *")
    elif not password:
        client.fail("REGISTER", "WEAK_PASSWORD", shown, "Take a longer one")
    else:
        return _register(client, name, password)
    return None


def _register(client: Client, name: str, password: str) -> Steps:
    chat = client.chat
    if not chat.admission.may_register(client.user.address, client.heard):
        client.fail("REGISTER", "TEMPORARILY_UNAVAILABLE", name, "Too many attempts, try again later")
        return
    try:
        yield lambda: chat.register(name, password)
    except AccountError as error:
        client.fail("REGISTER", error.code, name, str(error))
        return
    client.send(client.from_server("REGISTER", "SUCCESS", name, "The account is yours"))
    _logged_in(client, name)


def _logged_in(client: Client, account: str) -> None:
    user = client.user
    user.account = account
    source = f"{user.nick or '*'}!{user.username or '*'}@{user.host}"
    client.reply(numerics.RPL_LOGGEDIN, source, account, f"You are now logged in as {account}")
    if user.registered:
        others = presence.audience(client, "account-notify")
        told = [user, *others] if "account-notify" in user.caps else others
        client.tell(told, client.message("ACCOUNT", account))
