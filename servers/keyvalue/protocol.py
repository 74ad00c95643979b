"""What is said, and replies as bytes: RESP2 and RESP3; ``parser`` makes requests of bytes.

(https://redis.io/docs/latest/develop/reference/protocol-spec.) No sockets, no clock, no locks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeAlias

__all__ = [
    "NIL_ARRAY",
    "RESP3",
    "CommandError",
    "Push",
    "Reply",
    "Request",
    "Several",
    "Text",
    "encode",
    "encode_request",
    "to_int",
]

Request: TypeAlias = list[bytes]
"""A command's name and its arguments."""

# What one integer of the protocol may be: a signed 64-bit one.
_LEAST, _MOST, _DIGITS = -(2**63), 2**63 - 1, 20


class CommandError(Exception):
    """A command's refusal, as the client gets it: a code in capitals, and why."""


class Push(list["Reply"]):
    """What a client gets without having asked: out of band in RESP3, an array in RESP2."""


class Several(list["Reply"]):
    """Several replies to one command, as SUBSCRIBE has them; none, if the client wants to hear nothing."""


class Text(str):
    """Text over several lines: a verbatim string in RESP3, a bulk string in RESP2."""

    __slots__ = ()


class _NilArray:
    """The absence of an array, which RESP2 tells from that of a string."""


NIL_ARRAY: Final = _NilArray()
RESP3: Final = 3

Reply: TypeAlias = "int | float | bytes | str | CommandError | _NilArray | Sequence[Reply] | Mapping[Any, Reply] | AbstractSet[bytes] | None"
"""What a command answers. ``str`` is a simple string, ``bytes`` a bulk string, ``float`` a double; a mapping, a set and a
double have forms of their own in RESP3 only."""


def to_int(text: bytes) -> int:
    """Return the number in ``text``, which must be spelled in the one way that is the shortest.

    Raises:
        ValueError: it is not, or it does not fit into 64 bits.
    """
    # int() also takes signs, spaces, underscores and leading zeros; and the limit keeps it from being quadratic.
    number = int(text) if len(text) <= _DIGITS else _MOST + 1
    if not _LEAST <= number <= _MOST or b"%d" % number != text:
        raise ValueError(f"not a 64-bit integer: {text[:_DIGITS]!r}")
    return number


# What commands mostly say.
_STATUSES: Final = {text: b"+%b\r\n" % text.encode() for text in ("OK", "PONG", "QUEUED")}


def encode(reply: Reply, version: int = 2) -> bytes:  # noqa: PLR0911 -- the shortest way for each
    """Return a reply as a client of RESP2 or RESP3 reads it."""
    # Exact types first, as nearly all replies are of these; what is a subclass of one has a form of its own.
    if type(reply) is bytes:
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if type(reply) is int:
        return b":%d\r\n" % reply
    if type(reply) is str:
        return _STATUSES.get(reply) or b"+%b\r\n" % _line(reply)
    if reply is None:
        return b"_\r\n" if version == RESP3 else b"$-1\r\n"
    if isinstance(reply, Sequence) and not isinstance(reply, str):
        items = [
            b"$%d\r\n%b\r\n" % (len(item), item) if type(item) is bytes else encode(item, version)
            for item in reply
        ]
        if type(reply) is Several:
            return b"".join(items)
        mark = b">" if version == RESP3 and type(reply) is Push else b"*"
        return b"%b%d\r\n%b" % (mark, len(items), b"".join(items))
    return _encode_rarely(reply, resp3=version == RESP3)


def _encode_rarely(reply: Reply, *, resp3: bool) -> bytes:
    version = RESP3 if resp3 else 2
    match reply:
        case CommandError():
            return b"-%b\r\n" % _line(str(reply).rstrip("\r\n"))
        case _NilArray():
            return b"_\r\n" if resp3 else b"*-1\r\n"
        case float():
            number = format_double(reply)
            return b",%b\r\n" % number if resp3 else encode(number)
        case str():  # Text
            text = reply.encode("utf-8", "surrogateescape")
            return b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text) if resp3 else encode(text)
        case Mapping():
            items = [encode(each, version) for pair in reply.items() for each in pair]
            size, mark = (len(reply), b"%") if resp3 else (len(items), b"*")
        case AbstractSet():
            items = [encode(each, version) for each in reply]
            size, mark = len(items), b"~" if resp3 else b"*"
        case _:
            raise TypeError(f"no reply: {reply!r}")
    return b"%b%d\r\n%b" % (mark, size, b"".join(items))


def encode_request(request: Sequence[bytes]) -> bytes:
    """Return a request as bytes: what a client would send."""
    return b"*%d\r\n%b" % (len(request), b"".join([b"$%d\r\n%b\r\n" % (len(each), each) for each in request]))


def format_double(number: float) -> bytes:
    """Return a double as redis 7.0 writes it: with the 17 digits that always suffice, or fewer."""
    return b"%.17g" % number


def _line(text: str) -> bytes:
    # What a client sent may come back in it, and must not end the line for another reply to begin.
    return text.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape")
