"""What a service knows about itself at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from framework.connection import Phase
from framework.lifecycle import ServerState

__all__ = ["ConnectionInfo", "ServiceInfo", "WorkerInfo"]


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """One open connection."""

    number: int
    address: Any  # whatever the family says it is
    phase: Phase
    seconds: float
    """Since it was accepted."""
    received: int
    """Octets that have come and were taken from the system; over TLS, as the handler sees them."""
    sent: int
    """Octets that the system took; over TLS, as the handler gave them."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker process of a prefork server."""

    pid: int
    slot: int
    """Its place among the others, which its replacement takes over."""
    seconds: float
    """Since it was started."""
    connections: int
    """Open, when its loop last turned."""


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """A service at one moment."""

    state: ServerState
    connections: tuple[ConnectionInfo, ...]
    dropped: int
    """Datagrams that came faster than ``max_datagrams_per_peer`` allows, since the server was made."""
    workers: tuple[WorkerInfo, ...] = ()
    """Of a prefork server, whose connections are theirs."""
