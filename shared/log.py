"""Logging for a terminal or, as lines of JSON, for a program; what peers sent can do no harm in either."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Formatter", "JsonFormatter", "escape", "set_up"]

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


class JsonFormatter(logging.Formatter):
    """One object of JSON per line: ``ts`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, maybe ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        time = datetime.fromtimestamp(record.created, UTC)
        line = {
            "ts": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            # Escaped before JSON does: a reader that decodes it and prints it is as safe as one of the terminal's.
            "message": escape(record.getMessage()),
        }
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            line["exception"] = "\n".join(map(escape, trace.split("\n")))
        return json.dumps(line, ensure_ascii=False)


def set_up(level: str = "info", form: Literal["terminal", "json"] = "terminal") -> None:
    """Log to standard error from here on.

    Args:
        level: the least that is logged: ``debug``, ``info``, ``warning``, ``error``.
        form: for people or for programs; JSON is in UTF-8, whatever the locale says (RFC 8259, section 8.1).
    """
    reconfigure = getattr(sys.stderr, "reconfigure", None)  # which what stands in for it may lack
    if form == "json" and reconfigure is not None:
        reconfigure(encoding="utf-8")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else Formatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
