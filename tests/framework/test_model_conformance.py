"""What every model owes every transport, by the check that users run their own models through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from framework import PreforkMixIn
from framework.testing import check_server_model, client_of
from tests.framework.spec import Model, Transport

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_the_contract(model: Model, transport: Transport, folder: Path) -> None:
    """Every model keeps every promise of ``check_server_model()`` on every transport."""
    paths = iter(f"server-{number}.sock" for number in range(1000))

    def make_server(handler: Any) -> Any:
        server = model.on(transport)(transport.address(folder, next(paths)), handler)
        if isinstance(server, PreforkMixIn):
            server.workers = 1  # of two, each would go by the check's list of verdicts from its beginning
        return server

    check_server_model(
        make_server,
        connect=(lambda server: transport.client(server.server_address)) if transport.tls else client_of,
        concurrent=model.concurrent,
    )
