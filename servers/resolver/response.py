"""Responses on the wire: what does not fit is left out set by set, the question and the OPT stay."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from servers.resolver.message import Opt, Writer, pack_opt
from servers.resolver.names import ROOT, parent
from servers.resolver.records import Answer

__all__ = ["Packed", "pack"]

_MOST = 65535
_QUESTION = 12  # where it begins
_TC = 0x0200


@dataclass(frozen=True, slots=True)
class Packed:
    """A response that only wants its ID, and the letters of its question as they were sent."""

    head: bytes
    """From the flags to the last of the counts."""
    tail: bytes
    """What follows the question."""
    opt: int
    """Where the OPT, which is the last record, has its length, in ``tail``; 0 if there is none."""

    def reply(self, number: bytes, question: bytes, option: bytes = b"") -> bytes:
        """Return the message.

        Args:
            number: its ID, 2 octets.
            question: as it was sent.
            option: one more option for the OPT.
        """
        if not option or not self.opt:
            return b"".join((number, self.head, question, self.tail))
        at, tail = self.opt, self.tail
        length = int.from_bytes(tail[at : at + 2], "big") + len(option)
        return b"".join(
            (number, self.head, question, tail[:at], length.to_bytes(2, "big"), tail[at + 2 :], option)
        )

    def cut(self, number: bytes, question: bytes, option: bytes = b"") -> bytes:
        """Return the message with nothing in it but what says to ask again by a connection."""
        flags = int.from_bytes(self.head[:2], "big") & ~0xF | _TC
        opt = (
            self.tail[self.opt - 9 : self.opt] + len(option).to_bytes(2, "big") + option if self.opt else b""
        )
        return number + struct.pack("!HHHHH", flags, 1, 0, 0, bool(opt)) + question + opt


def pack(
    answer: Answer, question: bytes, flags: int, *, opt: Opt | None = None, limit: int = _MOST, spare: int = 0
) -> Packed:
    """Write a response.

    Args:
        answer: what to say.
        question: name, type and class, as they were sent; empty for a response without.
        flags: those of the header, to which the response code and TC are added.
        opt: what to say by EDNS, if it is spoken.
        limit: octets that the message may have.
        spare: octets of them that are for what is added later.
    """
    name = question[:-4].lower()
    writer = Writer(bytes(_QUESTION) + question)
    # Names are told apart by their octets, so that what has other letters than the question keeps them.
    at, rest = _QUESTION, question[:-4]
    while rest and rest != ROOT:
        writer.names[rest] = at
        at, rest = at + rest[0] + 1, parent(rest)
    tail = b"" if opt is None else pack_opt(opt)
    room = limit - len(tail) - spare
    counts, truncated = [1 if question else 0, 0, 0, 0], answer.truncated
    mandatory = len(answer.additional[: answer.glue])
    sections = () if truncated else (answer.answer, answer.authority, answer.additional)
    for index, section in enumerate(sections, 1):
        for position, rrset in enumerate(section):
            size = len(writer.data)
            writer.rrset(rrset, name)
            if len(writer.data) <= room:
                counts[index] += len(rrset.rdatas)
                continue
            writer.undo(size)
            if index < 3 or position < mandatory:  # noqa: PLR2004 -- additional
                truncated = True
                break
        if truncated:
            break
    if opt is not None:
        counts[3] += 1
    flags |= answer.rcode & 0xF | (_TC if truncated else 0)
    head = struct.pack("!HHHHH", flags, *counts)
    body = bytes(writer.data[_QUESTION + len(question) :])
    return Packed(head, body + tail, len(body) + 9 if opt is not None else 0)
