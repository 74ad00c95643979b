"""What an entry of a master file is read from: its words, one after the other."""

from __future__ import annotations

import re

__all__ = ["DataError", "Tokens", "seconds"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class DataError(ValueError):
    """Data that its type does not allow."""


class Tokens:
    """What an entry has left to be read.

    Args:
        words: the tokens, with escapes as they are.
        origin: what relative names are relative to.
    """

    def __init__(self, words: list[str], origin: bytes) -> None:
        self.words = words
        self.origin = origin
        self.taken = 0
        """How many have been read: what is wrong is wrong with the last of them."""

    def next(self, what: str = "a field") -> str:
        """Take the next token.

        Raises:
            DataError: there is none.
        """
        if self.taken == len(self.words):
            raise DataError(f"{what} is missing")
        self.taken += 1
        return self.words[self.taken - 1]

    def rest(self) -> list[str]:
        """Take all tokens that are left."""
        rest = self.words[self.taken :]
        self.taken = len(self.words)
        return rest


def seconds(text: str) -> int:
    """Read a time: ``3600``, ``1h30m``.

    Raises:
        DataError: it is none that fits (RFC 2181, section 8).
    """
    if not re.fullmatch(r"\d{1,10}|(\d{1,10}[smhdwSMHDW])+", text, re.ASCII):
        raise DataError(f"{text!r} is no time: write seconds, or 1h30m")
    parts = re.findall(r"(\d+)([a-z]?)", text.lower())
    total = sum(int(number) * _UNITS[unit or "s"] for number, unit in parts)
    if total > 0x7FFFFFFF:  # noqa: PLR2004 -- RFC 2181, section 8
        raise DataError(f"{text} is more than 2147483647 seconds")
    return total
