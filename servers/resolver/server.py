"""The composition: datagrams in batches on one loop, connections in a thread each, one resolver behind both."""

from __future__ import annotations

import logging
import resource
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from framework import Flusher, InetAddress, ThreadingTCPService
from framework.addresses import Endpoint
from framework.batches import UDPBatchService
from framework.handover import inheritance
from servers.resolver.cookies import Cookies
from servers.resolver.exchanges import Exchanges
from servers.resolver.handler import DatagramHandler, StreamHandler
from servers.resolver.metrics import ResolverCollector
from servers.resolver.names import to_text
from servers.resolver.notify import notify
from servers.resolver.resolver import Resolver
from servers.resolver.settings import Settings
from servers.resolver.steps.access import Access, AccessList
from servers.resolver.steps.cache import Cache, CacheRules
from servers.resolver.steps.chaos import Chaos
from servers.resolver.steps.chase import Chase
from servers.resolver.steps.forward import Forward
from servers.resolver.steps.local import Local
from servers.resolver.steps.rate import RateLimit
from servers.resolver.steps.special import Special
from servers.resolver.steps.zones import Zones
from servers.resolver.transfer import Transfers
from servers.resolver.upstream import Upstream
from servers.resolver.zone import Zone
from shared.run import Program, listen
from shared.settings import SettingsError
from shared.sources import reread

__all__ = ["DatagramServer", "Service", "StreamServer", "program"]

_log = logging.getLogger(__name__)

# A thousand connections, 500 lookups, and some more; many systems begin with 1024 (setrlimit(2)).
_DESCRIPTORS = 2048

# All of them but where the sockets are.
_CHANGEABLE = (
    *("zone", "hosts", "blocklist", "block_answer", "forward", "version", "nsid", "allow_recursion"),
    *("allow_transfer", "notify", "rate_limit", "rate_slip", "payload", "cache_size", "cache_min_ttl"),
    *("cache_max_ttl", "serve_stale"),
)


class Service:
    """The resolver that is served now, and how to come by another one.

    Args:
        settings: what can be set.

    Raises:
        SettingsError: a file that they name cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.exchanges = Exchanges()
        secret = bytes.fromhex(settings.cookie_secret) or secrets.token_bytes(16)
        self._cookies = Cookies(secret)
        self._upstreams: dict[tuple[str, int], Upstream] = {}
        self._zones: dict[bytes, Zone] = {}
        self._cache: Cache | None = None
        self._forward: Forward | None = None
        self.datagrams = 0
        """Received."""
        self.unsent = 0
        """Answers that the system did not take."""
        self.answers: Counter[int] = Counter()
        """That were made, and not found in memory; by code."""
        self.resolver, zones = self._build(settings)
        self._announce(zones, settings.secondaries())

    def reload(self) -> None:
        """Read settings and files anew; whatever is wrong with them, the service goes on as it was."""
        old = self.settings
        new = reread(old, *_CHANGEABLE)
        try:
            if (new.forward, new.cache_size) != (old.forward, old.cache_size):
                self._cache = None
            # Questions that are being answered are answered by the old one, the next ones by the new.
            made, secondaries = self._build(new), new.secondaries()
        except SettingsError as error:
            _log.error("the answers stay as they were: %s", error)
            return
        self.settings = new
        self.resolver, zones = made
        # Now, since whoever is told comes to look at once.
        self._announce(zones, secondaries)

    def cached(self) -> int:
        """Return how many answers of upstream servers are in memory."""
        return 0 if self._cache is None else len(self._cache)

    def waiting(self) -> int:
        """Return how many questions wait for an upstream server."""
        return 0 if self._forward is None else self._forward.waiting()

    def serials(self) -> list[tuple[str, int]]:
        """Return the serial numbers of the zones."""
        return [(to_text(origin), zone.serial) for origin, zone in self._zones.items()]

    def upstreams(self) -> list[Upstream]:
        """Return the upstream servers."""
        return [*self._upstreams.values()]

    def _build(self, settings: Settings) -> tuple[Resolver, dict[bytes, Zone]]:
        """Return a resolver, and the zones it serves."""
        # All that can be wrong, before anything changes.
        zones, hosts, blocked = settings.read_zones(), settings.read_hosts(), settings.read_blocklists()
        routes: dict[bytes, list[Upstream]] = {}
        for route in settings.forward:
            upstream = self._upstreams.setdefault(route.address, Upstream(route.address))
            routes.setdefault(route.domain, []).append(upstream)
        if self._cache is None:
            rules = CacheRules(
                lowest_ttl=settings.cache_min_ttl,
                highest_ttl=settings.cache_max_ttl,
                stale=settings.serve_stale,
                octets=settings.cache_size * 2**19,
            )
            self._cache = Cache(rules, self.exchanges.later)
        served = Zones(zones)
        self._forward = Forward(routes, self.exchanges)
        made = Resolver(
            [
                Chaos(settings.version, settings.nsid),
                Chase(),
                Local(hosts, blocked, settings.block_answer),
                served,
                Access(),
                Special(frozenset(routes)),
                self._cache,
                self._forward,
            ],
            AccessList(settings.allow_recursion),
            RateLimit(settings.rate_limit, settings.rate_slip),
            self._cookies,
            transfers=Transfers(served, AccessList(settings.allow_transfer)),
            recurses=bool(routes),
            nsid=settings.nsid.encode(),
            payload=settings.payload,
            answers=self.answers,
        )
        return made, zones

    def _announce(self, zones: dict[bytes, Zone], secondaries: Sequence[tuple[str, int]]) -> None:
        for origin, zone in zones.items():
            if zone.is_signed:
                _log.warning("%s is signed: it is served without signatures and proofs", to_text(origin))
            old = self._zones.get(origin)
            if old is not None and old.serial == zone.serial and set(old.rrsets()) != set(zone.rrsets()):
                _log.warning(
                    "%s has changed and its serial has not: secondaries keep what they have", to_text(origin)
                )
        new = [
            zone
            for origin, zone in zones.items()
            if origin not in self._zones or self._zones[origin].serial != zone.serial
        ]
        notify(self.exchanges, new, secondaries)
        self._zones = zones


class DatagramServer(UDPBatchService[InetAddress]):
    """Serves DNS by UDP.

    Args:
        where: what ``framework.at()`` returns.
        service: who knows the answers.
    """

    # The largest query there can be is far smaller: a name, and some options.
    max_packet_size = 4096
    # A client takes no answer from another address than the one it asked.
    reply_from_destination = True

    def __init__(self, where: Any, service: Service) -> None:
        self.service = service
        self.renew: Callable[[], None] | None = None
        """What SIGHUP asks for, of one of several servers."""
        super().__init__(where, DatagramHandler)

    def reload(self) -> None:
        """Read anew what the service is made of."""
        super().reload()
        if self.renew is not None:
            self.renew()


class StreamServer(ThreadingTCPService[InetAddress]):
    """Serves DNS by TCP.

    Args:
        where: what ``framework.at()`` returns.
        service: who knows the answers.
    """

    # RFC 7766, section 6.2.3: seconds rather than minutes; BIND and Unbound have 30, and no fewer clients.
    idle_timeout = 10
    # A question is one packet: whoever takes long for it means to.
    read_timeout = 5
    write_timeout = 10
    # A thread each; a thousand of them that do nothing cost some 20 MiB.
    max_connections = 1000
    max_connections_per_peer = 100

    def __init__(self, where: Any, service: Service) -> None:
        self.service = service
        self.renew: Callable[[], None] | None = None
        """What SIGHUP asks for, of one of several servers."""
        self.flusher = Flusher()
        super().__init__(where, StreamHandler)

    def reload(self) -> None:
        """Read anew what the service is made of."""
        super().reload()
        if self.renew is not None:
            self.renew()

    def server_close(self) -> None:
        """Close the server, then stop what sends for slow clients."""
        super().server_close()
        self.flusher.close()


def program(settings: Settings) -> Program:
    """Return what ``python -m servers.resolver`` runs."""
    _allow_descriptors()
    service = Service(settings)

    def make(where: Endpoint) -> DatagramServer | StreamServer:
        datagrams = inheritance().kind(where) == socket.SOCK_DGRAM
        return DatagramServer(where, service) if datagrams else StreamServer(where, service)

    servers = listen(settings.bind, make)
    if servers:
        servers[0].renew = service.reload
    return Program(servers, _banner(settings, servers), collectors=[ResolverCollector(service)])


def _allow_descriptors() -> None:
    """Raise the limit on open files as far as the limits on connections and lookups need it, and the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _banner(settings: Settings, servers: Sequence[DatagramServer | StreamServer]) -> str:
    """Return what whoever starts it wants to know: where it is, and what to ask it."""
    where = [(each.server_address[:2], isinstance(each, DatagramServer)) for each in servers]
    shown = ", ".join(
        f"{'udp' if datagrams else 'tcp'}://{_place(host)}:{port}" for (host, port), datagrams in where
    )
    host, port = where[0][0] if where else ("127.0.0.1", 53)
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    name = to_text(settings.zone[0].origin) if settings.zone else "version.bind."
    example = "www.demo.test" if name == "demo.test." else f"{name} SOA"
    return (
        f"The resolver listens on {shown}. Ask it:\n"
        f"    dig -p {port} @{here} {example}\n"
        f"    dig -p {port} @{here} +tcp {example}\n"
        f"Ctrl-C ends it."
    )


def _place(host: str) -> str:
    return f"[{host}]" if ":" in host else host
