"""What can be set, and to what."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from framework.addresses import AddressError, InetEndpoint
from servers.resolver.lists import BlockList, Hosts, ListError
from servers.resolver.names import ROOT, BadNameError, from_text, to_text
from servers.resolver.steps.access import Network
from servers.resolver.steps.local import BlockAnswer
from servers.resolver.zone import Zone, ZoneError
from shared.settings import ServerSettings, SettingsError, between, endpoint, matching, setting

__all__ = ["Files", "Route", "Settings", "ZoneFile"]

_DEMO = Path(__file__).parent / "demo"
_DNS_PORT = 53

ListT = TypeVar("ListT")


@dataclass(frozen=True, slots=True)
class ZoneFile:
    """A zone, and the file it is in."""

    origin: bytes
    path: Path

    @classmethod
    def parse(cls, text: str) -> ZoneFile:
        """Read ``example.org=FILE``."""
        name, equals, path = text.partition("=")
        if not equals or not path:
            raise ValueError("write the zone's name, =, and its file: example.org=example.zone")
        return cls(_name(name), Path(path))

    def __str__(self) -> str:
        return f"{to_text(self.origin)}={self.path}"


@dataclass(frozen=True, slots=True)
class Route:
    """An upstream server, and the domain it is asked about."""

    domain: bytes
    address: tuple[str, int]

    @classmethod
    def parse(cls, text: str) -> Route:
        """Read ``192.0.2.1:53`` or ``corp.example=[2001:db8::1]:53``; without a port it is 53."""
        name, equals, address = text.rpartition("=")
        return cls(_name(name) if equals else ROOT, _address(address))

    def __str__(self) -> str:
        host, port = self.address
        return f"{to_text(self.domain)}={f'[{host}]' if ':' in host else host}:{port}"


def _name(text: str) -> bytes:
    try:
        return from_text(text if text.endswith(".") else text + ".").lower()
    except BadNameError as error:
        raise ValueError(f"{text!r} is no domain name: {error}") from None


def _address(text: str) -> tuple[str, int]:
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(text)), _DNS_PORT
    with contextlib.suppress(AddressError, ValueError):
        where = InetEndpoint.parse(f"udp://{text}")
        if isinstance(where, InetEndpoint):
            return str(ipaddress.ip_address(where.host)), where.port
    raise ValueError("write the address of a server, 192.0.2.1:53 or [2001:db8::1]:53")


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}: write a network, 192.0.2.0/24, or an address") from None


def _read(setting: str, kind: Callable[[Iterable[Path]], ListT], files: Iterable[str]) -> ListT:
    try:
        return kind(map(Path, files))
    except ListError as error:
        raise SettingsError(setting, None, str(error)) from None


@dataclass(frozen=True)
class Files:
    """What is in the files that settings name."""

    zones: dict[bytes, Zone]
    """By their origins."""
    hosts: Hosts
    blocked: BlockList


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings):
    """A DNS server: authoritative for zones, forwarding with a cache for those it knows.

    Raises:
        SettingsError: one of them cannot be used.
    """

    bind: tuple[str, ...] = setting(
        ("udp://127.0.0.1:5353", "tcp://127.0.0.1:5353"),
        "where to listen",
        endpoint("udp", "tcp"),
        group="Listening",
        form="URL",
    )
    zone: tuple[ZoneFile, ...] = setting(
        (ZoneFile.parse(f"demo.test={_DEMO / 'demo.zone'}"),),
        "a zone to serve, and its master file",
        parse=ZoneFile.parse,
        pair="=",
        form="NAME=FILE",
        group="Answers",
    )
    hosts: tuple[str, ...] = setting(
        (str(_DEMO / "hosts"),), "names and addresses as in /etc/hosts", form="FILE", group="Answers"
    )
    blocklist: tuple[str, ...] = setting((), "names that are to lead nowhere", form="FILE", group="Answers")
    block_answer: BlockAnswer = setting("zero", "what is said of those: 0.0.0.0, or a code", group="Answers")
    forward: tuple[Route, ...] = setting(
        (),
        "a server to ask about everything else, or about a domain",
        parse=Route.parse,
        pair="=",
        form="[DOMAIN=]HOST:PORT",
        group="Answers",
    )
    version: str = setting("resolver", "what to say to version.bind; empty: nothing", group="Answers")
    nsid: str = setting(
        "",
        "what to call this server, for those who ask (RFC 5001)",
        matching("[ -~]{0,64}", "ASCII"),
        group="Answers",
    )

    allow_recursion: tuple[Network, ...] = setting(
        (_network("127.0.0.0/8"), _network("::1")),
        "who may ask about more than the zones",
        parse=_network,
        form="NET",
        group="Access",
    )
    allow_transfer: tuple[Network, ...] = setting(
        (), "who may have a whole zone", parse=_network, form="NET", group="Access"
    )
    notify: tuple[str, ...] = setting((), "a secondary to tell of changes", form="HOST:PORT", group="Access")
    # NSD's default for both; a site that asks 200 times a second for one thing is not asking for itself.
    rate_limit: int = setting(
        200,
        "same answers a second to one network of those who are not on the list; 0: no limit",
        between(0, 1_000_000),
        group="Access",
    )
    rate_slip: int = setting(
        2, "of those beyond, every so many is sent truncated; 0: none", between(0, 100), group="Access"
    )
    cookie_secret: str = setting(
        "",
        "32 hex digits that servers of one address share; else made at the start (RFC 9018)",
        matching("([0-9a-fA-F]{32})?", "32 hexadecimal digits"),
        secret=True,
        form="HEX",
        group="Access",
    )

    workers: int = setting(
        0,
        "processes that answer datagrams, each with a cache of its own; 0: this one does",
        between(0, 256),
        group="Listening",
    )

    # RFC 9715, section 3; 512 is the least there is (RFC 6891, section 6.2.3).
    payload: int = setting(1232, "octets of an answer by UDP at most", between(512, 4096), group="Limits")
    cache_size: int = setting(64, "MiB of answers remembered", between(1, 65536), group="Limits")
    cache_min_ttl: int = setting(
        0, "seconds that answers are remembered at least", between(0, 3600), group="Limits"
    )
    cache_max_ttl: int = setting(86400, "and at most", between(1, 604800), group="Limits")
    serve_stale: float = setting(
        86400.0,
        "seconds that they serve beyond their time while nobody can be asked",
        between(0, 259200),
        group="Limits",
    )

    def check(self) -> None:
        """Look into the files as well, where that is all that is wanted: the service reads them anyway."""
        self.secondaries()
        if self.check_config:
            self.read_files()

    def read_files(self) -> Files:
        """Read all the files.

        Raises:
            SettingsError: one cannot be read, or something is wrong in it.
        """
        hosts = _read("hosts", Hosts, self.hosts)
        return Files(self.read_zones(), hosts, _read("blocklist", BlockList, self.blocklist))

    def read_zones(self) -> dict[bytes, Zone]:
        """Return the zones, by their origins."""
        zones: dict[bytes, Zone] = {}
        for each in self.zone:
            if each.origin in zones:
                raise SettingsError("zone", each, "is there twice: leave one out")
            try:
                zones[each.origin] = Zone.load(each.origin, each.path)
            except ZoneError as error:
                raise SettingsError("zone", each, str(error)) from None
        return zones

    def secondaries(self) -> tuple[tuple[str, int], ...]:
        """Return whom to tell of changes."""
        found: list[tuple[str, int]] = []
        for each in self.notify:
            try:
                found.append(_address(each))
            except ValueError as error:
                raise SettingsError("notify", each, str(error)) from None
        return tuple(found)
