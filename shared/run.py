"""The life of a server program: settings, banner, serving, signals, exit status."""

from __future__ import annotations

import queue
import signal
import sys
import threading
from typing import TYPE_CHECKING, Protocol, TypeVar

from shared import log
from shared.settings import ServerSettings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Service", "main", "run"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

SettingsT = TypeVar("SettingsT", bound=ServerSettings)


class Service(Protocol):
    """A server that can be run as a program."""

    def banner(self) -> str:
        """Return what to tell whoever starts it."""
        ...

    def serve_forever(self, poll_interval: float | None = ...) -> None:
        """Serve until ``shutdown()``."""
        ...

    def shutdown(self) -> None:
        """End ``serve_forever()``."""
        ...

    def server_close(self) -> None:
        """Say goodbye, and give back what the server holds."""
        ...


def main(program: str, settings: type[SettingsT], make: Callable[[SettingsT], Service]) -> int:
    """Run a server as a program.

    Args:
        program: its name in messages.
        settings: what its arguments set.
        make: makes the server.

    Returns:
        The exit status: 0 after SIGINT or SIGTERM, 1 where the address cannot be had, 2 for wrong settings.
    """
    try:
        chosen = settings.from_arguments(program)
        try:
            server = make(chosen)
        except OSError as error:
            where = f"{chosen.host}:{chosen.port} ({error.strerror})"
            fix = "choose another --host or --port, or end the program that is there"
            return _fail(f"{program}: cannot listen on {where}: {fix}", 1)
    except SettingsError as error:
        return _fail(f"{program}: {error}", 2)
    log.set_up()
    print(server.banner(), flush=True)  # noqa: T201 -- for whoever started the program, not for the log
    run(server)
    return 0


def run(server: Service) -> None:
    """Serve until SIGINT or SIGTERM, then close the server; call it in the main thread.

    From then on both are ignored, so that an impatient second Ctrl-C cuts no goodbye short.
    """
    # A signal handler runs between any two steps of the main thread, which may hold any lock; so it must take none,
    # and SimpleQueue.put() is the one call that promises so. shutdown() waits for the loop, which the main thread
    # runs; so another thread calls it.
    ends: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def caught(_number: int, _frame: FrameType | None) -> None:
        ends.put(True)

    def end() -> None:
        if ends.get():
            server.shutdown()

    for number in _SIGNALS:
        signal.signal(number, caught)
    ender = threading.Thread(target=end, name="end", daemon=True)
    ender.start()
    try:
        server.serve_forever(poll_interval=None)
    finally:
        # The interpreter gives caught signals their default back on its way out, but not ignored ones.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        ends.put(False)
        ender.join()
        server.server_close()


def _fail(why: str, status: int) -> int:
    print(why, file=sys.stderr)  # noqa: T201 -- there is no log yet
    return status
