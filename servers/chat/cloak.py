"""Cloaks: what others see instead of where a user is connected from."""

from __future__ import annotations

import base64
import hmac
import ipaddress

__all__ = ["cloak"]


def cloak(address: str, secret: bytes) -> str:
    """Return a name that tells nothing of the address, yet is the same for it each time.

    Its parts stand for ever larger networks, so that a mask such as ``*.h4w6b2k7.cloak`` still bans one of them: a
    single address, a /24, a /16 of IPv4; a /64, a /48, a /32 of IPv6.

    Args:
        address: an IP address, or any other text.
        secret: without which nobody can find out by trying all addresses.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"{_digest(address.encode(), secret)}.cloak"
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    octets = (mapped or parsed).packed
    sizes = (4, 3, 2) if len(octets) == 4 else (8, 6, 4)  # noqa: PLR2004 -- an address of IPv4
    return ".".join([*(_digest(octets[:size], secret) for size in sizes), "cloak"])


def _digest(data: bytes, secret: bytes) -> str:
    # 40 bits: nobody is there twice by chance, and a host of three fits on a line.
    return base64.b32encode(hmac.digest(secret, data, "sha256")[:5]).decode().lower()
