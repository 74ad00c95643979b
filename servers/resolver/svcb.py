"""The parameters of SVCB and HTTPS records (RFC 9460)."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable

from servers.resolver.names import unescape

__all__ = ["parameters"]

_KEYS = ("mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp")
_MANDATORY, _ALPN, _NO_DEFAULT_ALPN, _PORT, _IPV4, _ECH, _IPV6, _, _OHTTP = range(9)
_MOST = 65535


def parameters(words: list[str]) -> bytes:
    """Read ``alpn=h2,h3 port=8443``.

    Raises:
        ValueError: they are none.
    """
    found: dict[int, bytes] = {}
    for word in words:
        name, equals, value = word.partition("=")
        key = _key(name)
        if key in found:
            raise ValueError(f"{name} is there twice (RFC 9460, section 2.1)")
        found[key] = _value(key, name, value if equals else None)
    if _MANDATORY in found:
        data = found[_MANDATORY]
        wanted = [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
        if _MANDATORY in wanted or len(set(wanted)) < len(wanted) or not set(wanted) <= set(found):
            raise ValueError(
                "mandatory names keys that are there, each once, and not itself (RFC 9460, section 8)"
            )
    if _NO_DEFAULT_ALPN in found and _ALPN not in found:
        raise ValueError("no-default-alpn goes with alpn (RFC 9460, section 7.1.1)")
    return b"".join(
        key.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value for key, value in sorted(found.items())
    )


def _key(name: str) -> int:
    if name in _KEYS:
        return _KEYS.index(name)
    generic = re.fullmatch(r"key(0|[1-9]\d{0,4})", name, re.ASCII)
    if generic is None or int(generic[1]) > _MOST:
        raise ValueError(f"{name!r} is no key: write {', '.join(_KEYS)} or key65280 (RFC 9460, section 2.1)")
    return int(generic[1])


def _value(key: int, name: str, value: str | None) -> bytes:
    if key in {_NO_DEFAULT_ALPN, _OHTTP}:
        if value:
            raise ValueError(f"{name} has no value (RFC 9460, section 7.1.1)")
        return b""
    if not value:
        if key < len(_KEYS):
            raise ValueError(f"{name} has a value: write {name}=... (RFC 9460, section 7)")
        return b""
    try:
        return _READERS.get(key, _plain)(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name}={value}: {error}") from None


def _plain(value: str) -> bytes:
    return b"".join([octet for octet, _ in unescape(value)])


_READERS: dict[int, Callable[[str], bytes]] = {
    _MANDATORY: lambda value: b"".join(sorted(_key(each).to_bytes(2, "big") for each in value.split(","))),
    _ALPN: lambda value: b"".join(bytes([len(each)]) + each for each in _list(value)),
    _PORT: lambda value: int(value).to_bytes(2, "big"),
    _IPV4: lambda value: b"".join(ipaddress.IPv4Address(each).packed for each in value.split(",")),
    _ECH: lambda value: base64.b64decode(value, validate=True),
    _IPV6: lambda value: b"".join(ipaddress.IPv6Address(each).packed for each in value.split(",")),
}


def _list(value: str) -> list[bytes]:
    r"""Read a list with commas, after escapes are undone: ``\\,`` is a comma in an item (RFC 9460, appendix A.1)."""
    data = b"".join([octet for octet, _ in unescape(value)])
    items = [b""]
    at = 0
    while at < len(data):
        octet = data[at : at + 1]
        if octet == b"\\" and data[at + 1 : at + 2] in {b",", b"\\"}:
            at += 1
            items[-1] += data[at : at + 1]
        elif octet == b",":
            items.append(b"")
        else:
            items[-1] += octet
        at += 1
    if not all(0 < len(each) <= 255 for each in items):  # noqa: PLR2004 -- its length is an octet
        raise ValueError("each protocol has 1 to 255 octets (RFC 9460, section 7.1.1)")
    return items
