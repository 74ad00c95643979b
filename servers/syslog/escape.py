r"""Text that no terminal, log reader or line splitter can be attacked with, and from which the original can be had back.

==========  ==========================================================================================
``\\``      a backslash
``\t``      and ``\n``, ``\r``: what they are in Python and C
``\x1b``    the octet 1B: a control character of ASCII, or an octet of what is no UTF-8
``\u202e``  the character U+202E: controls of C1, line and paragraph separators, bidirectional controls
==========  ==========================================================================================
"""

from __future__ import annotations

import re

__all__ = ["escape", "unescape"]

# C0, DEL and C1; the separators, which many programs take for line ends; what Unicode calls Bidi_Control (UAX 9), by
# which a line can be made to look like another one; and octets that were no UTF-8, which stand as surrogates (PEP 383).
_DANGEROUS = re.compile(
    "[\\\\\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\udc80-\udcff]"
)
_ESCAPED = re.compile(r"\\(?:([\\tnr])|x([0-9a-f]{2})|u([0-9a-f]{4}))")
_LETTERS = {"\\": "\\", "\t": "t", "\n": "n", "\r": "r"}
_ORIGINALS = {letter: character for character, letter in _LETTERS.items()}


def escape(text: str) -> str:
    """Return ``text`` as one line of characters that do nothing but stand there; it can be encoded."""
    if text.isprintable() and "\\" not in text:  # three times as fast, and nearly always so
        return text
    return _DANGEROUS.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    letter = _LETTERS.get(character)
    if letter is not None:
        return "\\" + letter
    number = ord(character)
    if number < 0x80:  # noqa: PLR2004 -- one octet of UTF-8
        return f"\\x{number:02x}"
    if number >= 0xDC80:  # noqa: PLR2004 -- where PEP 383 puts the octets from 80 on
        return f"\\x{number - 0xDC00:02x}"
    return f"\\u{number:04x}"


def unescape(line: str) -> str:
    """Return what ``escape()`` made ``line`` of."""
    return _ESCAPED.sub(_original, line)


def _original(match: re.Match[str]) -> str:
    letter, octet, character = match.groups()
    if letter is not None:
        return _ORIGINALS[letter]
    if character is not None:
        return chr(int(character, 16))
    number = int(octet, 16)
    return chr(number if number < 0x80 else 0xDC00 + number)  # noqa: PLR2004 -- as above
