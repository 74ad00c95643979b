"""The fields of which records' data is made, as master files write them, into the octets of the wire."""

from __future__ import annotations

import base64
import binascii
import calendar
import contextlib
import ipaddress
import re
import time
from collections.abc import Callable

from servers.resolver.location import location
from servers.resolver.names import from_text, unescape
from servers.resolver.svcb import parameters
from servers.resolver.tokens import DataError, Tokens, seconds

__all__ = [
    "base_64",
    "gateway",
    "grouped",
    "hashed_name",
    "hexadecimal",
    "ipv4",
    "ipv6",
    "mnemonic",
    "moment",
    "name",
    "number",
    "optional_string",
    "place",
    "prefixes",
    "salt",
    "service_parameters",
    "string",
    "strings",
    "tag",
    "time_span",
    "unframed",
]


def number(octets: int) -> Callable[[Tokens], bytes]:
    """Return what reads a number of so many octets."""

    def read(tokens: Tokens) -> bytes:
        text = tokens.next("a number")
        limit = 256**octets - 1
        if not re.fullmatch(r"\d{1,20}", text, re.ASCII) or int(text) > limit:
            raise DataError(f"{text!r} is no number from 0 to {limit}")
        return int(text).to_bytes(octets, "big")

    return read


def time_span(tokens: Tokens) -> bytes:
    """Read a time in seconds, ``1h30m`` as well."""
    return seconds(tokens.next("a time")).to_bytes(4, "big")


def name(tokens: Tokens) -> bytes:
    """Read a name."""
    return from_text(tokens.next("a name"), tokens.origin)


def _octets(text: str) -> bytes:
    return b"".join([octet for octet, _ in unescape(text)])


def string(tokens: Tokens) -> bytes:
    """Read a text of 255 octets at most."""
    data = _octets(tokens.next("a text"))
    if len(data) > 255:  # noqa: PLR2004 -- RFC 1035, section 3.3
        raise DataError(f"a text of {len(data)} octets, of which 255 are allowed: write several")
    return bytes([len(data)]) + data


def strings(tokens: Tokens) -> bytes:
    """Read one text or several."""
    data = string(tokens)
    while tokens.taken < len(tokens.words):
        data += string(tokens)
    return data


def optional_string(tokens: Tokens) -> bytes:
    """Read a text, if there is one."""
    return string(tokens) if tokens.taken < len(tokens.words) else b""


def unframed(tokens: Tokens) -> bytes:
    """Read a text of any length, the last field of its record."""
    return _octets(tokens.next("a text"))


def tag(tokens: Tokens) -> bytes:
    """Read the tag of a CAA."""
    data = string(tokens)
    if not data[1:].isalnum():
        raise DataError("a tag has letters and digits only (RFC 8659, section 4.1)")
    return data


def _address(
    kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], what: str
) -> Callable[[Tokens], bytes]:
    def read(tokens: Tokens) -> bytes:
        text = tokens.next("an address")
        try:
            return kind(text).packed
        except ValueError:
            raise DataError(f"{text!r} is no {what} address") from None

    return read


ipv4, ipv6 = _address(ipaddress.IPv4Address, "IPv4"), _address(ipaddress.IPv6Address, "IPv6")


def _unhex(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except ValueError:
        raise DataError(f"{text[:40]!r} is no hexadecimal") from None


def hexadecimal(tokens: Tokens) -> bytes:
    """Read hexadecimal digits to the end."""
    return _unhex(tokens.next("hexadecimal") + "".join(tokens.rest()))


def base_64(tokens: Tokens) -> bytes:
    """Read Base64 to the end."""
    text = tokens.next("Base64") + "".join(tokens.rest())
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise DataError(f"{text[:40]!r} is no Base64") from None


def salt(tokens: Tokens) -> bytes:
    """Read the salt of an NSEC3."""
    text = tokens.next("a salt")
    data = b"" if text == "-" else _unhex(text)
    if len(data) > 255:  # noqa: PLR2004 -- its length is an octet
        raise DataError("a salt of more than 255 octets (RFC 5155, section 3.2)")
    return bytes([len(data)]) + data


def hashed_name(tokens: Tokens) -> bytes:
    """Read the hash of an NSEC3."""
    text = tokens.next("a hash")
    try:
        data = base64.b32hexdecode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        raise DataError(
            f"{text!r} is no Base32 with the extended hex alphabet (RFC 5155, section 3.3)"
        ) from None
    return bytes([len(data)]) + data


def moment(tokens: Tokens) -> bytes:
    """Read a moment of the years 1970 to 2106, as RRSIGs have it."""
    text = tokens.next("a time")
    if re.fullmatch(r"\d{14}", text, re.ASCII):
        try:
            value = calendar.timegm(time.strptime(text, "%Y%m%d%H%M%S"))
        except ValueError:
            raise DataError(f"{text!r} is no time: write YYYYMMDDHHmmSS (RFC 4034, section 3.2)") from None
    elif re.fullmatch(r"\d{1,10}", text, re.ASCII):
        value = int(text)
    else:
        raise DataError(f"{text!r} is no time: write YYYYMMDDHHmmSS (RFC 4034, section 3.2)")
    return (value & 0xFFFFFFFF).to_bytes(4, "big")


def mnemonic(octets: int, names: dict[str, int]) -> Callable[[Tokens], bytes]:
    """Return what reads a number of so many octets, or one of these names."""
    otherwise = number(octets)

    def read(tokens: Tokens) -> bytes:
        upper = "".join(tokens.words[tokens.taken : tokens.taken + 1]).upper()
        if upper in names:
            tokens.next()
            return names[upper].to_bytes(octets, "big")
        return otherwise(tokens)

    return read


def grouped(groups: int, digits: int, mark: str) -> Callable[[Tokens], bytes]:
    """Return what reads so many groups of hexadecimal digits."""

    def read(tokens: Tokens) -> bytes:
        text = tokens.next("a group of digits")
        parts = text.split(mark)
        if len(parts) != groups or any(len(part) != digits for part in parts):
            raise DataError(
                f"{text!r} is not {groups} times {digits} hexadecimal digits, with {mark!r} between"
            )
        return _unhex("".join(parts))

    return read


def prefixes(tokens: Tokens) -> bytes:
    """Read the prefixes of an APL to the end."""
    data = b""
    for text in tokens.rest():
        found = re.fullmatch(r"(!?)([12]):([^/]+)/(\d{1,3})", text, re.ASCII)
        address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
        with contextlib.suppress(ValueError):
            if found is not None:
                address = (
                    ipaddress.IPv4Address(found[3]) if found[2] == "1" else ipaddress.IPv6Address(found[3])
                )
        if found is None or address is None or int(found[4]) > address.max_prefixlen:
            raise DataError(f"{text!r} is no prefix: write 1:192.0.2.0/24 (RFC 3123, section 5)")
        part = address.packed.rstrip(b"\0")
        length = len(part) | (0x80 if found[1] else 0)
        data += bytes([0, int(found[2]), int(found[4]), length]) + part
    return data


def gateway(tokens: Tokens) -> bytes:
    """Read an IPSECKEY."""
    # RFC 4025, section 3.1: what the gateway is depends on a field before the algorithm.
    precedence, kind, algorithm = (number(1)(tokens) for _ in range(3))
    if kind[0] == 0:
        if tokens.next("a gateway") != ".":
            raise DataError("a gateway of type 0 is written as a dot (RFC 4025, section 3.1)")
        gateway = b""
    elif kind[0] <= 3:  # noqa: PLR2004 -- the types there are
        gateway = (ipv4, ipv6, name)[kind[0] - 1](tokens)
    else:
        raise DataError("the type of a gateway is from 0 to 3 (RFC 4025, section 2.3)")
    key = base_64(tokens) if tokens.taken < len(tokens.words) else b""
    return precedence + kind + algorithm + gateway + key


def place(tokens: Tokens) -> bytes:
    """Read a LOC to the end."""
    try:
        return location(tokens.rest())
    except ValueError as error:
        raise DataError(str(error)) from None


def service_parameters(tokens: Tokens) -> bytes:
    """Read the parameters of an SVCB to the end."""
    try:
        return parameters(tokens.rest())
    except ValueError as error:
        raise DataError(str(error)) from None
