r"""The data of records as master files write it, into the octets of the wire: a table of types, a function per field.

Any type can be written as RFC 3597 has it, ``TYPE65280 \# 2 ABCD``, the known ones as well.
"""

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
from servers.resolver.names import BadNameError, from_text, unescape
from servers.resolver.svcb import parameters

__all__ = ["DataError", "Tokens", "from_tokens", "seconds", "type_number"]

_MOST = 65535
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class DataError(ValueError):
    """Data that its type does not allow."""


class Tokens:
    """What an entry has left to be read.

    Args:
        words: the tokens, with escapes as they are.
        origin: what relative names are relative to.
    """

    def __init__(self, words: list[str], origin: bytes) -> None:
        self.words = words
        self.origin = origin
        self.taken = 0
        """How many have been read: what is wrong is wrong with the last of them."""

    def next(self, what: str = "a field") -> str:
        """Take the next token.

        Raises:
            DataError: there is none.
        """
        if self.taken == len(self.words):
            raise DataError(f"{what} is missing")
        self.taken += 1
        return self.words[self.taken - 1]

    def rest(self) -> list[str]:
        """Take all tokens that are left."""
        rest = self.words[self.taken :]
        self.taken = len(self.words)
        return rest


def seconds(text: str) -> int:
    """Read a time: ``3600``, ``1h30m``.

    Raises:
        DataError: it is none that fits (RFC 2181, section 8).
    """
    if not re.fullmatch(r"\d{1,10}|(\d{1,10}[smhdwSMHDW])+", text, re.ASCII):
        raise DataError(f"{text!r} is no time: write seconds, or 1h30m")
    parts = re.findall(r"(\d+)([a-z]?)", text.lower())
    total = sum(int(number) * _UNITS[unit or "s"] for number, unit in parts)
    if total > 0x7FFFFFFF:  # noqa: PLR2004 -- RFC 2181, section 8
        raise DataError(f"{text} is more than 2147483647 seconds")
    return total


def type_number(text: str) -> int | None:
    """Return the number of a type by its name, or ``None`` if there is no such type."""
    known = _TYPES.get(text.upper())
    if known is not None:
        return known[0]
    generic = re.fullmatch(r"TYPE(\d{1,5})", text.upper(), re.ASCII)
    return int(generic[1]) if generic and int(generic[1]) <= _MOST else None


def from_tokens(kind: int, tokens: Tokens) -> bytes:
    """Read the data of a record.

    Raises:
        DataError: it is not what the type has.
    """
    if tokens.words[tokens.taken : tokens.taken + 1] == ["\\#"]:
        tokens.next()
        length = _number(2)(tokens)
        data = _hex(tokens) if tokens.taken < len(tokens.words) else b""
        if len(data) != int.from_bytes(length, "big"):
            raise DataError(f"{len(data)} octets, and not as many as it says (RFC 3597, section 5)")
        return data
    fields = _FIELDS.get(kind)
    if fields is None:
        raise DataError(
            f"TYPE{kind} is not known by its fields: write \\# and its octets (RFC 3597, section 5)"
        )
    try:
        data = b"".join([field(tokens) for field in fields])
    except BadNameError as error:
        raise DataError(str(error)) from None
    if tokens.taken < len(tokens.words):
        tokens.next()
        raise DataError("the data is complete before this")
    if len(data) > _MOST:
        raise DataError(f"{len(data)} octets, of which {_MOST} are allowed")
    return data


# -- fields ----------------------------------------------------------------------------------------------------------


def _number(octets: int) -> Callable[[Tokens], bytes]:
    def read(tokens: Tokens) -> bytes:
        text = tokens.next("a number")
        limit = 256**octets - 1
        if not re.fullmatch(r"\d{1,20}", text, re.ASCII) or int(text) > limit:
            raise DataError(f"{text!r} is no number from 0 to {limit}")
        return int(text).to_bytes(octets, "big")

    return read


def _time_span(tokens: Tokens) -> bytes:
    return seconds(tokens.next("a time")).to_bytes(4, "big")


def _name(tokens: Tokens) -> bytes:
    return from_text(tokens.next("a name"), tokens.origin)


def _octets(text: str) -> bytes:
    return b"".join([octet for octet, _ in unescape(text)])


def _string(tokens: Tokens) -> bytes:
    data = _octets(tokens.next("a text"))
    if len(data) > 255:  # noqa: PLR2004 -- RFC 1035, section 3.3
        raise DataError(f"a text of {len(data)} octets, of which 255 are allowed: write several")
    return bytes([len(data)]) + data


def _strings(tokens: Tokens) -> bytes:
    data = _string(tokens)
    while tokens.taken < len(tokens.words):
        data += _string(tokens)
    return data


def _optional_string(tokens: Tokens) -> bytes:
    return _string(tokens) if tokens.taken < len(tokens.words) else b""


def _unframed(tokens: Tokens) -> bytes:
    return _octets(tokens.next("a text"))


def _tag(tokens: Tokens) -> bytes:
    data = _string(tokens)
    if not data[1:].isalnum():
        raise DataError("a tag has letters and digits only (RFC 8659, section 4.1)")
    return data


def _ipv4(tokens: Tokens) -> bytes:
    text = tokens.next("an address")
    try:
        return ipaddress.IPv4Address(text).packed
    except ValueError:
        raise DataError(f"{text!r} is no IPv4 address") from None


def _ipv6(tokens: Tokens) -> bytes:
    text = tokens.next("an address")
    try:
        return ipaddress.IPv6Address(text).packed
    except ValueError:
        raise DataError(f"{text!r} is no IPv6 address") from None


def _unhex(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except ValueError:
        raise DataError(f"{text[:40]!r} is no hexadecimal") from None


def _hex(tokens: Tokens) -> bytes:
    return _unhex(tokens.next("hexadecimal") + "".join(tokens.rest()))


def _base64(tokens: Tokens) -> bytes:
    text = tokens.next("Base64") + "".join(tokens.rest())
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise DataError(f"{text[:40]!r} is no Base64") from None


def _salt(tokens: Tokens) -> bytes:
    text = tokens.next("a salt")
    data = b"" if text == "-" else _unhex(text)
    if len(data) > 255:  # noqa: PLR2004 -- its length is an octet
        raise DataError("a salt of more than 255 octets (RFC 5155, section 3.2)")
    return bytes([len(data)]) + data


def _hash(tokens: Tokens) -> bytes:
    text = tokens.next("a hash")
    try:
        data = base64.b32hexdecode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        raise DataError(
            f"{text!r} is no Base32 with the extended hex alphabet (RFC 5155, section 3.3)"
        ) from None
    return bytes([len(data)]) + data


def _type(tokens: Tokens) -> bytes:
    text = tokens.next("a type")
    number = type_number(text)
    if number is None:
        raise DataError(f"{text!r} is no type")
    return number.to_bytes(2, "big")


def _bitmap(tokens: Tokens) -> bytes:
    windows: dict[int, bytearray] = {}
    while tokens.taken < len(tokens.words):
        window, low = _type(tokens)
        bits = windows.setdefault(window, bytearray(32))
        bits[low >> 3] |= 0x80 >> (low & 7)
    kept = {window: bytes(bits).rstrip(b"\0") for window, bits in sorted(windows.items())}
    return b"".join([bytes([window, len(bits)]) + bits for window, bits in kept.items()])


def _moment(tokens: Tokens) -> bytes:
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


def _mnemonic(octets: int, names: dict[str, int]) -> Callable[[Tokens], bytes]:
    number = _number(octets)

    def read(tokens: Tokens) -> bytes:
        upper = "".join(tokens.words[tokens.taken : tokens.taken + 1]).upper()
        if upper in names:
            tokens.next()
            return names[upper].to_bytes(octets, "big")
        return number(tokens)

    return read


def _grouped(groups: int, digits: int, mark: str) -> Callable[[Tokens], bytes]:
    def read(tokens: Tokens) -> bytes:
        text = tokens.next("a group of digits")
        parts = text.split(mark)
        if len(parts) != groups or any(len(part) != digits for part in parts):
            raise DataError(
                f"{text!r} is not {groups} times {digits} hexadecimal digits, with {mark!r} between"
            )
        return _unhex("".join(parts))

    return read


def _prefixes(tokens: Tokens) -> bytes:
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


def _gateway(tokens: Tokens) -> bytes:
    # RFC 4025, section 3.1: what the gateway is depends on a field before the algorithm.
    precedence, kind, algorithm = (_number(1)(tokens) for _ in range(3))
    if kind[0] == 0:
        if tokens.next("a gateway") != ".":
            raise DataError("a gateway of type 0 is written as a dot (RFC 4025, section 3.1)")
        gateway = b""
    elif kind[0] <= 3:  # noqa: PLR2004 -- the types there are
        gateway = (_ipv4, _ipv6, _name)[kind[0] - 1](tokens)
    else:
        raise DataError("the type of a gateway is from 0 to 3 (RFC 4025, section 2.3)")
    key = _base64(tokens) if tokens.taken < len(tokens.words) else b""
    return precedence + kind + algorithm + gateway + key


def _location(tokens: Tokens) -> bytes:
    try:
        return location(tokens.rest())
    except ValueError as error:
        raise DataError(str(error)) from None


def _parameters(tokens: Tokens) -> bytes:
    try:
        return parameters(tokens.rest())
    except ValueError as error:
        raise DataError(str(error)) from None


_u8, _u16, _u32 = _number(1), _number(2), _number(4)
# RFC 4034, appendix A.1, and what was added to the registry since.
_ALGORITHMS = {"RSAMD5": 1, "DH": 2, "DSA": 3, "RSASHA1": 5, "DSA-NSEC3-SHA1": 6, "RSASHA1-NSEC3-SHA1": 7}
_ALGORITHMS.update(
    {"RSASHA256": 8, "RSASHA512": 10, "ECC-GOST": 12, "ECDSAP256SHA256": 13, "ECDSAP384SHA384": 14}
)
_ALGORITHMS.update({"ED25519": 15, "ED448": 16, "INDIRECT": 252, "PRIVATEDNS": 253, "PRIVATEOID": 254})
_algorithm = _mnemonic(1, _ALGORITHMS)
# RFC 4398, section 2.1.
_CERTIFICATES = {"PKIX": 1, "SPKI": 2, "PGP": 3, "IPKIX": 4, "ISPKI": 5, "IPGP": 6, "ACPKIX": 7, "IACPKIX": 8}
_certificate = _mnemonic(2, {**_CERTIFICATES, "URI": 253, "OID": 254})
_eui48, _eui64 = _grouped(6, 2, "-"), _grouped(8, 2, "-")
_node = _grouped(4, 4, ":")

_Fields = tuple[Callable[[Tokens], bytes], ...]
_KEY: _Fields = (_u16, _u8, _algorithm, _base64)
_DIGEST: _Fields = (_u16, _algorithm, _u8, _hex)
_SIGNATURE: _Fields = (_type, _algorithm, _u8, _time_span, _moment, _moment, _u16, _name, _base64)
_SERVICE: _Fields = (_u16, _name, _parameters)

_TYPES: dict[str, tuple[int, _Fields]] = {
    "A": (1, (_ipv4,)),
    "NS": (2, (_name,)),
    "MD": (3, (_name,)),
    "MF": (4, (_name,)),
    "CNAME": (5, (_name,)),
    "SOA": (6, (_name, _name, _u32, _time_span, _time_span, _time_span, _time_span)),
    "MB": (7, (_name,)),
    "MG": (8, (_name,)),
    "MR": (9, (_name,)),
    "PTR": (12, (_name,)),
    "HINFO": (13, (_string, _string)),
    "MINFO": (14, (_name, _name)),
    "MX": (15, (_u16, _name)),
    "TXT": (16, (_strings,)),
    "RP": (17, (_name, _name)),
    "AFSDB": (18, (_u16, _name)),
    "X25": (19, (_string,)),
    "ISDN": (20, (_string, _optional_string)),
    "RT": (21, (_u16, _name)),
    "KEY": (25, _KEY),
    "PX": (26, (_u16, _name, _name)),
    "GPOS": (27, (_string, _string, _string)),
    "AAAA": (28, (_ipv6,)),
    "LOC": (29, (_location,)),
    "SRV": (33, (_u16, _u16, _u16, _name)),
    "NAPTR": (35, (_u16, _u16, _string, _string, _string, _name)),
    "KX": (36, (_u16, _name)),
    "CERT": (37, (_certificate, _u16, _algorithm, _base64)),
    "DNAME": (39, (_name,)),
    "APL": (42, (_prefixes,)),
    "DS": (43, _DIGEST),
    "SSHFP": (44, (_u8, _u8, _hex)),
    "IPSECKEY": (45, (_gateway,)),
    "RRSIG": (46, _SIGNATURE),
    "NSEC": (47, (_name, _bitmap)),
    "DNSKEY": (48, _KEY),
    "DHCID": (49, (_base64,)),
    "NSEC3": (50, (_u8, _u8, _u16, _salt, _hash, _bitmap)),
    "NSEC3PARAM": (51, (_u8, _u8, _u16, _salt)),
    "TLSA": (52, (_u8, _u8, _u8, _hex)),
    "SMIMEA": (53, (_u8, _u8, _u8, _hex)),
    "CDS": (59, _DIGEST),
    "CDNSKEY": (60, _KEY),
    "OPENPGPKEY": (61, (_base64,)),
    "CSYNC": (62, (_u32, _u16, _bitmap)),
    "ZONEMD": (63, (_u32, _u8, _u8, _hex)),
    "SVCB": (64, _SERVICE),
    "HTTPS": (65, _SERVICE),
    "SPF": (99, (_strings,)),
    "NID": (104, (_u16, _node)),
    "L32": (105, (_u16, _ipv4)),
    "L64": (106, (_u16, _node)),
    "LP": (107, (_u16, _name)),
    "EUI48": (108, (_eui48,)),
    "EUI64": (109, (_eui64,)),
    "URI": (256, (_u16, _u16, _unframed)),
    "CAA": (257, (_u8, _tag, _unframed)),
    "AVC": (258, (_strings,)),
    "DLV": (32769, _DIGEST),
}
_FIELDS = dict(_TYPES.values())
