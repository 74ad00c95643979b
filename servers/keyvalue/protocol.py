"""What is said, and replies as bytes: RESP2 and RESP3; ``parser`` makes requests of bytes.

(https://redis.io/docs/latest/develop/reference/protocol-spec.) No sockets, no clock, no locks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeAlias, cast

__all__ = [
    "LENGTHS",
    "NIL_ARRAY",
    "RESP3",
    "CommandError",
    "Push",
    "Reply",
    "ReplyTooLargeError",
    "Request",
    "Several",
    "Text",
    "encode",
    "encode_all",
    "encode_request",
    "to_int",
]

Request: TypeAlias = list[bytes]
"""A command's name and its arguments."""

LENGTHS: Final = [b"$%d" % length for length in range(4096)]
"""What stands before a string of so many octets: to look it up is faster than to write or to read it."""

_BULKS: Final = [b"%b\r\n" % each for each in LENGTHS]
_KNOWN: Final = len(LENGTHS)

# What one integer of the protocol may be: a signed 64-bit one.
_LEAST, _MOST, _DIGITS = -(2**63), 2**63 - 1, 20


class CommandError(Exception):
    """A command's refusal, as the client gets it: a code in capitals, and why."""


class ReplyTooLargeError(CommandError):
    """A reply would take more memory than one may."""

    def __init__(self) -> None:
        super().__init__("ERR the reply is larger than 1 GiB: ask for less at a time")


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


# Octets of one reply. A large value asked for a thousand times in one command would be more memory than there is.
_LARGEST = 1024 * 1024 * 1024
# Octets up to which a value in a reply is copied twice rather than handled as parts.
_COPIED = 512
_Aggregate: TypeAlias = "Sequence[Reply] | Mapping[Any, Reply] | AbstractSet[bytes]"
# As mostly; what is a subclass may be a push.
_LISTS: Final = {list}
_SCALARS: Final = {int, str, float, type(None), Text}
# What commands mostly say.
_STATUSES: Final = {text: b"+%b\r\n" % text.encode() for text in ("OK", "PONG", "QUEUED")}


def encode(reply: Reply, version: int = 2) -> bytes:
    """Return a reply as a client of RESP2 or RESP3 reads it.

    Raises:
        ReplyTooLargeError: it would take more memory than a reply may.
    """
    # Exact types first, as nearly all replies are of these; what is a subclass of one has a form of its own.
    if type(reply) is bytes:
        size = len(reply)
        return _BULKS[size] + reply + b"\r\n" if size < _KNOWN else b"$%d\r\n%b\r\n" % (size, reply)
    if type(reply) is int:
        return b":%d\r\n" % reply
    if type(reply) is str:
        return _STATUSES.get(reply) or b"+%b\r\n" % _line(reply)
    if reply is None:
        return b"_\r\n" if version == RESP3 else b"$-1\r\n"
    if type(reply) not in _LISTS and (
        not isinstance(reply, (Mapping, AbstractSet, Sequence)) or isinstance(reply, str)
    ):
        return _encode_rarely(reply, resp3=version == RESP3)
    parts: list[bytes] = []
    _collect(cast("_Aggregate", reply), version, parts)
    if sum(map(len, parts)) > _LARGEST:
        raise ReplyTooLargeError
    return b"".join(parts)


def encode_all(replies: Sequence[Reply], version: int = 2) -> list[bytes]:
    """Return several replies, of which mostly all are the same or all are strings."""
    first, count = replies[0], len(replies)
    if first is replies[-1] and replies.count(first) == count:
        return [encode(first, version)] * count
    return [
        # The same without a call.
        _BULKS[len(each)] + each + b"\r\n"
        if type(each) is bytes and len(each) < _KNOWN
        else encode(each, version)
        for each in replies
    ]


def _collect(reply: _Aggregate, version: int, parts: list[bytes]) -> None:
    """Append what a reply consists of; of a large value, that value and no copy: it may be there a thousand times."""
    mark, size, items = _shape(reply, resp3=version == RESP3)
    if type(reply) is not Several:
        parts.append(b"%b%d\r\n" % (mark, size))
    if {*map(type, items)} == {bytes}:
        values = cast("Collection[bytes]", items)
        if max(map(len, values)) <= _COPIED:  # as mostly
            parts += [b"$%d\r\n%b\r\n" % (len(value), value) for value in values]
            return
    for item in items:
        if type(item) is bytes:
            parts += (b"$%d\r\n" % len(item), item, b"\r\n")
        elif type(item) in _SCALARS or not isinstance(item, (Mapping, AbstractSet, Sequence)):
            parts.append(encode(item, version))
        else:
            _collect(item, version, parts)


def _shape(reply: _Aggregate, *, resp3: bool) -> tuple[bytes, int, Collection[Reply]]:
    """Return how an aggregate is marked, what size is said of it, and what is in it."""
    if type(reply) in _LISTS:
        return b"*", len(reply), reply
    if isinstance(reply, Mapping):
        items = [each for pair in reply.items() for each in pair]
        return (b"%", len(reply), items) if resp3 else (b"*", len(items), items)
    if resp3 and isinstance(reply, AbstractSet):
        return b"~", len(reply), reply
    return b">" if resp3 and type(reply) is Push else b"*", len(reply), reply


def _encode_rarely(reply: float | str | CommandError | _NilArray, *, resp3: bool) -> bytes:
    match reply:
        case CommandError():
            return b"-%b\r\n" % _line(str(reply).rstrip("\r\n"))
        case _NilArray():
            return b"_\r\n" if resp3 else b"*-1\r\n"
        case str():  # Text
            text = reply.encode("utf-8", "surrogateescape")
            return b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text) if resp3 else encode(text)
        case _:
            number = format_double(reply)
            return b",%b\r\n" % number if resp3 else encode(number)


def encode_request(*requests: Sequence[bytes]) -> bytes:
    """Return requests as bytes: what a client would send."""
    lengths, known = LENGTHS, _KNOWN
    parts: list[bytes] = []
    for request in requests:
        parts.append(b"*%d" % len(request))
        for word in request:
            size = len(word)
            parts += (lengths[size] if size < known else b"$%d" % size, word)
    parts.append(b"")
    return b"\r\n".join(parts)


def format_double(number: float) -> bytes:
    """Return a double as redis 7.0 writes it: with the 17 digits that always suffice, or fewer."""
    return b"%.17g" % number


def _line(text: str) -> bytes:
    # What a client sent may come back in it, and must not end the line for another reply to begin.
    return text.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape")
