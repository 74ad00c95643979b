"""The cache, by a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from servers.resolver.generations import Generations
from servers.resolver.names import from_text
from servers.resolver.protocol import Edns, Query
from servers.resolver.records import Answer, Error, Rcode, RRset, Type
from servers.resolver.steps import Outcome
from servers.resolver.steps.cache import Cache, CacheRules

NAME = from_text("a.example.")
FAILURE = Answer(Rcode.SERVFAIL, error=(Error.NETWORK_ERROR, ""))


def good(ttl: int = 60, last: int = 1) -> Answer:
    """Return an answer with an address."""
    return Answer(answer=(RRset(NAME, Type.A, ttl, (bytes([192, 0, 2, last]),)),))


def denial(rcode: int, ttl: int = 60, minimum: int = 20) -> Answer:
    """Return an answer that says that there is nothing."""
    soa = RRset(from_text("example."), Type.SOA, ttl, (b"\0\0" + bytes(16) + minimum.to_bytes(4, "big"),))
    return Answer(rcode, authority=(soa,))


class Scene:
    """A cache in front of whatever ``says`` is."""

    def __init__(self, rules: CacheRules | None = None) -> None:
        self.now = 1000.0
        self.says: Outcome = good()
        self.asked = 0
        self.timers: list[tuple[float, Callable[[], object]]] = []
        later = lambda seconds, function: self.timers.append((seconds, function))  # noqa: E731
        self.cache = Cache(rules or CacheRules(), later, lambda: self.now)

    def rest(self, query: Query) -> Outcome:
        """Answer for what is behind the cache."""
        self.asked += 1
        return self.says

    def ask(self, kind: int = Type.A, *, do: bool = False, name: bytes = NAME) -> Answer:
        """Ask, and return the answer, which must be there."""
        outcome = self.ask_later(kind, do=do, name=name)
        found = outcome.result(0) if isinstance(outcome, Future) else outcome
        assert found is not None
        return found

    def ask_later(self, kind: int = Type.A, *, do: bool = False, name: bytes = NAME) -> Outcome:
        """Ask."""
        query = Query(b"", name + kind.to_bytes(2, "big") + b"\0\1", kind, edns=Edns(1232, do), known=True)
        return self.cache(query, self.rest)


@pytest.fixture
def scene() -> Scene:
    """Return a cache and what is behind it."""
    return Scene()


def test_ttls_count_down(scene: Scene) -> None:
    """An answer is kept for as long as it says, and says so for less and less long."""
    assert scene.ask().answer[0].ttl == 60
    scene.now += 45.9
    assert scene.ask().answer[0].ttl == 15
    assert scene.asked == 1
    scene.now += 14.1
    scene.says = good(30)
    assert scene.ask().answer[0].ttl == 30
    assert scene.asked == 2


def test_the_shortest_counts(scene: Scene) -> None:
    """An answer of several sets is kept for as long as the shortest."""
    scene.says = Answer(answer=(*good(300).answer, *good(10, 2).answer))
    scene.ask()
    scene.now += 10
    scene.ask()
    assert scene.asked == 2


@pytest.mark.parametrize("name", [from_text("A.EXAMPLE."), NAME])
def test_letters(scene: Scene, name: bytes) -> None:
    """Names are the same in any letters; types, and questions for signatures, are others."""
    scene.ask(name=name)
    scene.ask()
    assert scene.asked == 1
    scene.ask(Type.AAAA)
    scene.ask(do=True)
    assert scene.asked == 3


def test_bounds() -> None:
    """TTLs are kept within the rules, and none at all is no reason to keep anything."""
    scene = Scene(CacheRules(lowest_ttl=30, highest_ttl=100))
    scene.says = good(1)
    assert scene.ask().answer[0].ttl == 30
    scene.says = good(10_000)
    assert scene.ask(Type.AAAA).answer[0].ttl == 100
    scene = Scene()
    scene.says = good(0)
    scene.ask()
    scene.ask()
    assert scene.asked == 2


def test_denials(scene: Scene) -> None:
    """That there is no name goes for all types, that it has no data for one, each as long as the SOA says."""
    scene.says = denial(Rcode.NXDOMAIN)
    assert scene.ask().authority[0].ttl == 20
    assert scene.ask(Type.MX).rcode == Rcode.NXDOMAIN
    assert scene.asked == 1
    scene.now += 20
    scene.says = denial(Rcode.NOERROR)
    scene.ask()
    scene.ask()
    assert scene.asked == 2
    scene.says = good()
    assert scene.ask(Type.MX).answer


def test_denials_of_nobody(scene: Scene) -> None:
    """A denial without a SOA is not kept (RFC 2308, section 5)."""
    scene.says = Answer(Rcode.NXDOMAIN)
    scene.ask()
    scene.ask()
    assert scene.asked == 2


def test_failures(scene: Scene) -> None:
    """A failure is kept for some seconds, and told to be an old one (RFC 9520)."""
    scene.says = FAILURE
    assert scene.ask().error == FAILURE.error
    assert scene.ask().error == (Error.CACHED_ERROR, "")
    assert scene.asked == 1
    scene.now += 5
    scene.says = good()
    assert scene.ask().rcode == Rcode.NOERROR


def test_stale_answers(scene: Scene) -> None:
    """After a failure the old answer serves, for thirty seconds at a time, and is replaced as soon as there is one."""
    scene.ask()
    scene.now += 100
    scene.says = FAILURE
    found = scene.ask()
    assert (found.rcode, found.answer[0].ttl, found.error) == (0, 30, (Error.STALE_ANSWER, ""))
    scene.now += 29
    assert scene.ask().error == (Error.STALE_ANSWER, "")
    assert scene.asked == 2
    scene.now += 2
    scene.says = good(60, 9)
    assert scene.ask().answer[0].rdatas == (bytes([192, 0, 2, 9]),)


def test_stale_answers_end() -> None:
    """Nothing serves for longer than the rules have it, and denials not at all (they would hide what there is now)."""
    scene = Scene(CacheRules(stale=100))
    scene.ask()
    scene.now += 161
    scene.says = FAILURE
    assert scene.ask().rcode == Rcode.SERVFAIL
    scene = Scene()
    scene.says = denial(Rcode.NXDOMAIN)
    scene.ask()
    scene.now += 30
    scene.says = FAILURE
    assert scene.ask().rcode == Rcode.SERVFAIL


def test_stale_answers_while_it_takes_long(scene: Scene) -> None:
    """Who waits for 1.8 s gets the old answer; the new one is kept when it comes."""
    scene.ask()
    scene.now += 100
    slow: Future[Answer | None] = Future()
    scene.says = slow
    outcome = scene.ask_later()
    assert isinstance(outcome, Future)
    assert not outcome.done()
    ((seconds, fire),) = scene.timers
    assert seconds == 1.8
    fire()
    found = outcome.result(0)
    assert found is not None
    assert found.error == (Error.STALE_ANSWER, "")
    slow.set_result(good(60, 7))
    assert scene.ask().answer[0].rdatas == (bytes([192, 0, 2, 7]),)
    assert scene.asked == 2


def test_the_new_answer_in_time(scene: Scene) -> None:
    """An answer that comes in time goes out, and the timer that fires later changes nothing."""
    scene.ask()
    scene.now += 100
    slow: Future[Answer | None] = Future()
    scene.says = slow
    outcome = scene.ask_later()
    assert isinstance(outcome, Future)
    slow.set_result(good(60, 7))
    scene.timers[0][1]()
    found = outcome.result(0)
    assert found is not None
    assert found.error is None


def test_memory_is_bounded() -> None:
    """However much is asked, a cache keeps no more than it may; what is asked for again and again stays."""
    scene = Scene(CacheRules(octets=100_000, stale=0))
    for number in range(5000):
        scene.ask(name=from_text(f"n{number}.example."))
        if number % 20 == 0:
            scene.ask()
    assert len(scene.cache) < 400
    asked = scene.asked
    scene.ask()
    assert scene.asked == asked


def test_generations() -> None:
    """What was not asked for while one generation filled up goes with the next."""
    table = Generations[int, str](3)
    for number in range(3):
        table.put(number, str(number))
    for number in (10, 11, 12):
        table.put(number, str(number))
        assert table.get(1) == "1"
    assert table.get(0) is None or len(table) <= 6
    for number in range(20, 26):
        table.put(number, str(number))
        assert table.get(1) == "1"
    assert table.get(0) is None
