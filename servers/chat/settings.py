"""What can be set, and to what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from framework.addresses import AddressError, InetEndpoint
from shared.settings import ServerSettings, SettingsError, at_least, between, endpoint, matching, setting

__all__ = ["Settings"]


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
    # RFC 2812 section 2.3.1: a server's name is a host's, and has at most 63 characters.
    name: str = setting(
        "irc.localhost", "the server's name", matching(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", "a host name")
    )
    network: str = setting(
        "Chat", "the network's name", matching(r"[!-9;-~]{1,32}", "up to 32 of ASCII, no space")
    )
    motd: str = setting("", "file with the message of the day")
    max_clients: int = setting(1000, "connections at a time", at_least(1), group="Limits")

    # Ergo's limits, which are what people are used to on networks of today.
    nick_length: int = setting(32, "characters of a nick", between(1, 64), group="Limits")
    username_length: int = setting(16, "characters of a username", between(1, 32), group="Limits")
    channel_length: int = setting(64, "octets of a channel's name", between(2, 128), group="Limits")
    topic_length: int = setting(390, "octets of a topic", between(1, 390), group="Limits")
    channels_per_user: int = setting(50, "channels that a user may be in", at_least(1), group="Limits")
    max_targets: int = setting(4, "targets of one PRIVMSG or NOTICE", at_least(1), group="Limits")
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
    def url(self) -> str:
        """Where to listen."""
        return self.bind[0] if self.bind else str(InetEndpoint(self.host, self.port))

    def check(self) -> None:
        """Read the message of the day."""
        self.read_motd()

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
        return text.splitlines()
