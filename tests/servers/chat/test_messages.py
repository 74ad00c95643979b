import pytest

from tests.servers.chat.conftest import Connect, Serve


def test_talking_in_a_channel(connect: Connect) -> None:
    """What is said in a channel reaches each member once and in order, but not who said it."""
    wiz, bob, eve = connect("wiz"), connect("bob"), connect("eve")
    for client in (wiz, bob):
        client.ask("JOIN #a")
    wiz.ask()
    assert wiz.ask("PRIVMSG #A :one", "NOTICE #a :two, three", "PRIVMSG #a ::-)") == []
    assert bob.ask() == [
        ":wiz!wiz@127.0.0.1 PRIVMSG #a one",
        ":wiz!wiz@127.0.0.1 NOTICE #a :two, three",
        ":wiz!wiz@127.0.0.1 PRIVMSG #a ::-)",
    ]
    assert eve.ask() == []


def test_talking_to_users(connect: Connect) -> None:
    """What is said to users reaches each of them once, the speaker as well, under the name as they write it."""
    wiz, bob = connect("wiz"), connect("Bob")
    assert wiz.ask("PRIVMSG bob,wiz,bob :hi") == [":wiz!wiz@127.0.0.1 PRIVMSG wiz hi"]
    assert bob.ask() == [":wiz!wiz@127.0.0.1 PRIVMSG Bob hi"]


def test_there_need_be_no_need_to_be_in_a_channel(connect: Connect) -> None:
    """Whoever is not in a channel may speak to it once its operator allows that."""
    wiz, eve = connect("wiz"), connect("eve")
    wiz.ask("JOIN #a")
    assert eve.ask("PRIVMSG #a :knock") == [":irc.localhost 404 eve #a :Cannot send to channel"]
    wiz.ask("MODE #a -n")
    assert eve.ask("PRIVMSG #a :knock") == []
    assert wiz.ask() == [":eve!eve@127.0.0.1 PRIVMSG #a knock"]


@pytest.mark.parametrize(
    ("params", "reply"),
    [
        ("", "411 wiz :No recipient given (PRIVMSG)"),
        (" :", "411 wiz :No recipient given (PRIVMSG)"),
        (" bob", "412 wiz :No text to send"),
        (" bob :", "412 wiz :No text to send"),
        (" none :x", "401 wiz none :No such nick"),
        (" early :x", "401 wiz early :No such nick"),
        (" #none :x", "403 wiz #none :No such channel"),
        (" a,b,c,d,e :x", "407 wiz e :Too many recipients"),
    ],
)
def test_what_cannot_be_said(connect: Connect, params: str, reply: str) -> None:
    """A PRIVMSG that goes nowhere is refused by its numeric, and a NOTICE silently."""
    connect().ask("NICK early")
    wiz = connect("wiz")
    assert wiz.ask(f"PRIVMSG{params}") == [f":irc.localhost {reply}"]
    assert wiz.ask(f"NOTICE{params}") == []
    assert connect().ask(f"NOTICE{params}") == []


def test_one_bad_target_spoils_no_other(connect: Connect) -> None:
    """Of several targets those that are there get the message."""
    wiz, bob = connect("wiz"), connect("bob")
    assert wiz.ask("PRIVMSG none,bob :x") == [":irc.localhost 401 wiz none :No such nick"]
    assert bob.ask() == [":wiz!wiz@127.0.0.1 PRIVMSG bob x"]


def test_the_number_of_targets_is_a_setting(serve: Serve, connect: Connect) -> None:
    """One target more than the setting is too many."""
    wiz = connect("wiz", to=serve(max_targets=1))
    assert wiz.ask("PRIVMSG wiz,bob :x") == [":irc.localhost 407 wiz bob :Too many recipients"]


def test_text_is_utf8(connect: Connect) -> None:
    """Text that is no UTF-8 is refused, and reaches nobody."""
    wiz = connect("wiz")
    wiz.socket.sendall(b"PRIVMSG wiz :Gr\xfc\xdfe \xe2\x82\r\n")
    assert wiz.ask() == [":irc.localhost FAIL * INVALID_UTF8 :Messages are UTF-8 here"]


def test_long_messages_are_cut_between_characters(connect: Connect) -> None:
    """A message that is too long with its source ends with a whole character, and within 512 octets."""
    wiz = connect("wiz")
    wiz.send("PRIVMSG wiz :x" + "é" * 240)
    line = wiz.line().encode("utf-8", "surrogateescape")
    assert 508 <= len(line) <= 510
    assert line.endswith("é".encode())


def test_a_line_that_is_too_long(connect: Connect) -> None:
    """A line above 512 octets is refused, and the next one obeyed."""
    wiz = connect("wiz")
    fits = "PRIVMSG wiz :" + "x" * 497
    assert wiz.ask(fits) == [":wiz!wiz@127.0.0.1 PRIVMSG wiz " + "x" * 479]
    too_long = ":irc.localhost 417 wiz :Input line was too long"
    assert wiz.ask(fits + "x", "y" * 10_000) == [too_long, too_long]


def test_a_line_without_an_end(connect: Connect) -> None:
    """Whoever sends a line that is many times too long is cut off: all of it would have to be read."""
    wiz = connect("wiz")
    wiz.socket.sendall(b"y" * 16385)
    assert wiz.rest() == ["ERROR :Closing link: 127.0.0.1 (RecvQ exceeded)"]


@pytest.mark.parametrize("line", ["PRIVMSG wiz :a\0b", ":wiz", "\0"])
def test_a_line_that_is_no_message(connect: Connect, line: str) -> None:
    """A line that no client may send is refused by 400, and the next one obeyed."""
    (reply,) = connect("wiz").ask(line)
    assert reply.startswith(":irc.localhost 400 wiz * :a message ")


def test_empty_lines_mean_nothing(connect: Connect) -> None:
    """Empty lines are ignored (RFC 2812 section 2.3.1)."""
    assert connect("wiz").ask("", "", "") == []
