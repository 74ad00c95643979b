import pytest

from tests.servers.chat.conftest import Connect, Serve


def test_joining(connect: Connect) -> None:
    """Who joins is told the topic and the members; everybody there is told who joined."""
    wiz, bob = connect("wiz"), connect("bob")
    assert wiz.ask("JOIN #a") == [
        ":wiz!wiz@127.0.0.1 JOIN #a",
        ":irc.localhost 353 wiz = #a @wiz",
        ":irc.localhost 366 wiz #a :End of NAMES list",
    ]
    wiz.ask("TOPIC #a :What it is about")
    assert bob.ask("JOIN #A key") == [
        ":bob!bob@127.0.0.1 JOIN #a",
        ":irc.localhost 332 bob #a :What it is about",
        ":irc.localhost 333 bob #a wiz!wiz@127.0.0.1 1000000000",
        ":irc.localhost 353 bob = #a :@wiz bob",
        ":irc.localhost 366 bob #a :End of NAMES list",
    ]
    assert wiz.ask() == [":bob!bob@127.0.0.1 JOIN #a"]
    assert bob.ask("JOIN #a") == []


def test_joining_lists(connect: Connect) -> None:
    """A list of channels is joined one by one, whatever becomes of the others, and left by one 0."""
    wiz = connect("wiz")
    lines = wiz.ask("JOIN #a,b,,#c,#a")
    assert [line for line in lines if " 353 " not in line and " 366 " not in line] == [
        ":wiz!wiz@127.0.0.1 JOIN #a",
        ":irc.localhost 403 wiz b :No such channel",
        ":wiz!wiz@127.0.0.1 JOIN #c",
    ]
    assert wiz.ask("JOIN 0") == [":wiz!wiz@127.0.0.1 PART #a", ":wiz!wiz@127.0.0.1 PART #c"]


def test_parting(connect: Connect) -> None:
    """Everybody there, the leaver too, is told who left and why; the others stay."""
    wiz, bob = connect("wiz"), connect("bob")
    for client in (wiz, bob):
        client.ask("JOIN #a,#b")
    wiz.ask()
    assert wiz.ask("PART #a,#none,#b :Good night") == [
        ":wiz!wiz@127.0.0.1 PART #a :Good night",
        ":irc.localhost 403 wiz #none :No such channel",
        ":wiz!wiz@127.0.0.1 PART #b :Good night",
    ]
    assert bob.ask("PART #b") == [
        ":wiz!wiz@127.0.0.1 PART #a :Good night",
        ":wiz!wiz@127.0.0.1 PART #b :Good night",
        ":bob!bob@127.0.0.1 PART #b",
    ]
    assert wiz.ask("PART #a") == [":irc.localhost 442 wiz #a :You're not on that channel"]


def test_topics(connect: Connect) -> None:
    """A member sets and clears the topic for all to hear; anybody may ask for it."""
    wiz, bob, eve = connect("wiz"), connect("bob"), connect("eve")
    for client in (wiz, bob):
        client.ask("JOIN #a")
    wiz.ask()
    assert eve.ask("TOPIC #a") == [":irc.localhost 331 eve #a :No topic is set"]
    assert wiz.ask("TOPIC #A :New") == bob.ask() == [":wiz!wiz@127.0.0.1 TOPIC #a New"]
    assert eve.ask("TOPIC #a") == [
        ":irc.localhost 332 eve #a New",
        ":irc.localhost 333 eve #a wiz!wiz@127.0.0.1 1000000000",
    ]
    assert eve.ask("TOPIC #a :Mine") == [":irc.localhost 442 eve #a :You're not on that channel"]
    assert wiz.ask("TOPIC #a :") == bob.ask() == [":wiz!wiz@127.0.0.1 TOPIC #a :"]
    assert bob.ask("TOPIC #a", "TOPIC #b") == [
        ":irc.localhost 331 bob #a :No topic is set",
        ":irc.localhost 403 bob #b :No such channel",
    ]


def test_names(connect: Connect) -> None:
    """NAMES lists members in the order in which they came, and ends even for what is not there."""
    wiz, bob = connect("wiz"), connect("bob")
    for client in (wiz, bob):
        client.ask("JOIN #a")
    wiz.ask()
    assert wiz.ask("NAMES #A", "NAMES #none", "NAMES") == [
        ":irc.localhost 353 wiz = #a :@wiz bob",
        ":irc.localhost 366 wiz #a :End of NAMES list",
        ":irc.localhost 366 wiz #none :End of NAMES list",
        ":irc.localhost 366 wiz * :End of NAMES list",
    ]


def test_many_names_take_many_lines(connect: Connect) -> None:
    """The members of a full channel come in as many lines as it takes, none too long and none twice."""
    nicks = [f"{'n' * 29}{number}" for number in range(20, 60)]
    clients = [connect(nick) for nick in nicks]
    for client in clients:
        client.ask("JOIN #a")
    lines = connect("wiz").ask("NAMES #a")
    assert len(lines) == 4
    assert all(len(line) <= 510 for line in lines)
    assert [nick for line in lines[:-1] for nick in line.split(":")[2].split()] == [
        "@" + nicks[0],
        *nicks[1:],
    ]


def test_list(connect: Connect) -> None:
    """LIST tells of all channels, or of those asked for, how many are there and about what."""
    wiz, bob = connect("wiz"), connect("bob")
    wiz.ask("JOIN #a,#b", "TOPIC #b :Both")
    bob.ask("JOIN #b")
    wiz.ask()
    start, end = ":irc.localhost 321 wiz Channel :Users  Name", ":irc.localhost 323 wiz :End of LIST"
    one, two = ":irc.localhost 322 wiz #a 1 :", ":irc.localhost 322 wiz #b 2 Both"
    assert wiz.ask("LIST", "LIST #B,#none") == [start, one, two, end, start, two, end]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("MODE #a b", "368 wiz #a :End of channel ban list"),
        ("MODE #a +b", "368 wiz #a :End of channel ban list"),
        ("MODE #a +x", "472 wiz x :is unknown mode char to me"),
        ("MODE #a +o none", "401 wiz none :No such nick"),
        ("MODE #a +o", "461 wiz MODE :Not enough parameters"),
        ("MODE #a +l many", "696 wiz #a l * :A limit is a number above 0"),
        ("MODE #none", "403 wiz #none :No such channel"),
        ("MODE wiz", "221 wiz +"),
        ("MODE wiz +x", "501 wiz :Unknown MODE flag"),
        ("MODE bob", "502 wiz :Cannot change mode for other users"),
        ("MODE none", "401 wiz none :No such nick"),
        ("MODE", "461 wiz MODE :Not enough parameters"),
        ("JOIN", "461 wiz JOIN :Not enough parameters"),
        ("JOIN #", "476 wiz # :Bad channel name"),
        ("JOIN :#a b", "476 wiz * :Bad channel name"),
        ("JOIN &a", "403 wiz &a :No such channel"),
        ("PART", "461 wiz PART :Not enough parameters"),
        ("TOPIC", "461 wiz TOPIC :Not enough parameters"),
    ],
)
def test_answers_about_channels(connect: Connect, line: str, reply: str) -> None:
    """What clients ask on their own has an answer, and what cannot be done is refused by its numeric."""
    wiz, bob = connect("wiz"), connect("bob")
    for client in (wiz, bob):
        client.ask("JOIN #a")
    wiz.ask()
    assert wiz.ask(line) == [f":irc.localhost {reply}"]


def test_limits_of_channels(serve: Serve, connect: Connect) -> None:
    """A name, a topic and a user's channels end where the settings say."""
    wiz = connect("wiz", to=serve(channel_length=4, topic_length=5, channels_per_user=1))
    assert wiz.ask("JOIN #abcd", "JOIN #abé") == [
        ":irc.localhost 476 wiz #abcd :Bad channel name",
        ":irc.localhost 476 wiz #abé :Bad channel name",
    ]
    assert wiz.ask("JOIN #abc,#b")[-1] == ":irc.localhost 405 wiz #b :You have joined too many channels"
    assert wiz.ask("TOPIC #abc abcdé") == [":wiz!wiz@127.0.0.1 TOPIC #abc abcd"]
