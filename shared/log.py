"""Logging for a terminal, where bytes of peers can do no harm."""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Formatter", "escape", "set_up"]

# What a terminal obeys or a reader is fooled by: C0 with its newlines, DEL, C1 (ECMA-48), the line breaks of
# Unicode, the controls of its bidirectional algorithm (UAX #9), and octets that were no UTF-8 (PEP 383).
_HARMFUL = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escape(text: str) -> str:
    """Return the text with each harmful character written as in Python source."""
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class Formatter(logging.Formatter):
    """One line per record; a traceback follows with a margin, which no peer can draw."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the base's name
        """Return the record's line."""
        return escape(super().formatMessage(record))

    def formatException(  # noqa: N802 -- the base's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Return the traceback, each line behind the margin."""
        return "\n".join(f"  | {escape(line)}" for line in super().formatException(ei).split("\n"))


def set_up(level: int = logging.INFO) -> None:
    """Log to standard error from here on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    logging.basicConfig(level=level, handlers=[handler])
