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
    asks = type(handler).is_complete is not ExchangeHandler.is_complete
    parked = False
    try:
        # The first request of a fresh connection has often come with it. What was read ahead the system knows nothing of;
        # a drain means the end of the input, which the handler meets.
        ready = look() or connection.buffered or connection.rest()
        while ready and (not asks or connection.has_whole(handler.is_complete)):
            if not handler.serve_exchange():
                return False
            ready = connection.buffered or connection.rest()
        park()
        parked = True
    finally:
        if not parked:
            handler.finish()
    return True
