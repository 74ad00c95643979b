from framework.testing import FakeClock
from servers.syslog.limits import _MANY, _MOST, PeerLimits
from servers.syslog.record import Peer
from tests.servers.syslog.conftest import record


def test_each_process_has_a_bucket() -> None:
    """One that floods loses what is too much, the others nothing; it may go on at the rate."""
    clock = FakeClock()
    limits = PeerLimits(10, 5, "pid", clock)
    loud, quiet = Peer(1, 0, 0), Peer(2, 0, 0)
    assert len(limits.admit([record(peer=loud)] * 100)) == 5
    assert len(limits.admit([record(peer=quiet)] * 3)) == 3
    clock.advance(0.25)
    assert len(limits.admit([record(peer=loud)] * 100)) == 2
    clock.advance(60)
    assert len(limits.admit([record(peer=loud)] * 100)) == 5
    assert limits.dropped == 95 + 98 + 95


def test_what_matters_passes() -> None:
    """Messages that are critical or worse pass always, and take no tokens."""
    limits = PeerLimits(1, 2, "pid", FakeClock())
    records = [record(severity=severity, peer=Peer(1, 0, 0)) for severity in (0, 1, 2, 7, 7, 7, 2)]
    assert [each.severity for each in limits.admit(records)] == [0, 1, 2, 7, 7, 2]


def test_users_and_hosts() -> None:
    """A user's processes can share one bucket; a host has one in any case."""
    limits = PeerLimits(1, 1, "uid", FakeClock())
    peers = [Peer(1, 1000, 0), Peer(2, 1000, 0), Peer(3, 0, 0), Peer(address="a"), Peer(address="a")]
    assert [each.peer for each in limits.admit([record(peer=peer) for peer in peers])] == [
        peers[0],
        peers[2],
        peers[3],
    ]
    assert limits.over(ending=True) == ["1 messages dropped from uid 1000", "1 messages dropped from host a"]


def test_a_flood_is_told_of_once() -> None:
    """How much was dropped is told when nothing was for a second, and now and then while it goes on."""
    clock = FakeClock()
    limits = PeerLimits(1, 1, "pid", clock)
    flood = [record(peer=Peer(7, 0, 0))] * 11
    limits.admit(flood)
    clock.advance(0.5)
    assert limits.over() == []
    clock.advance(0.5)
    assert limits.over() == ["10 messages dropped from pid 7"]
    assert limits.over(ending=True) == []
    told: list[str] = []
    for _ in range(62):
        limits.admit(flood)
        clock.advance(0.5)
        told += limits.over()
    assert len(told) == 1


def test_memory_of_peers_is_bounded() -> None:
    """Peers that have said nothing for a while are forgotten, however many come."""
    clock = FakeClock()
    limits = PeerLimits(10, 5, "pid", clock)
    for pid in range(1, 10 * _MANY):
        limits.admit([record(peer=Peer(pid, 0, 0))])
        clock.advance(0.001)
    assert len(limits._full) <= _MANY + 1


def test_memory_of_strangers_is_bounded() -> None:
    """However many hosts somebody claims to be, within whatever time, so many are remembered at most."""
    limits = PeerLimits(0.001, 1, "pid", FakeClock())
    for number in range(2 * _MOST):
        limits.admit([record(peer=Peer(address=str(number)))] * 2)
        assert len(limits._full) <= _MOST
        assert len(limits._floods) <= _MOST
