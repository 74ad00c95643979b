import pytest

from tests.servers.chat.conftest import Connect, Serve


def test_a_client_is_welcomed(connect: Connect) -> None:
    """NICK and USER in either order are all it takes, and the welcome has the numerics that clients wait for."""
    client = connect()
    client.send("USER wiz 0 * :The Wizard", "NICK Wiz")
    lines = client.until(" 422 ")
    assert [line.split(" ")[1] for line in lines] == [
        *("001", "002", "003", "004", "005", "005", "005"),
        *("251", "252", "253", "254", "255", "265", "266"),
        "422",
    ]
    assert lines[0] == ":irc.localhost 001 Wiz :Welcome to the Chat network, Wiz!wiz@127.0.0.1"
    assert lines[3].startswith(":irc.localhost 004 Wiz irc.localhost chat-")


def test_a_client_is_told_what_is_true(serve: Serve, connect: Connect) -> None:
    """005 tells the limits that the server was set to."""
    client = connect(
        to=serve(
            nick_length=9,
            channel_length=50,
            topic_length=80,
            channels_per_user=3,
            max_targets=2,
            username_length=10,
            network="Test",
        )
    )
    client.send("NICK a", "USER a 0 * a")
    words = set(" ".join(client.until(" 251 ")).split(" "))
    assert words >= {"CASEMAPPING=ascii", "CHANTYPES=#", "CHANLIMIT=#:3", "CHANMODES=beI,k,l,Cimnrst"}
    assert words >= {"PREFIX=(ov)@+", "STATUSMSG=@+", "UTF8ONLY", "WHOX", "EXCEPTS=e", "INVEX=I"}
    assert words >= {
        "NICKLEN=9",
        "CHANNELLEN=50",
        "TOPICLEN=80",
        "USERLEN=10",
        "NETWORK=Test",
        "MAXTARGETS=2",
    }
    targets = "TARGMAX=JOIN:,LIST:,KICK:2,NOTICE:2,PRIVMSG:2,TAGMSG:2,MONITOR:,NAMES:1,PART:,WHOIS:1"
    assert targets in words


def test_capabilities_hold_registration(connect: Connect) -> None:
    """A client that asks for capabilities is not registered before it has ended that."""
    client = connect()
    client.send("CAP LS 302", "NICK wiz", "USER wiz 0 * :x", "CAP REQ :setname tls", "CAP REQ :setname")
    client.send("CAP LIST", "MOTD")
    assert " sasl=PLAIN " in client.expect(" CAP * LS ")
    assert client.line() == ":irc.localhost CAP wiz NAK :setname tls"
    assert client.line() == ":irc.localhost CAP wiz ACK setname"
    assert client.line() == ":irc.localhost CAP wiz LIST setname"
    assert " 451 wiz " in client.line()
    client.send("CAP END")
    assert " 001 wiz " in client.line()


def test_capabilities_can_be_asked_for_later(connect: Connect) -> None:
    """CAP after registration is answered, and capabilities go as they came; what is no subcommand is 410."""
    client = connect("wiz")
    assert client.ask("CAP REQ :batch setname", "CAP REQ -batch", "CAP LIST", "CAP END", "CAP WHAT") == [
        ":irc.localhost CAP wiz ACK :batch setname",
        ":irc.localhost CAP wiz ACK -batch",
        ":irc.localhost CAP wiz LIST setname",
        ":irc.localhost 410 wiz WHAT :Invalid CAP command",
    ]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("JOIN #a", "451 * :You have not registered"),
        ("PRIVMSG a b", "451 * :You have not registered"),
        ("NICK", "431 * :No nickname given"),
        ("NICK :", "431 * :No nickname given"),
        ("NICK 1st", "432 * 1st :Erroneous nickname"),
        ("NICK :a b", "432 * * :Erroneous nickname"),
        ("NICK " + "n" * 33, "432 * " + "n" * 33 + " :Erroneous nickname"),
        ("USER a 0 *", "461 * USER :Not enough parameters"),
        ("USER @ 0 * x", "468 * :Your username is not valid"),
        ("USER a 0 * :", "461 * USER :Not enough parameters"),
        ("PASS", "461 * PASS :Not enough parameters"),
        ("WHAT is this", "421 * WHAT :Unknown command"),
    ],
)
def test_refusals_before_registration(connect: Connect, line: str, reply: str) -> None:
    """What cannot be done yet, or not like that, is refused by its numeric."""
    assert connect().ask(line) == [f":irc.localhost {reply}"]


def test_registering_twice(connect: Connect) -> None:
    """USER and PASS are refused once registered; a password before is taken and ignored."""
    client = connect()
    client.send("PASS secret", "NICK wiz", "USER wiz 0 * :x")
    client.until(" 422 ")
    refused = ":irc.localhost 462 wiz :You may not register again"
    assert client.ask("USER wiz 0 * :x", "PASS secret") == [refused, refused]


def test_usernames_cannot_lie(connect: Connect) -> None:
    """A username loses what would make it look like another user's address, and all beyond its limit."""
    client = connect()
    client.send("NICK wiz", "USER root@localhost!abcdefghijkl 0 * :x")
    assert client.expect(" 001 ").endswith("wiz!rootlocalhostabc@127.0.0.1")


def test_nick_collision(connect: Connect) -> None:
    """A nick in use is refused in any case, before and after registration."""
    connect("Wiz")
    late = connect()
    assert late.ask("NICK wIZ") == [":irc.localhost 433 * wIZ :Nickname is already in use"]
    late.send("NICK bob", "USER bob 0 * :x")
    late.until(" 422 ")
    assert late.ask("NICK WIZ") == [":irc.localhost 433 bob WIZ :Nickname is already in use"]


def test_nick_change(connect: Connect) -> None:
    """A new nick is told once to the user and to each neighbour, from the old name; the same one to nobody."""
    wiz, bob, eve = connect("wiz"), connect("bob"), connect("eve")
    for client in (wiz, bob):
        client.ask("JOIN #a,#b")
    wiz.ask()
    change = ":wiz!wiz@127.0.0.1 NICK Kilroy"
    assert wiz.ask("NICK Kilroy", "NICK Kilroy") == [change]
    assert bob.ask() == [change]
    assert eve.ask("WHOIS wiz")[0] == ":irc.localhost 401 eve wiz :No such nick"


def test_a_nick_is_free_after_its_user(connect: Connect) -> None:
    """Whoever disconnects before or after registration leaves the nick to others."""
    for early in (connect("wiz"), connect("x")):
        early.ask("NICK wiz")
        early.send("QUIT")
        early.rest()
    assert connect("wiz").ask("ISON wiz") == [":irc.localhost 303 wiz wiz"]


def test_ping(connect: Connect) -> None:
    """PING is answered at any time with what it brought; with nothing it is refused."""
    client = connect()
    assert client.ask("PING :a b", "PONG", "PING", "PING :") == [
        ":irc.localhost PONG irc.localhost :a b",
        ":irc.localhost 461 * PING :Not enough parameters",
        ":irc.localhost 409 * :No origin specified",
    ]


@pytest.mark.parametrize(("line", "reason"), [("QUIT :Bye for now", "Quit: Bye for now"), ("QUIT", "Quit: ")])
def test_quit(connect: Connect, line: str, reason: str) -> None:
    """Who quits gets an ERROR and the end of the connection; each neighbour hears it once, with the reason."""
    wiz, bob, eve = connect("wiz"), connect("bob"), connect("eve")
    for client in (wiz, bob):
        client.ask("JOIN #a,#b")
    wiz.ask()
    wiz.send(line, "PRIVMSG eve :too late")
    assert wiz.rest() == [f"ERROR :Closing link: 127.0.0.1 ({reason})"]
    assert bob.expect("QUIT") == f":wiz!wiz@127.0.0.1 QUIT :{reason}"
    assert bob.ask() == []
    assert eve.ask() == []


def test_hanging_up(connect: Connect) -> None:
    """Neighbours hear of a connection that simply ends."""
    wiz, bob = connect("wiz"), connect("bob")
    for client in (bob, wiz):
        client.ask("JOIN #a")
    wiz.close()
    assert bob.expect("QUIT") == ":wiz!wiz@127.0.0.1 QUIT :Connection closed"


def test_any_line_end_and_any_pieces(connect: Connect) -> None:
    """A human with a bare LF, and a client whose octets come one by one, are both understood."""
    client = connect()
    for octet in b"NICK wiz\nUSER wiz 0 * :x\n":
        client.socket.sendall(bytes([octet]))
    assert " 001 wiz " in client.line()


def test_the_message_of_the_day(
    serve: Serve, connect: Connect, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The file of the setting is sent line by line, at the welcome and on demand."""
    file = tmp_path_factory.mktemp("motd") / "motd.txt"
    file.write_text("Be kind.\nBe brief.\n")
    client = connect(to=serve(motd=str(file)))
    client.send("NICK wiz", "USER wiz 0 * :x")
    motd = [
        ":irc.localhost 375 wiz :- irc.localhost Message of the day -",
        ":irc.localhost 372 wiz :- Be kind.",
        ":irc.localhost 372 wiz :- Be brief.",
        ":irc.localhost 376 wiz :End of MOTD command",
    ]
    assert client.until(" 376 ")[-4:] == motd
    assert client.ask("MOTD") == motd
