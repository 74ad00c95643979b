r"""Domain names, as they are on the wire: ``b"\3www\7example\0"``, uncompressed.

In this form the parent of a name is a slice of it, and ``name.lower()`` is its canonical form (RFC 4343): an octet
of length is at most 63 and so never a letter. Whatever a label holds, the 256 octets of RFC 2181 section 11, two
names are the same when their lowered bytes are.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = [
    "LABEL_LIMIT",
    "NAME_LIMIT",
    "ROOT",
    "BadNameError",
    "ancestors",
    "from_text",
    "is_under",
    "join",
    "labels",
    "parent",
    "to_text",
    "unescape",
]

ROOT = b"\0"
LABEL_LIMIT = 63
NAME_LIMIT = 255
"""Octets, with those of the lengths (RFC 1035, section 2.3.4)."""

_ESCAPED = frozenset(b'"$().;@\\')
_LONGEST_ESCAPE = 3


class BadNameError(ValueError):
    """A text that is no domain name."""


def parent(name: bytes) -> bytes:
    """Return the name without its first label; it must not be the root."""
    return name[name[0] + 1 :]


def ancestors(name: bytes) -> Iterator[bytes]:
    """Return the name, its parent, and so on up to the root."""
    while name != ROOT:
        yield name
        name = name[name[0] + 1 :]
    yield name


def is_under(name: bytes, top: bytes) -> bool:
    """Tell whether ``name`` is ``top`` or below it; both lowered."""
    if not name.endswith(top):
        return False
    # That the octets are the same does not say that a label begins there.
    start = len(name) - len(top)
    at = 0
    while at < start:
        at += name[at] + 1
    return at == start


def labels(name: bytes) -> tuple[bytes, ...]:
    """Return the labels of a name, without that of the root."""
    return tuple(each[1 : each[0] + 1] for each in ancestors(name) if each != ROOT)


def join(parts: Iterator[bytes] | tuple[bytes, ...] | list[bytes], origin: bytes = ROOT) -> bytes:
    """Return the name with these labels, below ``origin``.

    Raises:
        BadNameError: a label is empty or too long, or the name is.
    """
    name = b""
    for part in parts:
        if not 0 < len(part) <= LABEL_LIMIT:
            what = f"has {len(part)} octets, of which {LABEL_LIMIT} are allowed" if part else "is empty"
            raise BadNameError(f"a label {what} (RFC 1035, section 2.3.4)")
        name += bytes([len(part)]) + part
    name += origin
    if len(name) > NAME_LIMIT:
        raise BadNameError(
            f"the name has {len(name)} octets, of which {NAME_LIMIT} are allowed (RFC 1035, section 2.3.4)"
        )
    return name


def unescape(text: str) -> Iterator[tuple[bytes, bool]]:
    r"""Return the octets that a text stands for, each with whether it was escaped: ``\X`` or ``\DDD``.

    Raises:
        BadNameError: an escape is cut short, or means no octet.
    """
    at = 0
    while at < len(text):
        if text[at] != "\\":
            for octet in text[at].encode("utf-8", "surrogateescape"):
                yield bytes([octet]), False
            at += 1
            continue
        digits = text[at + 1 : at + 1 + _LONGEST_ESCAPE]
        if digits[:1].isdecimal() and digits.isascii():
            if len(digits) < _LONGEST_ESCAPE or not digits.isdecimal() or int(digits) > 255:  # noqa: PLR2004 -- octet
                raise BadNameError(f"\\{digits} is no octet: write \\000 to \\255 (RFC 1035, section 5.1)")
            yield bytes([int(digits)]), True
            at += 1 + _LONGEST_ESCAPE
        elif digits:
            for octet in digits[0].encode("utf-8", "surrogateescape"):
                yield bytes([octet]), True
            at += 2
        else:
            raise BadNameError("a backslash at the end escapes nothing: write \\\\ for a backslash")


def from_text(text: str, origin: bytes = ROOT) -> bytes:
    r"""Read a name of a master file: ``www``, ``example.org.``, ``a\.b``, ``@``.

    Args:
        text: the name.
        origin: what it is relative to, unless it ends in a dot.

    Raises:
        BadNameError: it is none.
    """
    if text == "@":
        return origin
    if text == ".":
        return ROOT
    parts, dangling = [b""], False
    for octet, escaped in unescape(text):
        dangling = octet == b"." and not escaped
        if dangling:
            parts.append(b"")
        else:
            parts[-1] += octet
    if dangling:
        return join(parts[:-1])
    return join(parts, origin)


def to_text(name: bytes) -> str:
    """Write a name so that ``from_text()`` reads it back, in printable ASCII whatever it holds."""
    return ".".join("".join(map(_write, label)) for label in labels(name)) + "."


def _write(octet: int) -> str:
    if octet in _ESCAPED:
        return "\\" + chr(octet)
    return chr(octet) if 33 <= octet <= 126 else f"\\{octet:03d}"  # noqa: PLR2004 -- printable ASCII
