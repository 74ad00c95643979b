"""Forwarding, to servers that misbehave in every way there is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import pytest

from framework.testing import eventually
from servers.resolver import lookup
from servers.resolver.message import Opt, parse, query
from servers.resolver.metrics import ResolverCollector
from servers.resolver.names import ROOT, from_text
from servers.resolver.records import Error, Rcode, Type
from servers.resolver.settings import Route
from servers.resolver.upstream import Upstream as UpstreamState
from tests.servers.resolver.client import PATIENCE, RD, Running
from tests.servers.resolver.conftest import Serve
from tests.servers.resolver.upstreams import EVIL, GOOD, VICTIM, Upstream

CORP = from_text("corp.example.")
EDE = 15
CD = 0x0010


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Run an upstream server."""
    with Upstream() as made:
        yield made


def error_of(message: object) -> int | None:
    """Return the extended error of an answer."""
    opt: Opt | None = getattr(message, "opt", None)
    return next(
        (int.from_bytes(data[:2], "big") for code, data in (opt.options if opt else ()) if code == EDE), None
    )


@pytest.mark.parametrize(
    "how",
    [
        "good",
        "wrongid",
        "wrongname",
        "wrongtype",
        "noanswer",
        "garbage",
        "truncated",
        "formerr",
        "lower",
        "poison",
    ],
)
def test_the_right_answer_all_the_same(serve: Serve, upstream: Upstream, how: str) -> None:
    """Whatever comes before, beside or instead of it, the client gets the right answer, and nothing of the rest."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    found = resolver.ask(f"{how}.example.")
    assert [each.rdatas for each in found.answer] == [(GOOD,)]
    assert (found.rcode, found.authority, found.additional) == (0, (), ())
    assert found.flags & 0x0080
    assert [each.rdatas for each in resolver.ask("victim.example.net.").answer] == [(GOOD,)]
    again = resolver.ask(f"{how}.example.")
    assert [each.rdatas for each in again.answer] == [(GOOD,)]


def test_nothing_poisonous_is_kept(serve: Serve, upstream: Upstream) -> None:
    """What an answer says of other names is not believed: they are asked about when somebody wants to know."""
    resolver = serve(
        forward=(Route(from_text("example."), upstream.address), Route(from_text("net."), upstream.address))
    )
    resolver.ask("poison.example.")
    found = resolver.ask("victim.example.net.")
    assert found.answer[0].rdatas == (GOOD,)
    assert upstream.asked[VICTIM] == 1
    found = resolver.ask("away.example.")
    assert [each.rdatas for each in found.answer] == [(VICTIM,), (GOOD,)]
    assert all(EVIL not in each.rdatas for each in found.answer)


def test_silence_to_edns(serve: Serve, upstream: Upstream) -> None:
    """A server that drops what has EDNS is asked without, and after some times at once."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    for number in range(5):
        assert resolver.ask(f"noedns.x{number}.example.").answer
    with_edns = [name for _, name, _, edns in upstream.seen if edns]
    assert len(with_edns) == 3


def test_nobody_answers(serve: Serve, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody answers, the client is told in time, and the next one at once, without another try (RFC 9520)."""
    monkeypatch.setattr(lookup, "_PATIENCE", 0.3)
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    found = resolver.ask("silent.example.", opt=Opt())
    assert (found.rcode, error_of(found)) == (Rcode.SERVFAIL, Error.NO_REACHABLE_AUTHORITY)
    count = upstream.asked[from_text("silent.example.")]
    found = resolver.ask("silent.example.", opt=Opt())
    assert (found.rcode, error_of(found)) == (Rcode.SERVFAIL, Error.CACHED_ERROR)
    assert upstream.asked[from_text("silent.example.")] == count


def test_nobody_is_asked_without_end(
    serve: Serve, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent server is asked three times at most (RFC 9520, section 3.1), the last time for as long as there is."""
    monkeypatch.setattr(lookup, "_PATIENCE", 1.2)
    monkeypatch.setattr(UpstreamState, "patience", lambda *_: 0.01)
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    assert resolver.ask("silent.example.").rcode == Rcode.SERVFAIL
    assert upstream.asked[from_text("silent.example.")] == 3


def test_letters_that_were_made_up_stay_here(serve: Serve, upstream: Upstream) -> None:
    """What an answer has by pointing into the question comes in small letters, not in those of the query upstream."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    name = "alias.with-many-letters-of-which-some-will-be-large.example."
    found = resolver.ask(name)
    assert found.answer[0].rdatas == (from_text(f"target.{name}"),)


def test_unchecked(serve: Serve, upstream: Upstream) -> None:
    """CD is passed on, and repeated to whom asks others by way of us (RFC 4035, section 3.2.2)."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    assert resolver.ask("good.example.", flags=RD | CD).flags & CD
    assert not resolver.ask("good.example.").flags & CD


def test_somebody_floods(serve: Serve, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many wrong answers to one question make none of them right."""
    monkeypatch.setattr(lookup, "_PATIENCE", 0.3)
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    assert resolver.ask("flood.example.").rcode == Rcode.SERVFAIL


def test_the_next_server(serve: Serve, upstream: Upstream) -> None:
    """Where one server is not there, refuses or fails, the next one is asked; one that is not there is left alone."""
    with Upstream() as other:
        other.dead = True
        routes = (Route(ROOT, other.address), Route(ROOT, upstream.address))
        resolver = serve(forward=routes)
        for number in range(6):
            assert resolver.ask(f"good.x{number}.example.").answer
        assert len(other.seen) == 0
        other.dead = False
        assert resolver.ask("refused.example.").rcode == Rcode.SERVFAIL
        assert resolver.ask("referral.example.").rcode == Rcode.SERVFAIL
        assert upstream.asked[from_text("refused.example.")] == 1


def test_domains_of_their_own(serve: Serve, upstream: Upstream) -> None:
    """The servers of the nearest domain are asked, whoever else there is."""
    with Upstream() as corp:
        resolver = serve(forward=(Route(ROOT, upstream.address), Route(CORP, corp.address)))
        assert resolver.ask("a.corp.example.").answer
        assert resolver.ask("corp.example.").answer
        assert resolver.ask("xcorp.example.").answer
        assert set(corp.asked) == {from_text("a.corp.example."), CORP}
        assert set(upstream.asked) == {from_text("xcorp.example.")}
    assert serve(forward=(Route(CORP, upstream.address),)).ask("elsewhere.example.").rcode == Rcode.REFUSED


def test_nothing_can_be_guessed(serve: Serve, upstream: Upstream) -> None:
    """Ports, IDs and the letters of names differ from one exchange to the next."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    for number in range(40):
        resolver.ask(f"a-long-name-with-many-letters.x{number}.example.")
    ports, names, numbers, _ = zip(*upstream.seen, strict=True)
    assert len(set(ports)) > 30
    assert len(set(numbers)) > 30
    assert len({name.partition(b".")[0][:20] for name in names}) > 30
    assert max(ports) - min(ports) > 10_000


def test_one_exchange_for_all(serve: Serve, upstream: Upstream) -> None:
    """However many ask the same at a time, one exchange is made, and each gets the answer, by its own ID and letters."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    with ExitStack() as stack:
        clients = [stack.enter_context(resolver.datagrams()) for _ in range(60)]
        for number, client in enumerate(clients):
            name = "slow.example." if number % 2 else "SLOW.example."
            client.send(query(number, from_text(name), 1, flags=RD))
        # The last one waits as well once this is answered, which came after it.
        assert resolver.ask("good.example.").answer
        upstream.release.set()
        found = [parse(client.recv(4096)) for client in clients]
    assert [each.id for each in found] == list(range(60))
    assert all(each.answer[0].rdatas == (GOOD,) for each in found)
    assert upstream.asked[from_text("slow.example.")] == 1


def test_who_waits_is_answered_before_the_end(serve: Serve, upstream: Upstream) -> None:
    """A drain answers those who wait for an upstream server, and only then is over."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    with resolver.datagrams() as client, ThreadPoolExecutor() as pool:
        client.send(query(1, from_text("slow.example."), 1, flags=RD))
        eventually(lambda: upstream.asked[from_text("slow.example.")] == 1)
        drained = pool.submit(resolver.udp.drain)
        eventually(lambda: resolver.udp.draining)
        assert not drained.done()
        upstream.release.set()
        drained.result(PATIENCE)
        client.settimeout(0)
        assert parse(client.recv(4096)).answer


def test_waiters_keep_nobody_waiting(serve: Serve, upstream: Upstream) -> None:
    """While 60 questions wait for a server that says nothing, what is known is answered at once, in no more threads."""
    import threading

    resolver = serve(forward=(Route(ROOT, upstream.address),))
    assert resolver.ask("good.example.").answer
    before = threading.active_count()
    with resolver.datagrams() as client:
        for number in range(60):
            client.send(query(number, from_text(f"slow.x{number}.example."), 1, flags=RD))
        eventually(lambda: len(upstream.seen) >= 60)
        # One of the upstream server of this test waits for each.
        assert threading.active_count() - before <= 62
        for _ in range(100):
            assert resolver.ask("good.example.").answer
        upstream.release.set()
        assert {parse(client.recv(4096)).id for _ in range(60)} == set(range(60))


def test_too_many_waiters(serve: Serve, upstream: Upstream) -> None:
    """One client cannot have more than so many questions waiting; beyond, it is told at once, and nothing is kept."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    with resolver.datagrams() as client:
        for number in range(250):
            client.send(query(number, from_text(f"slow.x{number}.example."), 1, flags=RD))
        refused = [parse(client.recv(4096)) for _ in range(50)]
        assert {each.rcode for each in refused} == {Rcode.SERVFAIL}
        upstream.release.set()
        assert {parse(client.recv(4096)).rcode for _ in range(200)} == {0}
    assert resolver.ask("slow.x249.example.").answer


def test_too_many_lookups(serve: Serve, upstream: Upstream) -> None:
    """However many clients there are, so many different questions are under way and no more: each has a socket."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    with ExitStack() as stack:
        clients = []
        for host in range(2, 6):
            client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            client.bind((f"127.0.0.{host}", 0))
            client.settimeout(PATIENCE)
            clients.append(client)
            for number in range(150):
                packet = query(number, from_text(f"silent.x{number}.h{host}.example."), 1, flags=RD)
                client.sendto(packet, resolver.udp.server_address)
            eventually(partial(_has_received, resolver, (host - 1) * 150))
        assert resolver.service.waiting() == 500
        assert {parse(clients[-1].recv(4096)).rcode for _ in range(100)} == {Rcode.SERVFAIL}


def _has_received(resolver: Running, count: int) -> bool:
    return resolver.service.datagrams == count


def test_denials(serve: Serve, upstream: Upstream) -> None:
    """That there is no name or no data is passed on with the SOA, and remembered."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    for how, rcode in (("nxdomain", 3), ("nodata", 0)):
        for kind in ("A", "A", "TXT"):
            found = resolver.ask(f"{how}.sub.example.", kind)
            assert (found.rcode, found.answer, found.authority[0].type) == (rcode, (), Type.SOA)
    assert upstream.asked[from_text("nxdomain.sub.example.")] == 1
    assert upstream.asked[from_text("nodata.sub.example.")] == 2


def test_names_that_get_too_long(serve: Serve, upstream: Upstream) -> None:
    """That a name got too long on the way is passed on."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    assert resolver.ask("yxdomain.example.").rcode == Rcode.YXDOMAIN


def test_special_names_are_not_asked_about(serve: Serve, upstream: Upstream) -> None:
    """Upstream servers hear nothing of special names, unless somebody has said that they know them; tests may be theirs."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    assert resolver.ask("good.invalid.").rcode == Rcode.NXDOMAIN
    assert not upstream.seen
    assert resolver.ask("good.test.").answer
    resolver = serve(forward=(Route(from_text("invalid."), upstream.address),))
    assert resolver.ask("good.invalid.").answer


def test_zones_are_not_fetched_for_others(serve: Serve, upstream: Upstream) -> None:
    """Whole zones are not asked for upstream."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    for kind in ("AXFR", "IXFR"):
        assert resolver.ask("good.example.", kind).rcode == Rcode.REFUSED
    assert not upstream.seen


def test_who_does_not_want_to_wait_gets_nothing(serve: Serve, upstream: Upstream) -> None:
    """Without RD nobody is asked, and the cache stays private; strangers get nothing either way."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    assert resolver.ask("good.example.").answer
    assert resolver.ask("good.example.", flags=0).rcode == Rcode.REFUSED
    stranger = serve(forward=(Route(ROOT, upstream.address),), allow_recursion=())
    found = stranger.ask("good.example.", opt=Opt())
    assert (found.rcode, error_of(found), found.flags & 0x0080) == (Rcode.REFUSED, Error.PROHIBITED, 0)


def test_by_a_connection_out_of_order(serve: Serve, upstream: Upstream) -> None:
    """Of two questions on one connection, the one whose answer is there is answered first."""
    from tests.servers.resolver.client import receive, send

    resolver = serve(forward=(Route(ROOT, upstream.address),))
    with resolver.connect() as client:
        send(
            client,
            query(1, from_text("slow.example."), 1, flags=RD),
            query(2, from_text("good.example."), 1, flags=RD),
        )
        assert parse(receive(client)).id == 2
        upstream.release.set()
        assert parse(receive(client)).id == 1
    assert PATIENCE


def test_what_prometheus_is_told(serve: Serve, upstream: Upstream) -> None:
    """What came, what was answered, what waits, and who is asked, is told by numbers."""
    resolver = serve(forward=(Route(ROOT, upstream.address),))
    resolver.ask("good.example.")
    resolver.ask("nxdomain.example.")
    eventually(lambda: not resolver.service.waiting())
    found = {each.name: each.samples for each in ResolverCollector(resolver.service).collect()}
    assert found["resolver_datagrams_received"][0].value == 2
    codes = {each.labels["rcode"]: each.value for each in found["resolver_answers_made"]}
    assert codes == {"NOERROR": 1, "NXDOMAIN": 1}
    assert found["resolver_cache_entries"][0].value == 2
    assert found["resolver_waiting"][0].value == 0
    assert found["resolver_upstream_up"][0].value == 1
    assert found["resolver_upstream_trip_seconds"][0].value > 0
