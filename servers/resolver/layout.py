"""Where names are in the data of records: they are compressed, and so must be read to be kept, or passed on."""

from __future__ import annotations

__all__ = ["COMPRESSED", "NAMES", "NAPTR", "RESTS"]

_ONE, _TWO, _AFTER_NUMBER = (0, 1), (0, 2), (2, 1)
COMPRESSED = dict.fromkeys((2, 3, 4, 5, 7, 8, 9, 12), _ONE) | {6: _TWO, 14: _TWO, 15: _AFTER_NUMBER}
"""By type: octets before the first name, and how many names there are. Those of RFC 1035, which may be compressed."""
_LATER = {17: _TWO, 18: _AFTER_NUMBER, 21: _AFTER_NUMBER, 24: (18, 1), 26: (2, 2), 30: _ONE, 33: (6, 1)}
NAMES = {**COMPRESSED, **_LATER, 36: _AFTER_NUMBER, 39: _ONE}
"""With those that may have been compressed by mistake, and must be read all the same (RFC 3597, section 4)."""
RESTS = {1: 4, 2: 0, 5: 0, 6: 20, 12: 0, 15: 0, 28: 16, 33: 0, 39: 0}
"""Octets after the names, where a type has always as many: A, NS, CNAME, SOA, PTR, MX, AAAA, SRV, DNAME."""
NAPTR = 35
"""Which has a name behind three texts (RFC 3403, section 4.1)."""
