import re

import pytest

from servers.syslog.protocol import parse
from servers.syslog.record import Peer
from servers.syslog.routes import Route, distribute
from tests.servers.syslog.conftest import NOW

ROUTES = (
    Route(("auth",), facilities=frozenset({4, 10}), final=True),
    Route((), programs=frozenset({"noise"}), final=True),
    Route(("errors", "all"), severity=3),
    Route(("root",), uids=frozenset({0}), pattern=re.compile("dis[ck]")),
    Route(("all",)),
)


@pytest.mark.parametrize(
    ("octets", "uid", "names"),
    [
        (b"<37>sshd: Accepted", 0, ["auth"]),
        (b"<85>sudo: disk", 0, ["auth"]),
        (b"<11>noise: disk", 0, []),
        (b"<11>cron: failed", 1, ["errors", "all"]),
        (b"<12>cron: disk full", 0, ["root", "all"]),
        (b"<12>cron: disk full", 1, ["all"]),
        (b"<12>cron: all is well", 0, ["all"]),
    ],
)
def test_routes(octets: bytes, uid: int, names: list[str]) -> None:
    """A record goes to the outputs of all routes that it fits, once to each, down to the first final one."""
    record = parse(octets, Peer(1, uid, uid), NOW)
    assert distribute([record], ROUTES) == {name: [record] for name in names}


def test_the_claimed_program_cannot_claim_a_user() -> None:
    """A route by user goes by the sender's credentials, whatever the message says."""
    forged = parse(b"<12>su[0]: uid=0 disk", Peer(1, 65534, 65534), NOW)
    assert distribute([forged], ROUTES[3:4]) == {}
