"""The life of a server program: settings → logging → servers → banner → ``framework.serve()`` → exit status."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from framework import AddressError, ServiceMixIn, at, serve
from framework.listeners import Listener
from shared import log
from shared.settings import ServerSettings, SettingsError
from shared.sources import load

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

__all__ = ["ListenError", "Program", "listen", "main"]

_log = logging.getLogger(__name__)

SettingsT = TypeVar("SettingsT", bound=ServerSettings)
ServerT = TypeVar("ServerT", bound=ServiceMixIn[Any, Any])


@dataclass(frozen=True)
class Program:
    """What is to be run."""

    servers: Sequence[ServiceMixIn[Any, Any]]
    """Bound already."""
    banner: str
    """What to tell whoever starts it: where it is, and how to talk to it."""
    collectors: Iterable[Collector] = ()
    """Its own metrics."""


class ListenError(Exception):
    """An address cannot be had; the message is a line, with the fix."""


def listen(
    urls: Iterable[str],
    make: Callable[[Any], ServerT],
    fix: str = "choose another --bind, or end the program that is there",
) -> list[ServerT]:
    """Return a server for each URL; all or none.

    Args:
        urls: where to listen, as in ``framework.addresses``.
        make: takes what ``framework.at()`` returns.
        fix: what to do where an address cannot be had.

    Raises:
        ListenError: one cannot be had.
    """
    with contextlib.ExitStack() as made:
        servers: list[ServerT] = []
        for url in urls:
            try:
                server = make(at(url))
            except (OSError, AddressError) as error:
                why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
                raise ListenError(f"cannot listen on {url} ({why}): {fix}") from error
            made.callback(server.server_close)
            servers.append(server)
        made.pop_all()
    return servers


def main(
    program: str,
    settings: type[SettingsT],
    make: Callable[[SettingsT], Program],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a server as a program.

    Args:
        program: its name: in messages, of its environment variables, and in its metrics.
        settings: what can be set.
        make: makes the servers.
        arguments: by default those of this process.

    Returns:
        The exit status: 0 after SIGTERM or SIGINT, 1 where an address cannot be had or a server fails, 2 for wrong
        settings, 128 and the number of the signal where a second one cut off what still ran.
    """
    try:
        chosen = load(program, settings, arguments)
        if chosen.check_config:
            print("ok")  # noqa: T201 -- the answer that was asked for
            return 0
        log.set_up(chosen.log_level, chosen.log_format)
        made = make(chosen)
        servers = [*made.servers, *_status(program, chosen, made)]
    except SettingsError as error:
        return _fail(f"{program}: {error}", 2)
    except ListenError as error:
        return _fail(f"{program}: {error}", 1)
    for server in servers:
        server.drain_timeout = chosen.drain_timeout
    print(made.banner, flush=True)  # noqa: T201 -- for whoever started the program, not for the log
    return serve(*servers)


def _status(program: str, settings: ServerSettings, made: Program) -> list[ServiceMixIn[Any, Any]]:
    """Return the server that shows metrics, if there is to be one; without it nothing is counted or imported."""
    if not settings.metrics:
        return []
    from shared.metrics import Metrics
    from shared.status import StatusServer

    metrics = Metrics(made.collectors)
    for server in made.servers:
        metrics.observe(program if len(made.servers) == 1 else _where(server), server)
    fix = "choose another --metrics, or end the program that is there"
    servers = listen([f"tcp://{settings.metrics}"], lambda where: StatusServer(where, metrics), fix)
    host, port, *_ = servers[0].server_address
    _log.info("metrics are at http://%s:%d/metrics", f"[{host}]" if ":" in host else host, port)
    return [*servers]


def _where(server: ServiceMixIn[Any, Any]) -> str:
    """Return what tells a server from the others of its program."""
    listener = server.socket
    if isinstance(listener, Listener) and listener.endpoint is not None:
        return listener.endpoint.key
    return str(server.server_address)


def _fail(why: str, status: int) -> int:
    # With what the settings say in it, which may be anything.
    print(log.escape(why), file=sys.stderr)  # noqa: T201 -- for whoever started the program
    return status
