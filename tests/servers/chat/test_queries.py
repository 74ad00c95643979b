import pytest

from tests.servers.chat.conftest import Connect


def test_who(connect: Connect) -> None:
    """WHO lists the members of a channel, or the users that a mask matches, and ends even for nobody."""
    wiz = connect("wiz")
    connect("bo[b")
    wiz.ask("JOIN #a")
    mine = "wiz 127.0.0.1 irc.localhost wiz H@ :0 wiz the tester"
    other = "bo[b 127.0.0.1 irc.localhost bo[b H :0 bo[b the tester"
    assert wiz.ask("WHO #A", "WHO #none") == [
        f":irc.localhost 352 wiz #a {mine}".replace(" #a wiz ", " #a wiz "),
        ":irc.localhost 315 wiz #A :End of WHO list",
        ":irc.localhost 315 wiz #none :End of WHO list",
    ]
    assert wiz.ask("WHO BO[?") == [
        f":irc.localhost 352 wiz * {other}".replace("bo[b 127", "bob 127"),
        ":irc.localhost 315 wiz BO[? :End of WHO list",
    ]
    assert len(wiz.ask("WHO *")) == 3


def test_whois(connect: Connect) -> None:
    """WHOIS tells who somebody is, where, since when, and how long silent."""
    wiz = connect("wiz")
    wiz.ask("JOIN #a,#b")
    about = [
        ":irc.localhost 311 bob wiz wiz 127.0.0.1 * :wiz the tester",
        ":irc.localhost 319 bob wiz :@#a @#b",
        ":irc.localhost 312 bob wiz irc.localhost :The Chat network",
        ":irc.localhost 317 bob wiz 0 1000000000 :seconds idle, signon time",
    ]
    bob = connect("bob")
    assert bob.ask("WHOIS WIZ") == [*about, ":irc.localhost 318 bob WIZ :End of WHOIS list"]
    assert bob.ask("WHOIS irc.localhost wiz") == [*about, ":irc.localhost 318 bob wiz :End of WHOIS list"]


@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("WHOIS", ["431 wiz :No nickname given"]),
        ("WHOIS none", ["401 wiz none :No such nick", "318 wiz none :End of WHOIS list"]),
        ("WHO", ["461 wiz WHO :Not enough parameters"]),
        ("USERHOST WIZ none", ["302 wiz wiz=+wiz@127.0.0.1"]),
        ("ISON none WIZ", ["303 wiz wiz"]),
        ("ISON :none wiz", ["303 wiz wiz"]),
        ("ISON none", ["303 wiz :"]),
        ("MOTD", ["422 wiz :MOTD file is missing"]),
        ("BOGUS", ["421 wiz BOGUS :Unknown command"]),
        ("bogus :x", ["421 wiz BOGUS :Unknown command"]),
    ],
)
def test_questions(connect: Connect, line: str, replies: list[str]) -> None:
    """Each question has its answer."""
    assert connect("wiz").ask(line) == [f":irc.localhost {reply}" for reply in replies]


def test_version(connect: Connect) -> None:
    """VERSION tells what the server is, and again what it supports."""
    version, *support = connect("wiz").ask("VERSION")
    assert version == ":irc.localhost 351 wiz chat-0.1 irc.localhost :"
    assert all(line.startswith(":irc.localhost 005 wiz ") for line in support)
    assert all(line.endswith(" :are supported by this server") for line in support)
    assert "CASEMAPPING=ascii" in support[0].split()


def test_lusers(connect: Connect) -> None:
    """LUSERS counts users, connections that are none yet, and channels."""
    connect().ask("NICK early")
    connect("bob")
    wiz = connect("wiz")
    wiz.ask("JOIN #a")
    assert wiz.ask("LUSERS") == [
        ":irc.localhost 251 wiz :There are 2 users and 0 invisible on 1 servers",
        ":irc.localhost 252 wiz 0 :operator(s) online",
        ":irc.localhost 253 wiz 1 :unknown connection(s)",
        ":irc.localhost 254 wiz 1 :channels formed",
        ":irc.localhost 255 wiz :I have 2 clients and 0 servers",
        ":irc.localhost 265 wiz 2 2 :Current local users 2, max 2",
        ":irc.localhost 266 wiz 2 2 :Current global users 2, max 2",
    ]
