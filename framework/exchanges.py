"""How models that can park a connection serve an ``ExchangeHandler``: exchange by exchange, and nothing in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from framework.connection import Connection
from framework.handlers import ExchangeHandler

__all__ = ["serve_exchanges"]


def serve_exchanges(
    connection: Connection,
    handler: ExchangeHandler[Any, Any],
    look: Callable[[], bool],
    park: Callable[[], object],
) -> bool:
    """Serve the exchanges whose input is there, then park the connection or finish the handler.

    Args:
        connection: of the handler.
        handler: has been set up.
        look: tells whether there is input, or an end of it.
        park: waits for more without the caller, who has no part in the connection from then on.

    Returns:
        Whether the connection was parked.
    """
    parked = False
    try:
        ready = look()  # the first request of a fresh connection has often come with it
        while not ready or handler.serve_exchange():
            # What was read ahead the system knows nothing of; a drain means the end of the input, which the handler meets.
            ready = connection.buffered or connection.rest()
            if not ready:
                park()
                parked = True
                break
    finally:
        if not parked:
            handler.finish()
    return parked
