"""The data of LOC records (RFC 1876)."""

from __future__ import annotations

import re

__all__ = ["location"]

_NUMBER = re.compile(r"\d{1,8}(\.\d{1,3})?", re.ASCII)
# RFC 1876, section 3: size, horizontal and vertical precision, unless given, in centimetres.
_DEFAULTS = (100, 1_000_000, 1000)
_LOWEST = 10_000_000
"""Altitudes are counted from 100 000 m below the sea, in centimetres."""


def location(words: list[str]) -> bytes:
    """Read ``52 22 23.000 N 4 53 32.000 E -2.00m 1m 10000m 10m``.

    Raises:
        ValueError: it is no place.
    """
    left = list(words)
    latitude = _angle(left, "NS", 90)
    longitude = _angle(left, "EW", 180)
    if not left:
        raise ValueError("the altitude is missing (RFC 1876, section 3)")
    altitude = _centimetres(left.pop(0), signed=True) + _LOWEST
    if not 0 <= altitude < 2**32:
        raise ValueError("an altitude from -100000 to 42849672.95 is wanted (RFC 1876, section 2)")
    if len(left) > len(_DEFAULTS):
        raise ValueError(f"the data is complete before {left[len(_DEFAULTS)]!r}")
    sizes = [_centimetres(word) for word in left] + list(_DEFAULTS[len(left) :])
    numbers = (latitude, longitude, altitude)
    return b"\0" + bytes(map(_scientific, sizes)) + b"".join(each.to_bytes(4, "big") for each in numbers)


def _angle(words: list[str], signs: str, most: int) -> int:
    parts: list[str] = []
    while words and words[0].upper() not in signs:
        parts.append(words.pop(0))
    if not words or not 1 <= len(parts) <= 3:  # noqa: PLR2004 -- degrees, minutes, seconds
        raise ValueError(
            f"degrees, minutes and seconds, and then {' or '.join(signs)} are wanted (RFC 1876, section 3)"
        )
    positive = words.pop(0).upper() == signs[0]
    if not all(_NUMBER.fullmatch(part) for part in parts) or any("." in part for part in parts[:2]):
        raise ValueError(f"{' '.join(parts)!r} is no angle")
    degrees, minutes, seconds = [*parts, "0", "0"][:3]
    whole, _, fraction = seconds.partition(".")
    thousandths = int(whole) * 1000 + int(fraction.ljust(3, "0"))
    total = (int(degrees) * 60 + int(minutes)) * 60_000 + thousandths
    if int(minutes) >= 60 or thousandths >= 60_000 or total > most * 3_600_000:  # noqa: PLR2004 -- per hour
        raise ValueError(f"{' '.join(parts)!r} is no angle up to {most} degrees")
    return 2**31 + (total if positive else -total)


def _centimetres(word: str, *, signed: bool = False) -> int:
    text = word.removesuffix("m").removesuffix("M")
    sign = -1 if signed and text.startswith("-") else 1
    text = text[1:] if signed and text[:1] in {"-", "+"} else text
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{word!r} is no length in metres")
    whole, _, fraction = text.partition(".")
    return sign * (int(whole) * 100 + int(fraction.ljust(2, "0")[:2]))


def _scientific(centimetres: int) -> int:
    exponent = max(len(str(centimetres)) - 1, 0)
    mantissa = centimetres // int(10**exponent)
    if exponent > 9:  # noqa: PLR2004 -- four bits, of which RFC 1876 allows a digit
        raise ValueError("a size from 0 to 90000000 metres is wanted (RFC 1876, section 2)")
    return mantissa << 4 | exponent
