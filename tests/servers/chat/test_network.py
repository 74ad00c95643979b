import socket
from collections.abc import Callable, Iterator

import pytest

from framework import Flusher, Outbox
from servers.chat.network import Network
from servers.chat.numerics import Refused
from servers.chat.settings import Settings
from servers.chat.user import User

Enter = Callable[[str], User]


@pytest.fixture
def network() -> Network:
    """Return a network with small limits."""
    return Network(Settings(nick_length=5, channel_length=6, channels_per_user=2, topic_length=4))


@pytest.fixture
def enter(network: Network) -> Iterator[Enter]:
    """Make registered users, who hear nothing."""
    with socket.socket() as nobody:
        outbox = Outbox(nobody, Flusher())

        def make(nick: str) -> User:
            user = User(outbox, "address", "host", 0.0)
            network.rename(user, nick, 0.0)
            network.register(user)
            return user

        yield make


def test_a_nick_is_claimed_once(network: Network, enter: Enter) -> None:
    """A nick in any case belongs to one user, who may write it differently."""
    anna = enter("anna")
    other = enter("bob")
    with pytest.raises(Refused, match="433"):
        network.rename(other, "ANNA", 0.0)
    network.rename(anna, "Anna", 0.0)
    assert network.user("aNNa") is anna


def test_an_old_nick_is_free(network: Network, enter: Enter) -> None:
    """A nick that was given up can be had by another, and finds nobody until then."""
    anna = enter("anna")
    network.rename(anna, "ann", 0.0)
    with pytest.raises(Refused, match="401"):
        network.user("anna")
    assert enter("anna") is not anna


def test_a_nick_is_claimed_before_registration(network: Network, enter: Enter) -> None:
    """A nick belongs to whoever asked first, but others see nobody there before registration."""
    with socket.socket() as nobody:
        network.rename(User(Outbox(nobody, Flusher()), "address", "host", 0.0), "early", 0.0)
    with pytest.raises(Refused, match="401"):
        network.user("early")
    with pytest.raises(Refused, match="433"):
        enter("early")
    assert not network.users


def test_nicks_have_a_length(network: Network, enter: Enter) -> None:
    """A nick one character too long is refused, and the user keeps the old one."""
    anna = enter("anna5")
    with pytest.raises(Refused, match="432"):
        network.rename(anna, "anna56", 0.0)
    assert network.user("anna5") is anna


def test_channels_come_and_go_with_their_members(network: Network, enter: Enter) -> None:
    """A channel begins with its first member and is forgotten with its last."""
    anna, bob = enter("anna"), enter("bob")
    channel = network.join(anna, "#a", "", 0.0)
    assert channel is not None
    assert network.join(bob, "#A", "", 0.0) is channel
    assert network.join(bob, "#a", "", 0.0) is None
    network.part(anna, channel)
    assert list(channel.members) == [bob]
    network.part(bob, channel)
    assert network.channels == []
    with pytest.raises(Refused, match="403"):
        network.channel("#a")


@pytest.mark.parametrize(
    ("name", "numeric"),
    [("a", "403"), ("&a", "403"), ("#", "476"), ("#a b", "476"), ("#234567", "476"), ("#ééé", "476")],
)
def test_channels_have_a_shape(network: Network, enter: Enter, name: str, numeric: str) -> None:
    """A name that no channel may have makes none."""
    with pytest.raises(Refused, match=numeric):
        network.join(enter("anna"), name, "", 0.0)
    assert network.channels == []


def test_a_user_is_in_so_many_channels(network: Network, enter: Enter) -> None:
    """One channel too many is refused, and leaves no empty channel behind."""
    anna = enter("anna")
    assert network.join(anna, "#a", "", 0.0)
    assert network.join(anna, "#b", "", 0.0)
    with pytest.raises(Refused, match="405"):
        network.join(anna, "#c", "", 0.0)
    assert [channel.name for channel in network.channels] == ["#a", "#b"]


def test_topics_are_cut(network: Network, enter: Enter) -> None:
    """A topic is cut to so many octets, between characters, and an empty one is none."""
    anna = enter("anna")
    channel = network.join(anna, "#a", "", 0.0)
    assert channel is not None
    network.set_topic(anna, channel, "aéé", 7.0)
    assert channel.topic is not None
    assert (channel.topic.text, channel.topic.time) == ("aé", 7.0)
    network.set_topic(anna, channel, "", 8.0)
    assert channel.topic is None


def test_neighbours_share_a_channel(network: Network, enter: Enter) -> None:
    """Who shares one channel or two with a user is one neighbour, and who shares none is none."""
    anna, bob, carol, _ = enter("anna"), enter("bob"), enter("carol"), enter("dave")
    for user, name in [(anna, "#a"), (anna, "#b"), (bob, "#a"), (bob, "#b"), (carol, "#b")]:
        network.join(user, name, "", 0.0)
    assert network.neighbours(anna) == {bob, carol}
    assert network.leave(anna, 0.0) == {bob, carol}
    assert network.neighbours(bob) == {carol}
    with pytest.raises(Refused, match="401"):
        network.user("anna")


def test_a_channel_that_is_registered_stays(network: Network, enter: Enter) -> None:
    """A registered channel outlives its members, and its founder is its operator wherever from."""
    anna, bob = enter("anna"), enter("bob")
    anna.account = "Anna"
    channel = network.join(anna, "#a", "", 0.0)
    assert channel is not None
    channel.founder = anna.account
    network.part(anna, channel)
    assert network.join(bob, "#a", "", 0.0) is channel
    assert network.join(anna, "#a", "", 0.0) is channel
    assert not channel.is_operator(bob)
    assert channel.is_operator(anna)


def test_the_past_is_short(network: Network, enter: Enter) -> None:
    """Who left is remembered, the latest first, and not for ever."""
    for number in range(101):
        user = enter("anna")
        user.realname = str(number)
        network.leave(user, float(number))
    found = network.past("ANNA")
    assert [past.realname for past in found[:2]] == ["100", "99"]
    assert len(found) == 100
