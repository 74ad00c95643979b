r"""The data of records as master files write it, into the octets of the wire: a table of types, a function per field.

Any type can be written as RFC 3597 has it, ``TYPE65280 \# 2 ABCD``, the known ones as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from servers.resolver.fields import (
    base_64,
    gateway,
    grouped,
    hashed_name,
    hexadecimal,
    ipv4,
    ipv6,
    mnemonic,
    moment,
    name,
    number,
    optional_string,
    place,
    prefixes,
    salt,
    service_parameters,
    string,
    strings,
    tag,
    time_span,
    unframed,
)
from servers.resolver.message import uncompressed
from servers.resolver.names import BadNameError
from servers.resolver.tokens import DataError, Tokens

__all__ = ["from_tokens", "type_number"]

_MOST = 65535


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
        length = _u16(tokens)
        data = hexadecimal(tokens) if tokens.taken < len(tokens.words) else b""
        if len(data) != int.from_bytes(length, "big"):
            raise DataError(f"{len(data)} octets, and not as many as it says (RFC 3597, section 5)")
        if kind in _FIELDS and not uncompressed(kind, data):
            raise DataError("these are no data of this type: names or sizes are not as it has them")
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


def _type(tokens: Tokens) -> bytes:
    text = tokens.next("a type")
    kind = type_number(text)
    if kind is None:
        raise DataError(f"{text!r} is no type")
    return kind.to_bytes(2, "big")


def _bitmap(tokens: Tokens) -> bytes:
    windows: dict[int, bytearray] = {}
    while tokens.taken < len(tokens.words):
        window, low = _type(tokens)
        bits = windows.setdefault(window, bytearray(32))
        bits[low >> 3] |= 0x80 >> (low & 7)
    kept = {window: bytes(bits).rstrip(b"\0") for window, bits in sorted(windows.items())}
    return b"".join([bytes([window, len(bits)]) + bits for window, bits in kept.items()])


_u8, _u16, _u32 = number(1), number(2), number(4)
# RFC 4034, appendix A.1, and what was added to the registry since.
_ALGORITHMS = {"RSAMD5": 1, "DH": 2, "DSA": 3, "RSASHA1": 5, "DSA-NSEC3-SHA1": 6, "RSASHA1-NSEC3-SHA1": 7}
_ALGORITHMS.update(
    {"RSASHA256": 8, "RSASHA512": 10, "ECC-GOST": 12, "ECDSAP256SHA256": 13, "ECDSAP384SHA384": 14}
)
_ALGORITHMS.update({"ED25519": 15, "ED448": 16, "INDIRECT": 252, "PRIVATEDNS": 253, "PRIVATEOID": 254})
_algorithm = mnemonic(1, _ALGORITHMS)
# RFC 4398, section 2.1.
_CERTIFICATES = {"PKIX": 1, "SPKI": 2, "PGP": 3, "IPKIX": 4, "ISPKI": 5, "IPGP": 6, "ACPKIX": 7, "IACPKIX": 8}
_certificate = mnemonic(2, {**_CERTIFICATES, "URI": 253, "OID": 254})
_eui48, _eui64 = grouped(6, 2, "-"), grouped(8, 2, "-")
_node = grouped(4, 4, ":")

_Fields = tuple[Callable[[Tokens], bytes], ...]
_KEY: _Fields = (_u16, _u8, _algorithm, base_64)
_DIGEST: _Fields = (_u16, _algorithm, _u8, hexadecimal)
_SIGNATURE: _Fields = (_type, _algorithm, _u8, time_span, moment, moment, _u16, name, base_64)
_SERVICE: _Fields = (_u16, name, service_parameters)

_TYPES: dict[str, tuple[int, _Fields]] = {
    "A": (1, (ipv4,)),
    "NS": (2, (name,)),
    "MD": (3, (name,)),
    "MF": (4, (name,)),
    "CNAME": (5, (name,)),
    "SOA": (6, (name, name, _u32, time_span, time_span, time_span, time_span)),
    "MB": (7, (name,)),
    "MG": (8, (name,)),
    "MR": (9, (name,)),
    "PTR": (12, (name,)),
    "HINFO": (13, (string, string)),
    "MINFO": (14, (name, name)),
    "MX": (15, (_u16, name)),
    "TXT": (16, (strings,)),
    "RP": (17, (name, name)),
    "AFSDB": (18, (_u16, name)),
    "X25": (19, (string,)),
    "ISDN": (20, (string, optional_string)),
    "RT": (21, (_u16, name)),
    "KEY": (25, _KEY),
    "PX": (26, (_u16, name, name)),
    "GPOS": (27, (string, string, string)),
    "AAAA": (28, (ipv6,)),
    "LOC": (29, (place,)),
    "SRV": (33, (_u16, _u16, _u16, name)),
    "NAPTR": (35, (_u16, _u16, string, string, string, name)),
    "KX": (36, (_u16, name)),
    "CERT": (37, (_certificate, _u16, _algorithm, base_64)),
    "DNAME": (39, (name,)),
    "APL": (42, (prefixes,)),
    "DS": (43, _DIGEST),
    "SSHFP": (44, (_u8, _u8, hexadecimal)),
    "IPSECKEY": (45, (gateway,)),
    "RRSIG": (46, _SIGNATURE),
    "NSEC": (47, (name, _bitmap)),
    "DNSKEY": (48, _KEY),
    "DHCID": (49, (base_64,)),
    "NSEC3": (50, (_u8, _u8, _u16, salt, hashed_name, _bitmap)),
    "NSEC3PARAM": (51, (_u8, _u8, _u16, salt)),
    "TLSA": (52, (_u8, _u8, _u8, hexadecimal)),
    "SMIMEA": (53, (_u8, _u8, _u8, hexadecimal)),
    "CDS": (59, _DIGEST),
    "CDNSKEY": (60, _KEY),
    "OPENPGPKEY": (61, (base_64,)),
    "CSYNC": (62, (_u32, _u16, _bitmap)),
    "ZONEMD": (63, (_u32, _u8, _u8, hexadecimal)),
    "SVCB": (64, _SERVICE),
    "HTTPS": (65, _SERVICE),
    "SPF": (99, (strings,)),
    "NID": (104, (_u16, _node)),
    "L32": (105, (_u16, ipv4)),
    "L64": (106, (_u16, _node)),
    "LP": (107, (_u16, name)),
    "EUI48": (108, (_eui48,)),
    "EUI64": (109, (_eui64,)),
    "URI": (256, (_u16, _u16, unframed)),
    "CAA": (257, (_u8, tag, unframed)),
    "AVC": (258, (strings,)),
    "DLV": (32769, _DIGEST),
}
_FIELDS = dict(_TYPES.values())
