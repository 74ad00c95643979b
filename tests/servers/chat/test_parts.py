"""The parts that need no server: masks, cloaks, buckets, history."""

import string

from hypothesis import given
from hypothesis import strategies as st

from servers.chat.cloak import cloak
from servers.chat.flood import Bucket, Buckets
from servers.chat.history import History, Moment
from servers.chat.masks import complete, matches
from servers.chat.protocol import Message, fold, is_nick

NAMES = st.text(string.ascii_letters + "[]{}^_-.", max_size=12)
HOSTILE = st.text("*?a[", max_size=60)


@given(NAMES, NAMES)
def test_a_name_is_a_mask_of_itself(name: str, other: str) -> None:
    """Without anything wild, a mask matches the same name in whatever case, and no other."""
    assert matches(name, name.swapcase())
    assert matches(name, other) is (fold(name) == fold(other))


@given(NAMES, NAMES, NAMES)
def test_stars_and_question_marks(start: str, middle: str, end: str) -> None:
    """A star stands for any text, none too, and a question mark for one character."""
    whole = start + middle + end
    assert matches(f"{start}*{end}", whole)
    assert matches("?" * len(whole), whole)
    assert not matches("?" * (len(whole) + 1), whole)


@given(HOSTILE, st.text("ab[", max_size=60))
def test_no_mask_takes_long(mask: str, text: str) -> None:
    """However many stars a mask has, it is decided; hypothesis has a deadline for each example."""
    assert matches(mask, text) in {True, False}


@given(st.text("ab!@*", max_size=9))
def test_a_mask_is_completed_once(mask: str) -> None:
    """Completing a mask leaves nothing to complete."""
    assert complete(complete(mask)) == complete(mask)
    assert "!" in complete(mask)


def test_cloaks() -> None:
    """One address has one cloak, neighbours have its end in common, and without the secret it tells nothing."""
    secret = b"s" * 32
    one, near, far = (cloak(each, secret).split(".") for each in ("10.1.2.3", "10.1.2.4", "10.1.3.3"))
    assert one == cloak("::ffff:10.1.2.3", secret).split(".")
    assert (one[1:], one[2:]) == (near[1:], far[2:])
    assert one[0] != near[0]
    assert one[1] != far[1]
    assert cloak("10.1.2.3", b"t" * 32).split(".") != one
    assert cloak("2001:db8::1", secret) == cloak("2001:db8::2", secret) != cloak("2001:db8:0:1::1", secret)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 20)), max_size=30))
def test_a_bucket_never_gives_more_than_it_got(takes: list[tuple[float, int]]) -> None:
    """Whatever is taken when, it is at most the brim and what has flown in since."""
    bucket, now, taken = Bucket(3, 5, 0), 0.0, 0
    for pause, wanted in takes:
        now += pause
        taken += bucket.take(wanted, now)
        assert taken <= 5 + 3 * now + 1e-6
        if bucket.take(1, now):
            taken += 1
        else:
            assert bucket.take(1, now + bucket.delay() + 1e-6) == 1
            now += bucket.delay() + 1e-6
            taken += 1


def test_each_name_has_its_bucket() -> None:
    """One name's tokens are no other's, and only so many names are remembered."""
    buckets = Buckets(0.001, 1, most=2)
    assert buckets.take("a", 0)
    assert not buckets.take("a", 0)
    assert buckets.take("b", 0)
    assert buckets.take("c", 0)
    assert buckets.take("a", 0)  # forgotten


def _history(count: int) -> tuple[History, list[Message]]:
    history = History(100)
    messages = [
        Message("A", (), "", {"time": f"{number // 2:03}", "msgid": f"{number}"}) for number in range(count)
    ]
    for message in messages:
        history.append(message)
    return history, messages


@given(st.integers(1, 30), st.integers(1, 40), st.data())
def test_history_is_cut_where_it_is_asked_to_be(count: int, limit: int, data: st.DataObject) -> None:
    """What is before, after, around and between messages is what a list of all of them says it is."""
    history, messages = _history(count)
    one, other = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, count - 1))
    here, there = Moment(msgid=str(one)), Moment(msgid=str(other))
    assert history.before(None, limit) == messages[-limit:]
    assert history.before(here, limit) == messages[:one][-limit:]
    assert history.after(here, limit) == messages[one + 1 :][:limit]
    if one <= other:
        assert history.between(here, there, limit) == messages[one + 1 : other][:limit]
    else:
        assert history.between(here, there, limit) == messages[other + 1 : one][-limit:]
    around = history.around(here, limit)
    assert messages[one] in around
    assert len(around) == min(limit, count)
    time = messages[one].tags["time"]
    assert (
        history.after(Moment(time), limit) == [each for each in messages if each.tags["time"] > time][:limit]
    )
    assert (
        history.before(Moment(time), limit)
        == [each for each in messages if each.tags["time"] < time][-limit:]
    )


@given(st.text())
def test_a_nick_can_stand_in_a_mask(name: str) -> None:
    """No nick holds what would be wild in a mask."""
    if is_nick(name):
        assert not {"*", "?", "!", "@"} & set(name)
