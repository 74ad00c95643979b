"""Where a server listens, written as one URL, and read into a frozen ``Endpoint``. No I/O.

==============================================  ==================================================================
``tcp://127.0.0.1:6667``, ``udp://[::1]:53``    a host and a port; port 0 is any free one
``tcp://[::]:6667``                             every address, IPv4 included (``?v6only=1``: without IPv4)
``unix:///run/kv.sock?mode=0660&group=kv``      a stream socket in the file system: an absolute path
``unix:./run/kv.sock``                          the same, relative to the working directory
``unix:@name``                                  a name in Linux' abstract namespace (unix(7)), as systemd writes it
``unixgram:///run/log.sock``                    a datagram socket; all that holds of ``unix`` does here
``fd://3``                                      a socket that the program was started with
``systemd:name``                                the same, by its ``FileDescriptorName=`` (systemd.socket(5))
==============================================  ==================================================================

Paths, names and values are percent-encoded where they must be (RFC 3986, section 2.1). ``str()`` gives the URL
back: ``Endpoint.parse(str(endpoint)) == endpoint`` for every endpoint.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_to_bytes

__all__ = [
    "AddressError",
    "DescriptorEndpoint",
    "Endpoint",
    "InetEndpoint",
    "SystemdEndpoint",
    "UnixEndpoint",
    "at",
]

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?"
)
# Octets of a path or an abstract name: sockaddr_un has 108, of which one is a NUL (unix(7)).
_LONGEST_PATH = 107
# systemd.socket(5): as long as a file name, and without what separates the names in LISTEN_FDNAMES.
_LONGEST_NAME = 255
_FLAGS = {"0": False, "1": True}


class AddressError(ValueError):
    """An address that cannot be meant.

    Args:
        part: which part of it: ``scheme``, ``host``, ``port``, ``path``, the name of an option …
        problem: what is wrong with it, and what to write instead.
    """

    def __init__(self, part: str, problem: str) -> None:
        super().__init__(f"{part}: {problem}")
        self.part = part
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens: one of the four kinds below."""

    @staticmethod
    def parse(url: str) -> Endpoint:
        """Read a URL.

        Raises:
            AddressError: it is none; the message names the part and the fix.
        """
        try:
            return _parse(url)
        except AddressError as error:
            raise AddressError(error.part, f"{error.problem} (in {url!r})") from None

    @property
    def key(self) -> str:
        """The URL without its options: what tells two endpoints of one program apart."""
        return str(self).partition("?")[0]


@dataclass(frozen=True, slots=True)
class InetEndpoint(Endpoint):
    """A host and a port."""

    host: str
    """An IPv4 or IPv6 address, which may have a zone (``fe80::1%eth0``), or a name."""
    port: int
    datagrams: bool = False
    v6only: bool = False
    """Whether ``::`` leaves IPv4 out (``IPV6_V6ONLY``, ipv6(7))."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", _host(self.host))
        if not 0 <= self.port <= 65535:  # noqa: PLR2004 -- RFC 9293, section 3.1: 16 bits
            raise AddressError("port", f"{self.port} is not one; write 1 to 65535, or 0 for any that is free")
        if self.v6only and ":" not in self.host:
            raise AddressError("v6only", f"{self.host} is no IPv6 address; leave the option out")

    def __str__(self) -> str:
        scheme = "udp" if self.datagrams else "tcp"
        host = self.host
        if ":" in host:
            address, zone, name = host.partition("%")
            # The percent sign of a zone is itself encoded (RFC 6874, section 2).
            host = f"[{address}{zone and '%25'}{quote(name, safe='')}]"
        return f"{scheme}://{host}:{self.port}{'?v6only=1' if self.v6only else ''}"


@dataclass(frozen=True, slots=True)
class UnixEndpoint(Endpoint):
    """A path, or a name in Linux' abstract namespace."""

    path: str
    """A path as the file system has it; a leading NUL, as in unix(7), makes it an abstract name."""
    datagrams: bool = False
    mode: int | None = None
    """Permission bits; ``None``: the service's default."""
    owner: str | None = None
    """A user's name or number; ``None``: whoever runs the program."""
    group: str | None = None
    """A group's name or number; ``None``: the program's own."""

    def __post_init__(self) -> None:
        if self.path in {"", "\0"}:
            raise AddressError("path", "there is none; write unix:///run/name.sock")
        if "\0" in self.path[1:]:
            raise AddressError("path", "it has a NUL; no file can be called so")
        if len(os.fsencode(self.path)) - self.abstract > _LONGEST_PATH:
            limit = f"a socket's has {_LONGEST_PATH} at most (unix(7))"
            raise AddressError(
                "path", f"it has {len(os.fsencode(self.path))} octets, and {limit}; shorten it"
            )
        if self.mode is not None and not 0 <= self.mode <= 0o777:  # noqa: PLR2004 -- all permission bits
            raise AddressError("mode", f"{self.mode:o} is more than permission bits; write 0600 to 0777")
        for part, value in (("owner", self.owner), ("group", self.group)):
            if value is not None and (not value or "\0" in value):
                raise AddressError(part, "it is empty or has a NUL; write a name or a number")
        if self.abstract and (self.mode, self.owner, self.group) != (None, None, None):
            fix = "leave the option out, and look at who connects instead (peer_credentials)"
            raise AddressError("mode, owner or group", f"an abstract name has none; {fix}")

    @property
    def abstract(self) -> bool:
        """Whether it is a name without a file."""
        return self.path.startswith("\0")

    def __str__(self) -> str:
        scheme = "unixgram" if self.datagrams else "unix"
        if self.abstract:
            path = "@" + _quote(self.path[1:])
        elif self.path.startswith("/"):
            path = "//" + _quote(self.path)
        elif self.path.startswith("@"):
            path = "%40" + _quote(self.path[1:])
        else:
            path = _quote(self.path)
        options = {
            "mode": None if self.mode is None else f"{self.mode:04o}",
            "owner": self.owner,
            "group": self.group,
        }
        query = "&".join(f"{name}={_quote(value)}" for name, value in options.items() if value is not None)
        return f"{scheme}:{path}{query and '?'}{query}"


@dataclass(frozen=True, slots=True)
class DescriptorEndpoint(Endpoint):
    """A socket that the program was started with, by its number."""

    descriptor: int

    def __post_init__(self) -> None:
        if self.descriptor < 0:
            raise AddressError("descriptor", f"{self.descriptor} is negative; write fd://3")

    def __str__(self) -> str:
        return f"fd://{self.descriptor}"


@dataclass(frozen=True, slots=True)
class SystemdEndpoint(Endpoint):
    """A socket that systemd passed, by its name."""

    name: str

    def __post_init__(self) -> None:
        good = self.name.isascii() and self.name.isprintable() and ":" not in self.name
        if not good or not 1 <= len(self.name) <= _LONGEST_NAME:
            rule = f"1 to {_LONGEST_NAME} printable ASCII characters without a colon"
            raise AddressError("name", f"{self.name!r} is none; write {rule}, as in FileDescriptorName=")

    def __str__(self) -> str:
        return f"systemd:{quote(self.name, safe='')}"


def at(where: str | Endpoint) -> Any:
    """Return where to listen, as the first argument of a service: ``ChatServer(at("tcp://[::]:6667"), Chat)``.

    Typed as ``Any``, because any service takes any of them, while the signatures of the classes that it is built
    from know the tuples and paths of one family.

    Raises:
        AddressError: the URL is none.
    """
    return Endpoint.parse(where) if isinstance(where, str) else where


# -- reading -------------------------------------------------------------------------------------------------------


def _parse(url: str) -> Endpoint:
    scheme, colon, rest = url.partition(":")
    if not colon:
        raise AddressError("scheme", "there is none; write tcp://host:port or unix:///path")
    if "#" in rest:
        raise AddressError("fragment", "an address has none; write %23 for a number sign in a path")
    place, _, query = rest.partition("?")
    options = _options(query)
    endpoint = _place(scheme, place, options)
    for name in options:
        raise AddressError(name, f"{scheme} has no such option; leave it out")
    return endpoint


def _place(scheme: str, place: str, options: dict[str, str]) -> Endpoint:
    """Read what stands between scheme and options, and take its own out of these."""
    match scheme:
        case "tcp" | "udp":
            host, port = _split(_after_slashes(scheme, place, "host:port"))
            return InetEndpoint(host, port, scheme == "udp", _flag("v6only", options.pop("v6only", "0")))
        case "unix" | "unixgram":
            mode = options.pop("mode", None)
            return UnixEndpoint(
                _path(scheme, place),
                scheme == "unixgram",
                None if mode is None else _number("mode", mode, 8),
                options.pop("owner", None),
                options.pop("group", None),
            )
        case "fd":
            return DescriptorEndpoint(_number("descriptor", _after_slashes(scheme, place, "3"), 10))
        case "systemd":
            return SystemdEndpoint(_unquote("name", place))
        case _:
            known = "tcp, udp, unix, unixgram, fd or systemd"
            raise AddressError("scheme", f"{scheme!r} is not known; write {known}")


def _after_slashes(scheme: str, place: str, example: str) -> str:
    if not place.startswith("//"):
        raise AddressError("scheme", f"two slashes are missing; write {scheme}://{example}")
    return place[2:]


def _split(place: str) -> tuple[str, int]:
    host, colon, port = place.rpartition(":")
    if not colon or port.endswith("]"):
        raise AddressError("port", "there is none; write host:port, where port 0 is any that is free")
    if host.startswith("[") and host.endswith("]"):
        host = _unquote("host", host[1:-1])
        if ":" not in host:
            raise AddressError("host", f"{host!r} is no IPv6 address; leave the brackets out")
    elif ":" in host:
        raise AddressError("host", f"write an IPv6 address in brackets: [{host}]:{port}")
    return host, _number("port", port, 10)


def _path(scheme: str, place: str) -> str:
    if place.startswith("@"):
        return "\0" + _unquote("path", place[1:])
    if place.startswith("//"):
        if not place.startswith("///"):
            here = place[2:]
            fix = f"write {scheme}:///{here} for an absolute path, {scheme}:{here} for any other"
            raise AddressError("path", f"two slashes begin the name of a host; {fix}")
        place = place[2:]
    return _unquote("path", place)


def _host(host: str) -> str:
    """Return the host in its canonical form."""
    if not host or host == "*":
        fix = "write [::] for every address, or 0.0.0.0 for every one of IPv4"
        raise AddressError("host", f"there is none; {fix}")
    try:
        if ":" in host:
            return str(ipaddress.IPv6Address(host))
        if re.fullmatch(r"[0-9.]+", host):
            return str(ipaddress.IPv4Address(host))
    except ValueError as error:
        raise AddressError("host", f"{error}; write an address like 127.0.0.1 or ::1, or a name") from None
    host = host.lower()
    if not _HOST_NAME.fullmatch(host):
        raise AddressError("host", f"{host!r} is no name; write letters, digits, hyphens and dots")
    return host


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for option in query.split("&") if query else ():
        name, equals, value = option.partition("=")
        if not equals:
            raise AddressError("options", f"{option!r} has no value; write name=value")
        if name in options:
            raise AddressError(name, "it is given twice; leave one out")
        options[name] = _unquote(name, value)
    return options


def _flag(part: str, text: str) -> bool:
    if text not in _FLAGS:
        raise AddressError(part, f"{text!r} is neither; write 0 or 1")
    return _FLAGS[text]


def _number(part: str, text: str, base: int) -> int:
    # int() would also take signs, spaces, underscores, and digits of every script; no number here has ten digits.
    digits = "01234567" if base == 8 else "0123456789"  # noqa: PLR2004 -- octal, as chmod(1) takes it
    if not 1 <= len(text) < 10 or text.strip(digits):  # noqa: PLR2004
        raise AddressError(part, f"{text!r} is no number{' of octal digits' if base == 8 else ''}")  # noqa: PLR2004
    return int(text, base)


def _quote(text: str) -> str:
    return quote(os.fsencode(text), safe="/.@,+~")


def _unquote(part: str, text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise AddressError(
            part, f"{text!r} has a percent sign without two hex digits; write %25 for the sign"
        )
    return os.fsdecode(unquote_to_bytes(text))
