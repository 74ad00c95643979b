"""What can be set, and to what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.settings import ServerSettings, SettingsError, at_least, between, matching, setting

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings(ServerSettings):
    """The settings of a chat server; each is a flag of the program, too.

    Raises:
        SettingsError: one of them cannot be used.
    """

    host: str = setting("127.0.0.1", "IPv4 address or host name to listen on; 0.0.0.0: on every interface")
    port: int = setting(6667, "port to listen on; 0: any that is free", between(0, 65535))
    # RFC 2812 section 2.3.1: a server's name is a host's, and has at most 63 characters.
    name: str = setting(
        "irc.localhost", "the server's name", matching(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", "a host name")
    )
    network: str = setting(
        "Chat", "the network's name", matching(r"[!-9;-~]{1,32}", "up to 32 of ASCII, no space")
    )
    motd: str = setting("", "file with the message of the day")
    max_clients: int = setting(1000, "connections at a time", at_least(1))

    # Ergo's limits, which are what people are used to on networks of today.
    nick_length: int = setting(32, "characters of a nick", between(1, 64))
    username_length: int = setting(16, "characters of a username", between(1, 32))
    channel_length: int = setting(64, "octets of a channel's name", between(2, 128))
    topic_length: int = setting(390, "octets of a topic", between(1, 390))
    channels_per_user: int = setting(50, "channels that a user may be in", at_least(1))
    max_targets: int = setting(4, "targets of one PRIVMSG or NOTICE", at_least(1))
    realname_length: int = setting(150, "octets of a real name", between(1, 200))
    key_length: int = setting(32, "characters of a channel's key", between(1, 64))
    list_length: int = setting(60, "masks on each of a channel's lists", at_least(1))
    monitor_limit: int = setting(100, "nicks that a user may watch", at_least(1))
    history_length: int = setting(512, "messages remembered of a channel or a conversation", at_least(0))
    max_clients_per_address: int = setting(100, "connections at a time from one address", at_least(1))
    flood_rate: float = setting(
        10.0, "lines a second that a client may send for long; 0: any number", at_least(0)
    )
    flood_burst: int = setting(64, "lines that it may send at once", at_least(1))
    password: str = setting("", "what clients have to send by PASS; empty: nothing")
    oper: str = setting("", "NAME:PASSWORD (or its Argon2 hash) of the network's operator")
    register_before_connect: bool = setting(False, "let accounts be registered before the connection is")
    cloaks: bool = setting(True, "show others a cloak instead of a user's address")
    data: str = setting("", "folder for accounts and channels that last; empty: all is kept in memory only")
    sendq: int = setting(96 * 1024, "octets unread by a client before it is cut off", at_least(4096))

    # ngIRCd asks after 120 s; RFC 2812 has no numbers.
    registration_timeout: float = setting(30.0, "seconds from connecting to being registered", at_least(0.01))
    ping_after: float = setting(
        120.0, "seconds of silence before a client is asked whether it is there", at_least(0.01)
    )
    ping_timeout: float = setting(60.0, "seconds that it may take for an answer", at_least(0.01))
    farewell: float = setting(
        0.5, "seconds that a leaving client may take to read what is left", between(0, 60)
    )

    @property
    def host_length(self) -> int:
        """Octets of a user's host: an address, or three parts of a cloak."""
        return 63

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
