"""What is served: the resolver that settings and files make, another one after a reload, and one per process."""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Sequence

from servers.resolver.cookies import Cookies
from servers.resolver.exchanges import Exchanges
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
from shared.settings import SettingsError
from shared.sources import reread

__all__ = ["Service"]

_log = logging.getLogger(__name__)

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
        self.answers: Counter[int] = Counter()
        """That were made, and not found in memory; by code."""
        self.datagrams = 0
        """Received."""
        self.unsent = 0
        """Answers that the system did not take."""
        self._cookies = Cookies(bytes.fromhex(settings.cookie_secret) or secrets.token_bytes(16))
        self._zones: dict[bytes, Zone] = {}
        self._files = settings.read_files()
        self.begin()
        self._announce(settings.secondaries())

    def begin(self) -> None:
        """Begin with what files say and nothing else: in a new process, whose threads and sockets are its own."""
        self.exchanges = Exchanges()
        self._upstreams: dict[tuple[str, int], Upstream] = {}
        self._cache = self._make_cache()
        self.resolver = self._build()

    def reload(self) -> None:
        """Read settings and files anew; whatever is wrong with them, the service goes on as it was."""
        old = self.settings
        new = reread(old, *_CHANGEABLE)
        try:
            files, secondaries = new.read_files(), new.secondaries()
        except SettingsError as error:
            _log.error("the answers stay as they were: %s", error)
            return
        self.settings, self._files = new, files
        if (new.forward, _rules(new)) != (old.forward, _rules(old)):
            self._cache = self._make_cache()
        # Questions that are being answered are answered by the old one, the next ones by the new.
        self.resolver = self._build()
        # Now, since whoever is told comes to look at once.
        self._announce(secondaries)

    def cached(self) -> int:
        """Return how many answers of upstream servers are in memory."""
        return len(self._cache)

    def waiting(self) -> int:
        """Return how many questions wait for an upstream server."""
        return self._forward.waiting()

    def settle(self, seconds: float) -> None:
        """Wait until no question waits for an upstream server, for so long at most."""
        self._forward.settle(seconds)

    def serials(self) -> list[tuple[str, int]]:
        """Return the serial numbers of the zones."""
        return [(to_text(origin), zone.serial) for origin, zone in self._zones.items()]

    def upstreams(self) -> list[Upstream]:
        """Return the upstream servers."""
        return [*self._upstreams.values()]

    def _make_cache(self) -> Cache:
        return Cache(_rules(self.settings), self.exchanges.later)

    def _build(self) -> Resolver:
        settings, files = self.settings, self._files
        known, self._upstreams = self._upstreams, {}
        routes: dict[bytes, list[Upstream]] = {}
        for route in settings.forward:
            upstream = known.get(route.address) or Upstream(route.address)
            self._upstreams[route.address] = upstream
            routes.setdefault(route.domain, []).append(upstream)
        served = Zones(files.zones)
        self._forward = Forward(routes, self.exchanges)
        return Resolver(
            [
                Chaos(settings.version, settings.nsid),
                Chase(),
                Local(files.hosts, files.blocked, settings.block_answer),
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

    def _announce(self, secondaries: Sequence[tuple[str, int]]) -> None:
        """Tell the log and secondaries what has changed."""
        zones = self._files.zones
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


def _rules(settings: Settings) -> CacheRules:
    return CacheRules(
        lowest_ttl=settings.cache_min_ttl,
        highest_ttl=settings.cache_max_ttl,
        stale=settings.serve_stale,
        octets=settings.cache_size * 2**19,
    )
