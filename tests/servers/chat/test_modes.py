import pytest

from tests.servers.chat.conftest import Connect, Serve
from tests.servers.chat.irc import Irc


@pytest.fixture
def room(connect: Connect) -> tuple[Irc, Irc]:
    """Return the operator of a channel and one who has only joined it."""
    wiz, bob = connect("wiz"), connect("bob")
    for client in (wiz, bob):
        client.ask("JOIN #a")
    wiz.ask()
    return wiz, bob


def test_who_comes_first_is_operator(room: tuple[Irc, Irc]) -> None:
    """The first in a channel is its operator, and changes that all members are told of, as one."""
    wiz, bob = room
    change = ":wiz!wiz@127.0.0.1 MODE #a +mv-t+l bob 5"
    assert wiz.ask("MODE #a +mv-t+l BOB 5") == bob.ask() == [change]
    assert wiz.ask("MODE #a")[0] == ":irc.localhost 324 wiz #a +mnl 5"
    assert bob.ask("TOPIC #a :free", "PRIVMSG #a :heard")[0] == ":bob!bob@127.0.0.1 TOPIC #a free"
    assert wiz.ask()[1] == ":bob!bob@127.0.0.1 PRIVMSG #a heard"
    assert wiz.ask("MODE #a +m-v bob", "MODE #a +m") == [":wiz!wiz@127.0.0.1 MODE #a -v bob"]
    assert bob.ask("PRIVMSG #a :unheard")[-1] == ":irc.localhost 404 bob #a :Cannot send to channel"


@pytest.mark.parametrize(
    "line", ["MODE #a +o bob", "MODE #a -t", "MODE #a +k x", "MODE #a e", "TOPIC #a :x", "KICK #a wiz"]
)
def test_others_are_not(room: tuple[Irc, Irc], line: str) -> None:
    """What only an operator may is refused to anybody else, once."""
    assert room[1].ask(line) == [":irc.localhost 482 bob #a :You're not channel operator"]


def test_lists_of_masks(room: tuple[Irc, Irc], connect: Connect) -> None:
    """A ban keeps out and keeps quiet, an exception lets in and speak, and both can be looked at and lifted."""
    wiz, bob = room
    assert wiz.ask("MODE #a +b BOB") == [":wiz!wiz@127.0.0.1 MODE #a +b BOB!*@*"]
    assert bob.ask("PRIVMSG #a :x")[-1] == ":irc.localhost 404 bob #a :Cannot send to channel"
    assert bob.ask("PART #a", "JOIN #a")[1:] == [":irc.localhost 474 bob #a :Cannot join channel (+b)"]
    wiz.ask("MODE #a +e b?b!*@127.*")
    assert bob.ask("JOIN #a")[0] == ":bob!bob@127.0.0.1 JOIN #a"
    assert bob.ask("MODE #a b") == [
        ":irc.localhost 367 bob #a BOB!*@* wiz!wiz@127.0.0.1 1000000000",
        ":irc.localhost 368 bob #a :End of channel ban list",
    ]
    wiz.ask()
    assert wiz.ask("MODE #a -b bob!*@*") == [":wiz!wiz@127.0.0.1 MODE #a -b BOB!*@*"]
    assert wiz.ask("MODE #a +b") == [":irc.localhost 368 wiz #a :End of channel ban list"]


def test_a_list_has_a_length(serve: Serve, connect: Connect) -> None:
    """One mask more than the setting is refused, and so is one that is too long."""
    wiz = connect("wiz", to=serve(list_length=1))
    wiz.ask("JOIN #a", "MODE #a +b one")
    assert wiz.ask("MODE #a +b two") == [":irc.localhost 478 wiz #a b :Channel list is full"]
    (refused,) = wiz.ask("MODE #a +e " + "x" * 91)
    assert refused.startswith(":irc.localhost 696 wiz #a e * :")


@pytest.mark.parametrize(
    ("modes", "refusal"),
    [
        ("+k secret", "475 bob #a :Cannot join channel (+k)"),
        ("+i", "473 bob #a :Cannot join channel (+i)"),
        ("+l 1", "471 bob #a :Cannot join channel (+l)"),
    ],
)
def test_an_invitation_opens_what_is_closed(connect: Connect, modes: str, refusal: str) -> None:
    """Who may not join is told why, and may once invited; the invitation is good for one time."""
    wiz, bob = connect("wiz"), connect("bob")
    wiz.ask("JOIN #a", f"MODE #a {modes}")
    assert bob.ask("JOIN #a wrong") == [f":irc.localhost {refusal}"]
    assert wiz.ask("INVITE bob #a") == [":irc.localhost 341 wiz bob #a"]
    assert bob.ask("INVITE")[:2] == [
        ":wiz!wiz@127.0.0.1 INVITE bob #a",
        ":irc.localhost 336 bob #a",
    ]
    assert bob.ask("JOIN #a wrong")[0] == ":bob!bob@127.0.0.1 JOIN #a"
    assert bob.ask("PART #a", "JOIN #a wrong")[1:] == [f":irc.localhost {refusal}"]


def test_a_key_opens(connect: Connect) -> None:
    """The right key lets in, each of a list of channels with its own; members see it, others do not."""
    wiz, bob = connect("wiz"), connect("bob")
    wiz.ask("JOIN #a,#b", "MODE #b +k hi")
    assert bob.ask("MODE #b")[0] == ":irc.localhost 324 bob #b +ntk"
    assert any("353 bob = #b" in line for line in bob.ask("JOIN #a,#b x,hi"))
    assert bob.ask("MODE #b")[0] == ":irc.localhost 324 bob #b +ntk hi"
    (refused,) = wiz.ask("MODE #a +k a,b")[-1:]
    assert refused.startswith(":irc.localhost 696 wiz #a k * :")


def test_kicking(room: tuple[Irc, Irc], connect: Connect) -> None:
    """An operator makes several leave by one command; each is told of by a line of its own, whoever is not there by 441."""
    wiz, bob = room
    eve = connect("eve")
    eve.ask("JOIN #a")
    for client in room:
        client.ask()
    kicks = [":wiz!wiz@127.0.0.1 KICK #a bob :No more", ":wiz!wiz@127.0.0.1 KICK #a eve :No more"]
    assert wiz.ask("KICK #a bob,eve :No more") == kicks
    assert bob.ask("NAMES #a")[:2] == [kicks[0], ":irc.localhost 353 bob = #a @wiz"]
    assert wiz.ask("KICK #a eve") == [":irc.localhost 441 wiz eve #a :They aren't on that channel"]


def test_a_secret_channel(room: tuple[Irc, Irc], connect: Connect) -> None:
    """Nobody outside can tell that a secret channel is there."""
    room[0].ask("MODE #a +s")
    eve = connect("eve")
    assert eve.ask("NAMES #a", "MODE #a", "TOPIC #a", "WHO #a") == [
        ":irc.localhost 366 eve #a :End of NAMES list",
        ":irc.localhost 403 eve #a :No such channel",
        ":irc.localhost 403 eve #a :No such channel",
        ":irc.localhost 315 eve #a :End of WHO list",
    ]
    assert not any("#a" in line for line in eve.ask("LIST", "WHOIS wiz"))
    assert any("#a" in line for line in room[1].ask("LIST"))


def test_messages_to_some_of_a_channel(room: tuple[Irc, Irc], connect: Connect) -> None:
    """A message to @#channel reaches its operators alone, one to +#channel whoever has a voice as well."""
    wiz, bob = room
    eve = connect("eve")
    eve.ask("JOIN #a")
    wiz.ask("MODE #a +v bob")
    bob.ask()
    eve.ask("PRIVMSG @#a :operators", "PRIVMSG +#a :voices")
    assert wiz.ask()[-2:] == [
        ":eve!eve@127.0.0.1 PRIVMSG @#a operators",
        ":eve!eve@127.0.0.1 PRIVMSG +#a voices",
    ]
    assert bob.ask() == [":eve!eve@127.0.0.1 PRIVMSG +#a voices"]


def test_modes_of_users(connect: Connect) -> None:
    """A user who is invisible is seen by name and by those in a channel with it, and by no mask."""
    wiz, bob = connect("wiz"), connect("bob")
    assert wiz.ask("MODE wiz +ix-w") == [
        ":wiz!wiz@127.0.0.1 MODE wiz +i",
        ":irc.localhost 501 wiz :Unknown MODE flag",
    ]
    assert wiz.ask("MODE wiz") == [":irc.localhost 221 wiz +i"]
    assert len(bob.ask("WHO w*")) == 1
    assert len(bob.ask("WHO wiz")) == 2
    for client in (wiz, bob):
        client.ask("JOIN #a")
    assert len(bob.ask("WHO w*")) == 2


def test_operators_of_the_network(serve: Serve, connect: Connect) -> None:
    """With the right password one becomes an operator, and may end others' connections; others may not."""
    from shared.secret import Login

    server = serve(oper=(Login.parse("root:secret"),))
    wiz, bob = connect("wiz", to=server), connect("bob", to=server)
    for client in (wiz, bob):
        client.ask("JOIN #a", "MODE bob +w")
    assert (
        wiz.ask("KILL bob :x")[-1] == ":irc.localhost 481 wiz :Permission denied, you're not an IRC operator"
    )
    assert wiz.ask("OPER root wrong", "MODE wiz +o") == [":irc.localhost 464 wiz :Password incorrect"]
    assert wiz.ask("OPER root secret")[0] == ":irc.localhost 381 wiz :You are now an IRC operator"
    wiz.ask("WALLOPS :Look out")
    assert bob.ask()[-1] == ":wiz!wiz@127.0.0.1 WALLOPS :Look out"
    wiz.send("KILL bob :Enough")
    assert bob.rest()[-1] == "ERROR :Closing link: 127.0.0.1 (Killed (wiz (Enough)))"
    assert wiz.expect(" QUIT ") == ":bob!bob@127.0.0.1 QUIT :Killed (wiz (Enough))"
    assert wiz.ask("REHASH") == [":irc.localhost 382 wiz * Rehashing"]


def test_operators_can_only_guess_so_often(serve: Serve, connect: Connect) -> None:
    """After some wrong passwords the right one is refused, too, for a while."""
    from shared.secret import Login

    wiz = connect("wiz", to=serve(oper=(Login.parse("root:secret"),)))
    for _ in range(10):
        wiz.ask("OPER root wrong")
    assert wiz.ask("OPER root secret") == [":irc.localhost 464 wiz :Password incorrect"]


def test_a_password_for_all(serve: Serve, connect: Connect) -> None:
    """A server with a password lets nobody in who does not give it first."""
    from shared.secret import Secret

    server = serve(password=Secret("open"))
    for attempt in (["NICK a", "USER a 0 * :a"], ["PASS shut", "NICK a", "USER a 0 * :a"]):
        client = connect(to=server)
        client.send(*attempt)
        assert client.rest() == [
            ":irc.localhost 464 a :Password incorrect",
            "ERROR :Closing link: 127.0.0.1 (Bad password)",
        ]
    client = connect(to=server)
    client.send("PASS open", "NICK a", "USER a 0 * :a")
    assert " 001 a " in client.line()


def test_help_comes_from_the_table(connect: Connect) -> None:
    """HELP lists the commands, and tells of each what it takes and does."""
    wiz = connect("wiz")
    assert wiz.ask("HELP kick") == [
        ":irc.localhost 704 wiz KICK :KICK channels nicks [reason]",
        ":irc.localhost 705 wiz KICK :",
        ":irc.localhost 705 wiz KICK :Make others leave a channel.",
        ":irc.localhost 706 wiz KICK :HELP by itself lists all commands",
    ]
    assert any(" WHOWAS" in line for line in wiz.ask("HELP"))
    assert wiz.ask("HELP nothing") == [":irc.localhost 524 wiz nothing :No help available on this topic"]


def test_a_bot(connect: Connect) -> None:
    """A bot says so by a mode, and is known by it in what it says, in WHO and in WHOIS."""
    wiz, bob = connect("wiz"), connect("bob")
    wiz.ask("MODE wiz +B", "JOIN #a")
    bob.ask("CAP REQ message-tags", "JOIN #a")
    wiz.ask("PRIVMSG #a :beep")
    said = bob.expect("PRIVMSG")
    assert said.startswith("@")
    assert "bot" in said[1:].split(" ")[0].split(";")
    assert bob.ask("WHO wiz")[0].endswith(" wiz HB :0 wiz the tester")
    assert any(" 335 bob wiz :is a bot" in line for line in bob.ask("WHOIS wiz"))
