"""``Limits``: every limit of a service, with its default and the reason for it.

Class attributes: set them in a subclass, or on an instance. Seconds everywhere; ``None`` is no limit.
"""

from __future__ import annotations

from framework.reader import LINE_LIMIT

__all__ = ["Limits"]


class Limits:
    """What a service lets its peers take; a base of ``ServiceMixIn``."""

    # -- how many ----------------------------------------------------------------------------------------------

    # Ranch and waitress have 1024; the kernel cuts it to net.core.somaxconn.
    request_queue_size: int = 1024
    """The backlog of listen(2): connections that wait to be accepted."""
    max_connections: int | None = 1024
    """Open at once; at this number the listener pauses and clients wait in the backlog. Ranch's default."""
    max_connections_per_peer: int | None = None
    """Open at once from one address, or one /64 of IPv6; further ones are closed. Off: behind a proxy or a
    shared address all clients are one peer."""
    max_datagrams_per_peer: float | None = None
    """A second, from one address, one /64 of IPv6, one path or one process; further ones are dropped, once a
    second's worth has come at once. Off: a forged address costs its sender nothing, so this restrains the clumsy
    and not the hostile."""
    accept_burst: int = 64
    """Requests taken per turn of the loop, so that those who are served get theirs."""

    # -- how long ----------------------------------------------------------------------------------------------

    handshake_timeout: float | None = 5
    """For all that comes before the handler, from when a worker takes the connection: the header of a proxy
    and a TLS handshake, together. Ranch and Thousand Island wait 5 s too."""
    idle_timeout: float | None = 60
    """For the first octet of the next request. Thousand Island waits 60 s too."""
    read_timeout: float | None = 60
    """For the rest of a line or a ``read(n)`` that has begun, from its first octet to its last."""
    write_timeout: float | None = 30
    """For the peer to take 256 KiB, or the whole of a smaller write. Thousand Island: 30 s."""
    lifetime: float | None = None
    """For a connection as a whole. Off: protocols differ too much."""
    drain_timeout: float = 15
    """For the requests that run when the server closes. Thousand Island waits 15 s too."""

    # -- how large ---------------------------------------------------------------------------------------------

    line_limit: int = LINE_LIMIT
    """Octets of a line that ``rfile`` reads. Twisted's limit."""
    max_packet_size: int = 65535
    """Octets of a datagram. The most that UDP can carry (RFC 768), and more than Unix senders send by default."""
