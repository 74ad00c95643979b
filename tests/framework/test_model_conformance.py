"""What every model owes every transport, by the check that users run their own models through."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.testing import check_server_model, client_of
from tests.framework.spec import Model, Transport

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_the_contract(model: Model, transport: Transport, folder: Path) -> None:
    """Every model keeps every promise of ``check_server_model()`` on every transport."""
    paths = iter(f"server-{number}.sock" for number in range(1000))
    check_server_model(
        lambda handler: model.on(transport)(transport.address(folder, next(paths)), handler),
        connect=(lambda server: transport.client(server.server_address)) if transport.tls else client_of,
        concurrent=model.concurrent,
    )
