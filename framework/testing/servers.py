"""Running servers, and what goes wrong when they accept."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from framework.testing.waiting import PATIENCE, StuckError, bounded

if TYPE_CHECKING:
    from framework.server import BaseServer

__all__ = ["failing_accept", "running"]

ServerT = TypeVar("ServerT", bound="BaseServer[Any, Any]")


@contextlib.contextmanager
def running(
    server: ServerT, *, poll_interval: float | None = None, patience: float = PATIENCE
) -> Generator[ServerT]:
    """Serve in a thread while the block runs, then shut the server down and close it.

    The block begins once the server waits for requests. There is no poll interval by default: whoever must wake
    the loop and does not is found out.

    Args:
        server: bound, and neither serving nor closed.
        poll_interval: for ``serve_forever()``, in seconds.
        patience: seconds for each of starting, stopping and closing.

    Raises:
        StuckError: one of these took longer; what was stuck stays behind in daemon threads.
        BaseException: what ``serve_forever()`` raised.
    """
    ready = threading.Event()
    errors: list[BaseException] = []
    open_loop = server._open_loop  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # called as serving begins

    def opened() -> Any:
        loop = open_loop()
        ready.set()
        return loop

    def serve() -> None:
        try:
            server.serve_forever(poll_interval)
        except BaseException as error:
            errors.append(error)
        finally:
            ready.set()

    server._open_loop = opened  # type: ignore[method-assign] # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    thread = threading.Thread(target=serve, name="serving", daemon=True)
    thread.start()
    try:
        if not ready.wait(patience):
            raise StuckError(f"{server!r} does not serve after {patience} s")
        yield server
    finally:
        try:
            bounded(server.shutdown, patience)
            thread.join(patience)
            if thread.is_alive():
                raise StuckError(f"{server!r} still serves {patience} s after shutdown()")
        finally:
            bounded(server.server_close, patience)
            del server._open_loop  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if errors:
        raise errors[0]


@contextlib.contextmanager
def failing_accept(server: BaseServer[Any, Any], *errors: BaseException) -> Generator[None]:
    """Let the next calls of ``get_request()`` raise ``errors``, one each, and those after them work again."""
    script = list(errors)
    get_request = server.get_request

    def scripted() -> tuple[Any, Any]:
        if script:
            raise script.pop(0)
        return get_request()

    server.get_request = scripted  # type: ignore[method-assign]
    try:
        yield
    finally:
        del server.get_request
