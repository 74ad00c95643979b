"""What can be set, and to what."""

from __future__ import annotations

from dataclasses import dataclass

from servers.keyvalue.commands.table import without
from servers.keyvalue.config import POLICIES, Config
from servers.keyvalue.stores.opening import check_url
from shared.settings import ServerSettings, SettingsError, between, endpoint, matching, setting

__all__ = ["Settings"]


def _policy(value: str) -> str:
    return "" if value in POLICIES else f"give one of {', '.join(POLICIES)}"


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings):
    """A durable key-value store that Redis clients use unchanged.

    Raises:
        SettingsError: one of them cannot be used.
    """

    bind: tuple[str, ...] = setting(
        ("unix:./keyvalue.sock",),
        "where to listen, once or several times",
        endpoint("unix", "tcp"),
        group="Listening",
        form="URL",
    )
    store: str = setting(
        "memory:",
        "what keeps the data: memory: or log:FOLDER?fsync=always|everysec|no",
        check_url,
        form="URL",
    )
    # Redis has 16.
    databases: int = setting(16, "numbered databases", between(1, 64))
    max_clients: int = setting(10000, "connections at a time", between(1, 1_000_000), group="Limits")
    max_memory: str = setting(
        "0",
        "what the keys may take, such as 512mb; 0: no limit",
        matching(r"\d{1,15}([kmg]b?)?", "a number, and k, kb, m, mb, g or gb"),
        group="Limits",
    )
    max_memory_policy: str = setting(
        "noeviction", "which keys to give up then", _policy, group="Limits", form="POLICY"
    )
    password_sha256: str = setting(
        "",
        "hash of what AUTH has to bring: printf %s secret | sha256sum",
        matching("([0-9a-f]{64})?", "64 hexadecimal digits"),
        group="Security",
        form="HASH",
        secret=True,
    )
    allow_uid: tuple[int, ...] = setting(
        (),
        "who may connect to a Unix socket, by the number of the user",
        between(0, 2**32 - 1),
        group="Security",
    )
    allow_gid: tuple[int, ...] = setting((), "or of the group", between(0, 2**32 - 1), group="Security")
    disable: tuple[str, ...] = setting(
        (), "a command that nobody may use, such as flushall or config|set", group="Security", form="COMMAND"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.disable:
            try:
                without([name])
            except KeyError:
                raise SettingsError("disable", name, "there is no such command: leave it out") from None
        on_tcp = [where for where in self.bind if where.startswith("tcp:")]
        if (self.allow_uid or self.allow_gid) and on_tcp and not self.password_sha256:
            fix = "who connects there has no user: set --password-sha256, or listen on Unix sockets only"
            raise SettingsError("bind", on_tcp[0], fix)

    def parameters(self) -> Config:
        """Return what CONFIG GET and SET begin with."""
        durable = self.store != "memory:"
        config = Config(
            {
                "databases": str(self.databases),
                "maxclients": str(self.max_clients),
                "appendonly": "yes" if durable else "no",
                "appendfsync": self.store.partition("fsync=")[2] or "always",
                "dir": self.store.removeprefix("log:").partition("?")[0] if durable else "",
                "unixsocket": next((where for where in self.bind if where.startswith("unix:")), ""),
                "port": "0",
            },
            self.password_sha256,
        )
        config.set(
            [
                (b"maxmemory", self.max_memory.encode()),
                (b"maxmemory-policy", self.max_memory_policy.encode()),
            ]
        )
        return config
