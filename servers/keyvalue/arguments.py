"""What arguments mean: numbers, times, options; and what a client is told when they mean nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Context, Decimal, InvalidOperation

from servers.keyvalue.protocol import CommandError, to_int
from servers.keyvalue.sortedset import Bounds

__all__ = [
    "NOT_AN_INTEGER",
    "SYNTAX",
    "decimal",
    "decimal_text",
    "double",
    "expiry",
    "integer",
    "lex_bounds",
    "numbered",
    "positive",
    "score_bounds",
    "timeout",
    "window",
    "wrong_subcommand",
]

SYNTAX = "ERR syntax error"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"

# As strtod(3) takes them, but for hexadecimal ones and NaN, which no client sends on purpose.
_DOUBLE = re.compile(rb"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf(?:inity)?)", re.IGNORECASE)
# More digits than this are no number but an attempt to keep the processor busy; redis' buffer is as long.
_DOUBLE_DIGITS = 256
# Redis adds floats as long doubles, of 64 bits of mantissa, and writes them with 17 decimals.
_LONG_DOUBLE = Context(prec=40)
_DECIMALS = Decimal("1e-17")
_MOST = 2**63 - 1


def integer(text: bytes, complaint: str = NOT_AN_INTEGER) -> int:
    """Return a 64-bit integer."""
    try:
        return to_int(text)
    except ValueError:
        raise CommandError(complaint) from None


def wrong_subcommand(name: str, container: str) -> str:
    """Return what redis says of a subcommand that counts its arguments itself."""
    return f"ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP."


def positive(text: bytes, complaint: str = "ERR value is out of range, must be positive") -> int:
    """Return an integer that is not negative."""
    number = integer(text, complaint)
    if number < 0:
        raise CommandError(complaint)
    return number


def double(text: bytes, complaint: str = "ERR value is not a valid float") -> float:
    """Return a float, which may be infinite."""
    if len(text) > _DOUBLE_DIGITS or not _DOUBLE.fullmatch(text):
        raise CommandError(complaint)
    number = float(text)
    # Only who says so means infinity; strtod(3) calls the rest out of range.
    if math.isinf(number) and b"n" not in text.lower():
        raise CommandError(complaint)
    return number


def decimal(text: bytes, complaint: str = "ERR value is not a valid float") -> Decimal:
    """Return a decimal number for INCRBYFLOAT, finite or not."""
    double(text, complaint)
    return Decimal(text.decode())


def decimal_text(first: Decimal, second: Decimal) -> bytes:
    """Return the sum of two numbers, as INCRBYFLOAT writes it.

    Raises:
        CommandError: it is not finite.
    """
    try:
        total = _LONG_DOUBLE.add(first, second)
    except InvalidOperation:
        total = Decimal("nan")
    # Beyond a double's range a long double still counts on, to numbers of 5000 digits: of no use to anybody.
    if not total.is_finite() or math.isinf(float(total)):
        raise CommandError("ERR increment would produce NaN or Infinity")
    if total.adjusted() < 40 - 17:
        total = total.quantize(_DECIMALS, context=_LONG_DOUBLE)
    text = f"{total:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return (text if text != "-0" else "0").encode()


def expiry(text: bytes, now: int, *, seconds: bool, absolute: bool, command: str) -> int:
    """Return when something is to expire, in milliseconds since the epoch."""
    number = integer(text)
    when = (number * 1000 if seconds else number) + (0 if absolute else now)
    if not -_MOST <= when <= _MOST or not -_MOST <= number * (1000 if seconds else 1) <= _MOST:
        raise CommandError(f"ERR invalid expire time in '{command}' command")
    return when


def timeout(text: bytes) -> float | None:
    """Return the seconds that a blocking command may wait; None: for ever."""
    seconds = double(text, "ERR timeout is not a float or out of range")
    if seconds < 0:
        raise CommandError("ERR timeout is negative")
    if seconds * 1000 > _MOST:
        raise CommandError("ERR timeout is out of range")
    return seconds or None


def numbered(count: bytes, rest: Sequence[bytes], complaint: str = SYNTAX) -> tuple[list[bytes], list[bytes]]:
    """Return the keys that a number announces, and what follows them."""
    number = integer(count, "ERR numkeys should be greater than 0")
    if number < 1:
        raise CommandError("ERR numkeys should be greater than 0")
    if number > len(rest):
        raise CommandError(complaint)
    return list(rest[:number]), list(rest[number:])


def window(start: int, stop: int, size: int) -> tuple[int, int]:
    """Return from where to before where a range of places goes; negative ones are counted from the end."""
    start = max(0, start + size) if start < 0 else start
    stop = stop + size if stop < 0 else stop
    return min(start, size), max(min(start, size), min(stop + 1, size))


def score_bounds(low: bytes, high: bytes) -> Bounds:
    """Return a range of scores, where ``(`` leaves out the bound itself."""
    return Bounds(
        _score(low.removeprefix(b"(")),
        _score(high.removeprefix(b"(")),
        low.startswith(b"("),
        high.startswith(b"("),
    )


def _score(text: bytes) -> float:
    # To strtod(3), nothing at all is 0, and spaces before a number are nothing.
    return double(text.lstrip() if text else b"0", "ERR min or max is not a float")


def lex_bounds(low: bytes, high: bytes) -> Bounds | None:
    """Return a range of members, where ``[`` includes the bound; None: nothing is in it."""
    for bound in (low, high):
        if bound not in {b"-", b"+"} and bound[:1] not in {b"[", b"("}:
            raise CommandError("ERR min or max not valid string range item")
    if low == b"+" or high == b"-":
        return None
    return Bounds(
        None if low == b"-" else low[1:],
        None if high == b"+" else high[1:],
        low.startswith(b"("),
        high.startswith(b"("),
    )
