"""What can be set, and to what."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from framework.addresses import AddressError, InetEndpoint
from shared.secret import Login, Secret
from shared.settings import ServerSettings, SettingsError, at_least, between, endpoint, matching, setting

__all__ = ["CHANGEABLE", "Settings"]

CHANGEABLE = (
    "farewell",
    "flood_burst",
    "flood_rate",
    "max_clients",
    "max_clients_per_address",
    "motd",
    "oper",
    "password",
    "ping_after",
    "ping_timeout",
    "register_before_connect",
    "registration_timeout",
    "reserve_nicks",
    "sendq",
    "show_addresses",
)
"""What is looked up whenever it is needed, and was not promised to clients in 005."""


_NUMERIC = 12  # octets around a server's name, a nick and a line of text: colons, spaces, 372, CR LF


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        return f"{error}: write an address, or a network such as 10.0.0.0/8"
    return ""


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings):
    """A chat server that speaks IRC.

    Raises:
        SettingsError: one of them cannot be used.
    """

    host: str = setting(
        "127.0.0.1", "address or name to listen on; 0.0.0.0 or :: is every interface", group="Listening"
    )
    port: int = setting(6667, "port to listen on; 0: any that is free", between(0, 65535), group="Listening")
    bind: tuple[str, ...] = setting(
        (), "one URL to listen on, instead of host and port", endpoint("tcp"), group="Listening", form="URL"
    )
    trusted_proxy: tuple[str, ...] = setting(
        (),
        "a proxy, or a network of them, that says by the PROXY protocol for whom it connects",
        _network,
        group="Listening",
        form="NET",
    )
    # RFC 2812 section 2.3.1: a server's name is a host's, and has at most 63 characters.
    name: str = setting(
        "irc.localhost", "the server's name", matching(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", "a host name")
    )
    network: str = setting(
        "Chat", "the network's name", matching(r"[!-9;-~]{1,32}", "up to 32 of ASCII, no space")
    )
    motd: str = setting("", "file with the message of the day")
    tls_port: int = setting(
        6697, "port to listen on for TLS, given a certificate; 0: any", between(0, 65535), group="Listening"
    )
    certificate: str = setting(
        "", "file with the certificates for TLS, and perhaps the key", group="Listening"
    )
    key: str = setting("", "file with the certificate's key", group="Listening")
    password: Secret | None = setting(
        None, "what clients have to send by PASS", parse=Secret.parse, secret=True, form="PASSWORD"
    )
    oper: tuple[Login, ...] = setting(
        (), "an operator of the network", parse=Login.parse, secret=True, form="NAME:PASSWORD"
    )
    register_before_connect: bool = setting(
        default=False, about="let accounts be registered before a client is"
    )
    reserve_nicks: bool = setting(
        default=True, about="let nobody have the nick of an account who is not logged in to it"
    )
    show_addresses: bool = setting(default=False, about="show others a user's address instead of a cloak")
    data: str = setting(
        "", "folder for accounts and channels that last; without it all is kept in memory only"
    )

    # Some 70 MiB while all read, and 160 KiB for each who does not, until it is cut off.
    max_clients: int = setting(5000, "connections at a time", at_least(1), group="Limits")
    # A school, an office or a bouncer is behind one address; Ergo has 32 for a /32. Like Ergo, it exempts this machine,
    # where a gateway serves others.
    max_clients_per_address: int = setting(
        0,
        "connections from one address; 0: 100, or any number from this machine",
        at_least(0),
        group="Limits",
    )
    # Nobody types faster for long, no paste of a screenful waits, and it costs three hundredths of a core to tell
    # 500 others of it.
    flood_rate: float = setting(
        10.0, "lines a second that a client may send for long; 0: any number", at_least(0), group="Limits"
    )
    flood_burst: int = setting(64, "lines that it may send at once", at_least(1), group="Limits")

    # Ergo's limits, which are what people are used to on networks of today.
    nick_length: int = setting(32, "characters of a nick", between(1, 64), group="Limits")
    username_length: int = setting(16, "characters of a username", between(1, 32), group="Limits")
    channel_length: int = setting(64, "octets of a channel's name", between(2, 128), group="Limits")
    topic_length: int = setting(390, "octets of a topic", between(1, 390), group="Limits")
    channels_per_user: int = setting(50, "channels that a user may be in", at_least(1), group="Limits")
    max_targets: int = setting(4, "targets of one PRIVMSG or NOTICE", at_least(1), group="Limits")
    realname_length: int = setting(150, "octets of a real name", between(1, 200), group="Limits")
    key_length: int = setting(32, "characters of a channel's key", between(1, 64), group="Limits")
    list_length: int = setting(60, "masks on each of a channel's lists", at_least(1), group="Limits")
    monitor_limit: int = setting(100, "nicks that a user may watch", at_least(1), group="Limits")
    history_length: int = setting(
        512, "messages remembered of a channel or a conversation", at_least(0), group="Limits"
    )
    sendq: int = setting(
        96 * 1024, "octets unread by a client before it is cut off", at_least(4096), group="Limits"
    )

    # ngIRCd asks after 120 s; RFC 2812 has no numbers.
    registration_timeout: float = setting(
        30.0, "seconds from connecting to being registered", at_least(0.01), group="Timeouts"
    )
    ping_after: float = setting(
        120.0,
        "seconds of silence before a client is asked whether it is there",
        at_least(0.01),
        group="Timeouts",
    )
    ping_timeout: float = setting(
        60.0, "seconds that it may take for an answer", at_least(0.01), group="Timeouts"
    )
    farewell: float = setting(
        0.5, "seconds that a leaving client may take to read what is left", between(0, 60), group="Timeouts"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.bind) > 1:
            raise SettingsError("bind", self.bind[1], "the chat listens on one address: leave out the others")
        try:
            InetEndpoint(self.host, self.port)
        except AddressError as error:
            raise SettingsError("host", self.host, error.problem) from None

    @property
    def host_length(self) -> int:
        """Octets of a user's host: an address of IPv6, or a cloak."""
        return 45

    @property
    def tls_url(self) -> str:
        """Where to listen for TLS; empty: nowhere."""
        return str(InetEndpoint(self.host, self.tls_port)) if self.certificate else ""

    @property
    def url(self) -> str:
        """Where to listen."""
        return self.bind[0] if self.bind else str(InetEndpoint(self.host, self.port))

    def check(self) -> None:
        """Read the message of the day, and the certificate."""
        self.read_motd()
        if self.certificate:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key or None)
            except OSError as error:
                fix = f"cannot be used ({error.strerror}): name files in PEM, with the key of the certificate"
                raise SettingsError("certificate", self.certificate, fix) from error

    def read_motd(self) -> list[str]:
        """Return the message of the day, line by line; none if there is no file."""
        if not self.motd:
            return []
        try:
            text = Path(self.motd).read_text("utf-8", "surrogateescape")
        except OSError as error:
            fix = f"cannot be read ({error.strerror}): name a text file"
            raise SettingsError("motd", self.motd, fix) from error
        if "\0" in text:
            raise SettingsError("motd", self.motd, "holds NULs, which IRC cannot send: name a text file")
        lines = text.splitlines()
        # It is sent at once, to those who have only just come.
        if sum(len(line) + len(self.name) + self.nick_length + _NUMERIC for line in lines) > self.sendq // 2:
            raise SettingsError("motd", self.motd, "would fill half of --sendq: give a shorter text")
        return lines
