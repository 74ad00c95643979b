"""Passwords, which no log, error or ``repr()`` shows, and which need not stand on a command line.

``@FILE`` instead of the secret itself means the file's content, without its last newline. In a service that systemd
starts with ``LoadCredential=password:/etc/chat/password``, ``@password`` is that credential: a name without a slash is
looked for in ``$CREDENTIALS_DIRECTORY`` first (systemd.exec(5), "Credentials").
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

__all__ = ["Login", "Secret"]

# A file that is longer was not meant to be a password.
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Secret:
    """A password."""

    _text: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the secret that ``text`` is, or that is in the file it names.

        Raises:
            ValueError: there is none, or the file cannot be read; the message is the fix, and shows no secret.
        """
        if not text.startswith("@"):
            if not text:
                raise ValueError("give a password, or @FILE")
            return cls(text)
        path = Path(text[1:])
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder and "/" not in text and (Path(folder) / path).exists():
            path = Path(folder) / path
        try:
            with path.open("rb") as file:
                content = file.read(_LONGEST + 1)
        except OSError as error:
            raise ValueError(
                f"{path} cannot be read ({error.strerror}): name a file with a password"
            ) from None
        secret = content.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
        if not secret or "\n" in secret or "\0" in secret or len(content) > _LONGEST:
            raise ValueError(
                f"{path} is not one line of up to {_LONGEST} octets: put the password alone into it"
            )
        return cls(secret)

    def matches(self, given: str) -> bool:
        """Tell whether ``given`` is the same, in a time that tells nothing about where the two differ."""
        ours, theirs = (text.encode("utf-8", "surrogateescape") for text in (self._text, given))
        return hmac.compare_digest(ours, theirs)

    def reveal(self) -> str:
        """Return it, for whoever has to pass it on."""
        return self._text

    def __str__(self) -> str:
        return "(not shown)"


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody's name and password, written ``NAME:PASSWORD``."""

    name: str
    password: Secret

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the login that ``text`` is; the password may be ``@FILE``.

        Raises:
            ValueError: it is none; the message is the fix.
        """
        name, colon, password = text.partition(":")
        if not name or not colon:
            raise ValueError("give NAME:PASSWORD, or NAME:@FILE")
        return cls(name, Secret.parse(password))
