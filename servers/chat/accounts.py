"""Accounts: names and passwords. They take their time, so nobody calls them with the chat's lock held."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import argon2

from servers.chat.protocol import fold

if TYPE_CHECKING:
    from servers.chat.store import Store

__all__ = ["AccountError", "Accounts"]


class AccountError(Exception):
    """An account that cannot be had; the text is for the user.

    Args:
        code: the same for programs (https://ircv3.net/specs/extensions/account-registration).
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Accounts:
    """All accounts.

    Args:
        store: where they are kept, if anywhere.
    """

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        # The second choice of RFC 9106 section 4, for where memory is short: 64 MiB and some 50 ms.
        self._hasher = argon2.PasswordHasher()
        # One at a time, so that many clients together take no more of the machine than one does.
        self._hashing = threading.Lock()
        self._known: dict[str, tuple[str, str]] = dict(store.accounts()) if store is not None else {}
        # What is checked for an account that does not exist, so that nobody can tell by the time it takes.
        self._nobody = self._hasher.hash("")

    def __contains__(self, name: str) -> bool:
        return fold(name) in self._known

    def verify(self, name: str, password: str) -> str | None:
        """Return the account's name as it was registered, or ``None`` if that is not its password."""
        known, hashed = self._known.get(fold(name), (None, self._nobody))
        with self._hashing:
            try:
                self._hasher.verify(hashed, password)
            except argon2.exceptions.VerificationError:
                return None
        return known

    def register(self, name: str, password: str) -> None:
        """Make an account; when this returns, it is stored.

        Raises:
            AccountError: there is one of that name, or it cannot be stored.
        """
        with self._hashing:
            if fold(name) in self._known:
                raise AccountError("ACCOUNT_EXISTS", "There is an account of that name")
            hashed = self._hasher.hash(password)
            if self._store is not None:
                try:
                    self._store.wait(self._store.add_account(fold(name), name, hashed))
                except OSError as error:
                    raise AccountError("TEMPORARILY_UNAVAILABLE", "The server cannot store it now") from error
            self._known[fold(name)] = (name, hashed)
