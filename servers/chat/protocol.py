"""The protocol: bytes into messages and back, and the shape of names. No sockets, no clock, no locks.

Rules:

1. A CR or a LF ends a message (RFC 1459 section 8). An empty message means nothing, which makes CR LF the
   end of one message and not of two (RFC 2812 section 2.3.1). So people can talk to the server with ``nc``.
2. Text is UTF-8 and nothing else (https://ircv3.net/specs/extensions/utf8-only): a line that is not is refused.
3. A line has up to 512 octets and, before them, up to 4096 of tags (https://ircv3.net/specs/extensions/message-tags).
   No longer one leaves: what is too much is cut at its end, not within a character.
"""

from __future__ import annotations

import re
import string
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "ACCOUNT",
    "LINE",
    "TAGS",
    "TIME",
    "EndlessLineError",
    "LineSplitter",
    "Message",
    "NotUTF8Error",
    "ProtocolError",
    "clip",
    "fold",
    "is_channel",
    "is_nick",
    "pack",
    "parse",
]

LINE = 512
"""Octets of a line without its tags, its CR LF included (RFC 2812 section 2.3)."""
_TAGS_LIMIT = 4096
"""Octets of a client's tags, from the "@" to the space."""
# A few longest lines. What has no end by then is no IRC client, and gets no more of our patience.
_ENDLESS = 16384

TIME, TAGS, ACCOUNT = 1, 2, 4
"""Which tags a receiver wants: ``time``; any but those named here; ``account``."""

_KINDS = {"time": TIME, "account": ACCOUNT, "label": 0, "batch": 0}

_ENDS = re.compile(rb"[\r\n]")
# RFC 2812 section 2.3.1 without its limit of nine characters.
_NICK = re.compile(r"[A-Za-z\[\]\\`_^{|}][A-Za-z0-9\[\]\\`_^{|}-]*")
# The three that https://modern.ircdocs.horse/#channels forbids, and what no parameter can hold.
_CHANNEL = re.compile("#[^ \a,\r\n\0]+")
# CASEMAPPING=ascii: the mapping of RFC 1459 takes {|}~ for lower-case []\^, which surprises everybody.
_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_ESCAPES = str.maketrans({";": r"\:", " ": r"\s", "\\": r"\\", "\r": r"\r", "\n": r"\n"})
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
_UNESCAPES = {":": ";", "s": " ", "r": "\r", "n": "\n"}


class ProtocolError(ValueError):
    """Bytes that are no message; the text says why."""


class EndlessLineError(ProtocolError):
    """A line that goes on and on."""


class NotUTF8Error(ProtocolError):
    """A message that is not all UTF-8.

    Args:
        message: what can be read of it.
    """

    def __init__(self, message: Message) -> None:
        super().__init__("a message is UTF-8")
        self.message = message


class Message(NamedTuple):
    """One message.

    Args:
        command: letters, or a numeric's three digits; a parsed one is in upper case.
        params: none but the last may be empty, hold a space, or begin with a colon.
        source: whom it is from; empty: the peer itself.
        tags: by name; without a value: empty.
    """

    command: str
    params: tuple[str, ...] = ()
    source: str = ""
    tags: Mapping[str, str] = MappingProxyType({})

    def encode(self, wanted: int = 0) -> bytes:
        """Return the message as a line with its CR LF, cut to ``LINE`` octets, after the tags that are wanted.

        Args:
            wanted: the sum of ``TIME``, ``TAGS`` and ``ACCOUNT``; ``label`` and ``batch`` are there in any case.

        Raises:
            ValueError: it cannot be written as one line that would be parsed as this message.
        """
        words = [f":{self.source}", self.command] if self.source else [self.command]
        words += self.params[:-1]
        line = " ".join(words)
        if "" in words or line.count(" ") >= len(words) or " :" in line:
            raise ValueError(f"not a message: {self}")
        if self.params:
            last = self.params[-1]
            line += f" :{last}" if not last or last[0] == ":" or " " in last else f" {last}"
        if _is_broken(line):
            raise ValueError(f"more than one line: {self}")
        data = line.encode("utf-8", "surrogateescape")
        data = (data if len(data) <= LINE - 2 else _cut(data, LINE - 2)) + b"\r\n"
        if not self.tags:
            return data
        chosen = [
            f"{name}={value.translate(_ESCAPES)}" if value else name
            for name, value in self.tags.items()
            if (kind := _KINDS.get(name, TAGS)) == 0 or kind & wanted
        ]
        return b"@" + ";".join(chosen).encode() + b" " + data if chosen else data


def parse(line: bytes) -> Message:
    """Return the message in a line that has lost its end.

    Spaces may be more than one, but only U+0020 is one (https://modern.ircdocs.horse/#message-format).

    Raises:
        ProtocolError: there is none in it; ``NotUTF8Error``: it is not UTF-8.
    """
    try:
        return _parse(line.decode())
    except UnicodeDecodeError:
        raise NotUTF8Error(_parse(line.decode("utf-8", "surrogateescape"))) from None


def _parse(text: str) -> Message:
    if _is_broken(text):
        raise ProtocolError("a message holds no NUL, CR or LF")
    tags: dict[str, str] = {}
    if text[:1] == "@":
        section, _, text = text[1:].partition(" ")
        for tag in filter(None, section.split(";")):
            name, _, value = tag.partition("=")
            tags[name] = _ESCAPED.sub(lambda found: _UNESCAPES.get(found[1], found[1]), value)
        text = text.lstrip(" ")
    head, colon, last = text.partition(" :")
    words = [word for word in head.split(" ") if word]
    source = words.pop(0)[1:] if words and words[0][0] == ":" else ""
    if not words:
        raise ProtocolError("a message has a command")
    command = words.pop(0)
    # Only ASCII: "ß".upper() is "SS".
    command = command.upper() if command.isascii() else command
    return Message(command, (*words, last) if colon else tuple(words), source, tags)


def _is_broken(text: str) -> bool:
    """Tell whether there is in it what no message can hold; three searches take less time than one for a pattern."""
    return "\n" in text or "\r" in text or "\0" in text


class LineSplitter:
    """Cuts a stream into lines, and remembers no more than one line of it.

    Args:
        limit: octets of a line without its end and its tags.
    """

    def __init__(self, limit: int = LINE - 2) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes | None]:
        """Take in the next octets and return the lines that are now complete, ``None`` for each too long.

        Raises:
            EndlessLineError: too long is not the word for it.
        """
        *lines, self._rest = _ENDS.split(self._rest + data)
        if len(self._rest) > _ENDLESS:
            raise EndlessLineError(f"a line of more than {_ENDLESS} octets")
        return [line if self._fits(line) else None for line in lines if line]

    def _fits(self, line: bytes) -> bool:
        if len(line) <= self._limit:
            return True
        tags = line.find(b" ") + 1 if line[:1] == b"@" else 0
        return tags <= _TAGS_LIMIT and len(line) - tags <= self._limit


def fold(name: str) -> str:
    """Return what two spellings of one name have in common."""
    return name.translate(_FOLDED)


def is_nick(name: str) -> bool:
    """Tell whether a user may have this name, however long it is."""
    return _NICK.fullmatch(name) is not None


def is_channel(name: str) -> bool:
    """Tell whether a channel may have this name, however long it is."""
    return _CHANNEL.fullmatch(name) is not None


def clip(text: str, octets: int) -> str:
    """Return as much of ``text`` as fits into ``octets`` on the wire."""
    return _cut(text.encode("utf-8", "surrogateescape"), octets).decode("utf-8", "surrogateescape")


def pack(words: Iterable[str], octets: int) -> Iterator[str]:
    """Yield the words, joined by spaces, in as few texts of up to ``octets`` on the wire as that takes."""
    text, size = "", 0
    for word in words:
        length = len(word.encode("utf-8", "surrogateescape"))
        if text and size + 1 + length > octets:
            yield text
            text, size = "", 0
        text, size = (f"{text} {word}", size + 1 + length) if text else (word, length)
    if text:
        yield text


def _cut(data: bytes, size: int) -> bytes:
    """Return the first ``size`` octets, or up to three fewer so as not to end within a character."""
    if len(data) <= size:
        return data
    end = size
    # RFC 3629 section 3: 10xxxxxx never begins a character, and at most three of them follow one another.
    while end > 0 and size - end < 3 and data[end] & 0xC0 == 0x80:  # noqa: PLR2004 -- said in the line above
        end -= 1
    return data[:end]
