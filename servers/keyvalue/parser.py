"""``Parser``: octets into requests, however they are cut. No sockets, no clock, no locks.

What a client gets to see for input that is none are the words of redis-server 7.0, by which clients know what happened.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, overload

from servers.keyvalue.protocol import LENGTHS, Request, to_int

__all__ = ["Alike", "Limits", "Parser", "ProtocolError"]

# Octets of a line that is no bulk string: an inline command or a length. PROTO_INLINE_MAX_SIZE of redis.
_LINE = 64 * 1024
_MOST = 2**63 - 1

# As nearly all requests have them: a look-up takes no "+1", " 1" or "01", as int() would, and is faster.
_COUNTS: Final = {b"*%d" % count: count for count in range(1, 1025)}
# Pieces of a batch from which on it is worth a look whether all requests in it are alike.
_FEW = 16


class ProtocolError(Exception):
    """Input after which it is unknown where the next request begins; the connection ends with it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may be."""

    # Redis' proto-max-bulk-len: the largest string.
    bulk: int = 512 * 1024 * 1024
    # That of redis before 7.0, which says "Protocol error: invalid multibulk length" there.
    arguments: int = 1024 * 1024
    # Redis' client-query-buffer-limit: one request as a whole.
    query: int = 1024 * 1024 * 1024


# Before a client has given the password, as redis has it: enough for HELLO and AUTH, of no use to a flood.
_STRANGERS: Final = Limits(bulk=16384, arguments=10)


class Parser:
    """Cuts a stream into requests.

    Nearly all input is batches of whole requests, for which there is a fast way: one ``split()`` of the batch, each
    piece's length checked against what its header says. Whatever surprises it goes the slow way, octet by octet exact.

    Args:
        limits: returns those that hold now.
    """

    def __init__(self, limits: Callable[[], Limits] = Limits) -> None:
        self._limits = limits
        self.error: ProtocolError | None = None
        """Set when the input cannot be read on: once the requests before it have been served."""
        self.stranger = False
        """Whether it has no password yet, so that requests must be small, and come one at a time: the next may be a friend's."""
        self._chunks: list[bytes] = []
        self._size = 0
        self._want = 1  # octets needed before it makes sense to look again
        self._request: Request = []
        self._missing = 0  # arguments of it
        self._request_size = 0

    def feed(self, data: bytes) -> list[Request] | Alike:
        """Take in the next octets, and return the requests that are now complete."""
        if self._chunks or self._missing or self.stranger:
            return self._feed_slowly(data)
        if len(data) > self._long and (whole := self._read_whole(data)) is not None:
            return whole
        requests: list[Request] = []
        pieces = data.split(b"\r\n")
        at, last = 0, len(pieces) - 1
        count_of, lengths, known = _COUNTS.get, LENGTHS, len(LENGTHS)
        if last > _FEW and (alike := _alike(pieces)):
            return alike
        while at < last:
            end = at + 1 + 2 * count_of(pieces[at], last)  # which is too many, where it is no count
            if end > last:
                break
            request = pieces[at + 2 : end : 2]
            head = at + 1
            for word in request:
                size = len(word)
                if pieces[head] != (lengths[size] if size < known else b"$%d" % size):
                    break
                head += 2
            if head < end:
                break
            requests.append(request)
            at = end
        if at == last and not pieces[last]:
            return requests
        return requests + self._feed_slowly(b"\r\n".join(pieces[at:]))

    _long = sys.maxsize
    """Octets from which on there is another way to read a batch, by ``_read_whole()``."""

    def _read_whole(self, _data: bytes) -> list[Request] | None:
        """Return the requests in a batch, if it consists of whole ones."""
        return None

    def _feed_slowly(self, data: bytes) -> list[Request]:
        self._chunks.append(data)
        self._size += len(data)
        return self._read_slowly() if self._size >= self._want else []

    def _read_slowly(self) -> list[Request]:
        data = b"".join(self._chunks)
        requests: list[Request] = []
        at = 0
        try:
            while self.error is None and not (self.stranger and requests):
                moved = (
                    self._read_header(data, at, requests) if not self._missing else self._read_bulk(data, at)
                )
                if moved is None:
                    break
                at = moved
                if self._request and not self._missing:
                    requests.append(self._request)
                    self._request = []
        except ProtocolError as error:
            self.error = error
        rest = data[at:]
        self._want = 0 if self.stranger and requests else max(len(rest) + 1, self._want - at)
        if self._request_size + len(rest) > self._limits().query:
            self.error = ProtocolError("query buffer limit")
        if self.error is not None:
            rest, self._missing = b"", 0
        self._chunks = [rest] if rest else []
        self._size = len(rest)
        return requests

    def _read_header(self, data: bytes, at: int, requests: list[Request]) -> int | None:
        """Read how many arguments follow, or an inline command; return where to go on, None if it is not complete."""
        self._want = 0
        if at >= len(data):
            return None
        if not data.startswith(b"*", at):
            return self._read_inline(data, at, requests)
        end = _line_end(data, at, b"\r", "too big mbulk count string")
        if end is None:
            return None
        count = _length(data[at + 1 : end], -_MOST, self._limits().arguments, "invalid multibulk length")
        if self.stranger and count > _STRANGERS.arguments:
            raise ProtocolError("unauthenticated multibulk length")
        self._missing, self._request_size = max(0, count), 0
        return end + 2

    def _read_bulk(self, data: bytes, at: int) -> int | None:
        """Read one argument; return where to go on, or None if it is not complete."""
        self._want = 0
        end = _line_end(data, at, b"\r", "too big bulk count string")
        if end is None:
            return None
        if not data.startswith(b"$", at):
            raise ProtocolError(f"expected '$', got '{chr(data[at])}'")
        length = _length(data[at + 1 : end], 0, self._limits().bulk, "invalid bulk length")
        if self.stranger and length > _STRANGERS.bulk:
            raise ProtocolError("unauthenticated bulk length")
        begin, end = end + 2, end + 2 + length
        if len(data) < end + 2:
            self._want = end + 2
            if self._request_size + length > self._limits().query:
                raise ProtocolError("query buffer limit")
            return None
        self._request.append(data[begin:end])
        self._request_size += length
        self._missing -= 1
        return end + 2

    def _read_inline(self, data: bytes, at: int, requests: list[Request]) -> int | None:
        end = _line_end(data, at, b"\n", "too big inline request")
        if end is None:
            return None
        words = _words(data[at:end].removesuffix(b"\r"))
        if words:
            requests.append(words)
        return end + 1


class Alike(Sequence[Request]):
    """Requests that have as many words each.

    Args:
        columns: all first words, all second words and so on.
    """

    __slots__ = ("columns",)

    def __init__(self, columns: Sequence[Sequence[bytes]]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    def __iter__(self) -> Iterator[Request]:
        return map(list, zip(*self.columns, strict=True))

    @overload
    def __getitem__(self, index: int) -> Request: ...
    @overload
    def __getitem__(self, index: slice) -> list[Request]: ...
    def __getitem__(self, index: int | slice) -> Request | list[Request]:
        if isinstance(index, slice):
            return [*self][index]
        return [column[index] for column in self.columns]


def _alike(pieces: list[bytes]) -> Alike | None:
    """Return the requests in a batch of whole ones that have as many words each; none, if it is no such batch."""
    # All of them at a time, so that the work for one more request is done in C.
    count = _COUNTS.get(pieces[0], 0)
    stride = 1 + 2 * count
    heads = pieces[:-1:stride]
    if pieces[-1] or not count or (len(pieces) - 1) % stride or heads.count(heads[0]) != len(heads):
        return None
    columns: list[list[bytes]] = []
    try:
        for place in range(1, stride, 2):
            lengths, column = pieces[place:-1:stride], pieces[place + 1 : -1 : stride]
            sizes = {*map(len, column)}
            if len(sizes) == 1:  # as that of the names, and often of all
                same = lengths.count(LENGTHS[sizes.pop()]) == len(lengths)
            else:
                same = [*map(LENGTHS.__getitem__, map(len, column))] == lengths
            if not same:
                return None
            columns.append(column)
    except IndexError:
        return None
    return Alike(columns)


def _line_end(data: bytes, at: int, mark: bytes, complaint: str) -> int | None:
    end = data.find(mark, at)
    if end < 0 or (mark == b"\r" and end + 1 >= len(data)):
        if len(data) - at > _LINE:
            raise ProtocolError(complaint)
        return None
    return end


def _length(text: bytes, least: int, most: int, complaint: str) -> int:
    try:
        number = to_int(text)
    except ValueError:
        raise ProtocolError(complaint) from None
    if not least <= number <= most:
        raise ProtocolError(complaint)
    return number


_ESCAPES: Final = {0x6E: b"\n", 0x72: b"\r", 0x74: b"\t", 0x62: b"\b", 0x61: b"\a"}
_SPACES: Final = b" \t\n\v\f\r\0"


def _words(line: bytes) -> Request:
    """Split an inline command as a shell would, more or less: redis-cli takes its own lines so, too."""
    words: Request = []
    at = 0
    while True:
        while at < len(line) and line[at] in _SPACES:
            at += 1
        if at == len(line):
            return words
        word = bytearray()
        while at < len(line) and line[at] not in _SPACES:
            if line[at] in b"\"'":
                at = _quoted(line, at, word)
            else:
                word.append(line[at])
                at += 1
        words.append(bytes(word))


def _quoted(line: bytes, at: int, word: bytearray) -> int:
    """Append what stands in quotes from ``at`` on; return where they end."""
    quote = line[at]
    at += 1
    while at < len(line) and line[at] != quote:
        if line[at] == 0x5C and at + 1 < len(line) and (quote == 0x22 or line[at + 1] == 0x27):  # noqa: PLR2004 -- \ " '
            code = line[at + 2 : at + 4]
            if quote == 0x22 and line[at + 1] == 0x78 and len(code) == 2 and _is_hex(code):  # noqa: PLR2004 -- \xHH
                word.append(int(code, 16))
                at += 4
                continue
            at += 1
            word += _ESCAPES.get(line[at], line[at : at + 1]) if quote == 0x22 else line[at : at + 1]  # noqa: PLR2004 -- "
        else:
            word.append(line[at])
        at += 1
    # A closing quote is followed by a space or nothing.
    if at == len(line) or (at + 1 < len(line) and line[at + 1] not in _SPACES):
        raise ProtocolError("unbalanced quotes in request")
    return at + 1


def _is_hex(code: bytes) -> bool:
    return not code.strip(b"0123456789abcdefABCDEF")
