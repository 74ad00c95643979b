"""What IRCv3 adds (https://ircv3.net/irc/)."""

import base64
import re
import time

import pytest

from servers.chat.server import ChatServer
from tests.servers.chat.conftest import Connect, Serve
from tests.servers.chat.irc import Irc

TIME = "2001-09-09T01:46:40.000Z"


@pytest.fixture
def pair(connect: Connect) -> tuple[Irc, Irc]:
    """Return two users who are in one channel."""
    wiz, bob = connect("wiz"), connect("bob")
    for client in (wiz, bob):
        client.ask("JOIN #a")
    wiz.ask()
    return wiz, bob


def plain(account: str, password: str) -> str:
    """Return what SASL PLAIN sends (RFC 4616)."""
    return base64.b64encode(f"{account}\0{account}\0{password}".encode()).decode()


def test_each_gets_the_tags_it_asked_for(pair: tuple[Irc, Irc], connect: Connect) -> None:
    """One message has for each receiver the tags that it negotiated, and for others none."""
    wiz, bob = pair
    eve = connect("eve")
    eve.ask("CAP REQ :message-tags server-time", "JOIN #a")
    bob.ask("CAP REQ :server-time")
    wiz.ask("CAP REQ :message-tags echo-message")
    (echo,) = wiz.ask(r"@+typing=a\sb;dropped=1 PRIVMSG #a :hi")[-1:]
    assert re.fullmatch(r"@msgid=\w+;\+typing=a\\sb :wiz!wiz@127\.0\.0\.1 PRIVMSG #a hi", echo)
    assert bob.expect("PRIVMSG") == f"@time={TIME} :wiz!wiz@127.0.0.1 PRIVMSG #a hi"
    assert eve.expect("PRIVMSG") == echo.replace("@", f"@time={TIME};", 1)


def test_a_tagmsg_is_for_those_who_know_tags(pair: tuple[Irc, Irc]) -> None:
    """TAGMSG reaches only clients with message-tags."""
    wiz, bob = pair
    wiz.ask("CAP REQ message-tags")
    wiz.ask("@+typing=active TAGMSG #a")
    assert bob.ask() == []
    bob.ask("CAP REQ message-tags")
    wiz.ask("@+typing=active TAGMSG bob")
    assert bob.ask()[0].endswith(";+typing=active :wiz!wiz@127.0.0.1 TAGMSG bob")


def test_labels(pair: tuple[Irc, Irc]) -> None:
    """One answer carries the label, none is acknowledged, and several come as a batch that has it."""
    wiz, _ = pair
    wiz.ask("CAP REQ :labeled-response batch")
    assert wiz.ask("@label=1 PONG x", "@label=2 TOPIC #a") == [
        "@label=1 :irc.localhost ACK",
        "@label=2 :irc.localhost 331 wiz #a :No topic is set",
    ]
    begin, *lines, end = wiz.ask("@label=3 WHO #a")
    found = re.fullmatch(r"@label=3 :irc\.localhost BATCH \+(\w+) labeled-response", begin)
    assert found
    assert len(lines) == 3
    assert all(line.startswith(f"@batch={found[1]} ") for line in lines)
    assert end == f":irc.localhost BATCH -{found[1]}"
    assert wiz.ask("@label=4 BOGUS") == ["@label=4 :irc.localhost 421 wiz BOGUS :Unknown command"]


def test_an_echo_alone_is_labelled(pair: tuple[Irc, Irc]) -> None:
    """Who writes to itself gets the message twice, and the label on one of them."""
    wiz, _ = pair
    wiz.ask("CAP REQ :labeled-response batch echo-message")
    assert sorted(wiz.ask("@label=1 PRIVMSG wiz :hi")) == [
        ":wiz!wiz@127.0.0.1 PRIVMSG wiz hi",
        "@label=1 :wiz!wiz@127.0.0.1 PRIVMSG wiz hi",
    ]


def test_what_others_are_told_of_changes(pair: tuple[Irc, Irc], connect: Connect) -> None:
    """Those who asked for it hear of others' absence, names, invitations and who joins."""
    wiz, bob = pair
    wiz.ask("CAP REQ :away-notify setname extended-join invite-notify multi-prefix userhost-in-names")
    eve = connect("eve")
    bob.ask("AWAY :tea", "CAP REQ setname", "SETNAME :Robert", "AWAY")
    eve.ask("AWAY :out", "JOIN #a")
    assert wiz.ask() == [
        ":bob!bob@127.0.0.1 AWAY tea",
        ":bob!bob@127.0.0.1 SETNAME Robert",
        ":bob!bob@127.0.0.1 AWAY",
        ":eve!eve@127.0.0.1 JOIN #a * :eve the tester",
        ":eve!eve@127.0.0.1 AWAY out",
    ]
    connect("dave")
    wiz.ask("MODE #a +ov bob bob")
    bob.ask("INVITE dave #a")
    assert wiz.ask("NAMES #a")[:2] == [
        ":bob!bob@127.0.0.1 INVITE dave #a",
        ":irc.localhost 353 wiz = #a :@wiz!wiz@127.0.0.1 @+bob!bob@127.0.0.1 eve!eve@127.0.0.1",
    ]


def test_monitor(serve: Serve, connect: Connect) -> None:
    """Who watches a nick is told at once whether it is there, and then of each coming and going."""
    server = serve(monitor_limit=2)
    wiz = connect("wiz", to=server)
    connect("Bob", to=server)
    assert wiz.ask("MONITOR + BOB,eve") == [
        ":irc.localhost 730 wiz Bob!Bob@127.0.0.1",
        ":irc.localhost 731 wiz eve",
    ]
    assert wiz.ask("MONITOR + one") == [":irc.localhost 734 wiz 2 one :Monitor list is full"]
    eve = connect("Eve", to=server)
    assert wiz.line() == ":irc.localhost 730 wiz Eve!Eve@127.0.0.1"
    eve.ask("NICK eva")
    assert wiz.line() == ":irc.localhost 731 wiz Eve"
    eve.ask("NICK eve")
    assert wiz.line() == ":irc.localhost 730 wiz eve!Eve@127.0.0.1"
    eve.send("QUIT")
    assert wiz.line() == ":irc.localhost 731 wiz eve"
    assert wiz.ask("MONITOR L") == [
        ":irc.localhost 732 wiz BOB,eve",
        ":irc.localhost 733 wiz :End of MONITOR list",
    ]
    assert wiz.ask("MONITOR - bob", "MONITOR S", "MONITOR C", "MONITOR L") == [
        ":irc.localhost 731 wiz eve",
        ":irc.localhost 733 wiz :End of MONITOR list",
    ]


def test_accounts(connect: Connect) -> None:
    """Who has registered an account logs in to it before registration or after, and others are told whose it is."""
    wiz, bob = connect("wiz"), connect("bob")
    bob.ask("CAP REQ :account-notify account-tag extended-join", "JOIN #a")
    wiz.ask("JOIN #a")
    bob.ask()
    assert wiz.ask("REGISTER * * sesame") == [
        ":irc.localhost REGISTER SUCCESS wiz :The account is yours",
        ":irc.localhost 900 wiz wiz!wiz@127.0.0.1 wiz :You are now logged in as wiz",
    ]
    assert bob.ask() == ["@account=wiz :wiz!wiz@127.0.0.1 ACCOUNT wiz"]
    wiz.ask("PRIVMSG #a :mine")
    assert bob.ask("WHOIS wiz")[:1] == ["@account=wiz :wiz!wiz@127.0.0.1 PRIVMSG #a mine"]
    other = connect()
    assert other.ask("CAP REQ sasl", "AUTHENTICATE PLAIN", f"AUTHENTICATE {plain('WIZ', 'wrong')}") == [
        ":irc.localhost CAP * ACK sasl",
        ":irc.localhost AUTHENTICATE +",
        ":irc.localhost 904 * :SASL authentication failed",
    ]
    assert other.ask("AUTHENTICATE PLAIN", f"AUTHENTICATE {plain('WIZ', 'sesame')}")[1:] == [
        ":irc.localhost 900 * *!*@127.0.0.1 wiz :You are now logged in as wiz",
        ":irc.localhost 903 * :SASL authentication successful",
    ]
    assert other.ask("AUTHENTICATE PLAIN") == [
        ":irc.localhost 907 * :You have already authenticated using SASL"
    ]
    assert bob.ask("REGISTER wiz * other")[-1].startswith(":irc.localhost FAIL REGISTER ACCOUNT_EXISTS wiz :")


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        (["AUTHENTICATE EXTERNAL"], "904 * :SASL authentication failed"),
        (["AUTHENTICATE PLAIN", "AUTHENTICATE *"], "906 * :SASL authentication aborted"),
        (["AUTHENTICATE PLAIN", "AUTHENTICATE !"], "904 * :SASL authentication failed"),
        (["AUTHENTICATE PLAIN", "AUTHENTICATE +"], "904 * :SASL authentication failed"),
        (["AUTHENTICATE PLAIN", "AUTHENTICATE " + "x" * 401], "905 * :SASL message too long"),
        (["AUTHENTICATE PLAIN", *["AUTHENTICATE " + "x" * 400] * 5], "904 * :SASL authentication failed"),
        (["AUTHENTICATE PLAIN", f"AUTHENTICATE {plain('no', 'no')}"], "904 * :SASL authentication failed"),
        (["REGISTER * * x"], "FAIL REGISTER COMPLETE_CONNECTION_REQUIRED * :Finish connecting first"),
    ],
)
def test_what_is_no_login(connect: Connect, lines: list[str], last: str) -> None:
    """Whatever else comes instead of a login is refused, and the next attempt begins anew."""
    client = connect()
    assert client.ask(*lines)[-1] == f":irc.localhost {last}"
    assert client.ask("AUTHENTICATE PLAIN") == [":irc.localhost AUTHENTICATE +"]


def test_passwords_can_only_be_guessed_so_often(server: ChatServer, connect: Connect) -> None:
    """After ten wrong passwords an address has to wait, but not after however many right ones."""
    connect("wiz").ask("REGISTER * * sesame")
    for _ in range(8):
        assert server.chat.admission.may_try("127.0.0.1", time.monotonic())
    for _ in range(3):
        right = connect().ask("AUTHENTICATE PLAIN", f"AUTHENTICATE {plain('wiz', 'sesame')}")
        assert right[-1] == ":irc.localhost 903 * :SASL authentication successful"
    client = connect()
    for _ in range(2):
        (refused,) = client.ask("AUTHENTICATE PLAIN", f"AUTHENTICATE {plain('wiz', 'guess')}")[1:]
        assert refused == ":irc.localhost 904 * :SASL authentication failed"
    (refused,) = client.ask("AUTHENTICATE PLAIN", f"AUTHENTICATE {plain('wiz', 'sesame')}")[1:]
    assert refused == ":irc.localhost 904 * :Too many attempts, try again later"


def test_accounts_can_only_be_made_so_often(server: ChatServer, connect: Connect) -> None:
    """Who makes accounts on and on has to wait."""
    for _ in range(30):
        assert server.chat.admission.may_register("127.0.0.1", time.monotonic())
    refused = connect("wiz").ask("REGISTER * * x")[0]
    assert refused.startswith(":irc.localhost FAIL REGISTER TEMPORARILY_UNAVAILABLE ")


def test_the_nick_of_an_account(connect: Connect) -> None:
    """Nobody has the nick of an account who is not logged in to it, neither on coming nor later."""
    wiz = connect("wiz")
    wiz.ask("REGISTER * * sesame", "NICK gandalf")
    thief = connect()
    thief.send("NICK WIZ", "USER t 0 * :t")
    assert thief.line() == ":irc.localhost 433 * WIZ :Nickname is reserved for its account: log in first"
    thief.send("NICK bob")
    thief.until(" 422 ")
    assert thief.ask("NICK wiz") == [
        ":irc.localhost 433 bob wiz :Nickname is reserved for its account: log in first"
    ]
    assert wiz.ask("NICK wiz") == [":gandalf!wiz@127.0.0.1 NICK wiz"]
    wiz.close()
    owner = connect()
    owner.ask("CAP REQ sasl", "AUTHENTICATE PLAIN", f"AUTHENTICATE {plain('wiz', 'sesame')}")
    while "433" in "".join(owner.ask("NICK wiz")):
        pass  # the server counts the first out a moment after it has gone
    owner.send("USER w 0 * :w", "CAP END")
    assert " 001 wiz " in owner.line()


def test_nicks_need_not_be_reserved(serve: Serve, connect: Connect) -> None:
    """A network may leave nicks to whoever comes first."""
    server = serve(reserve_nicks=False)
    connect("wiz", to=server).ask("REGISTER * * sesame", "NICK gandalf")
    assert connect("wiz", to=server).ask("NICK bob") == [":wiz!wiz@127.0.0.1 NICK bob"]


def test_history(pair: tuple[Irc, Irc]) -> None:
    """A member reads what was said earlier, as a batch, with the time and name that each message had."""
    wiz, bob = pair
    wiz.ask("CAP REQ :draft/chathistory batch message-tags server-time echo-message")
    said = [wiz.ask(f"PRIVMSG #a :{number}")[0] for number in range(5)]
    begin, *lines, end = wiz.ask("CHATHISTORY LATEST #a * 3")
    batch = begin.split("+")[1].split()[0]
    assert begin.endswith(f" BATCH +{batch} chathistory #a")
    assert end.endswith(f" BATCH -{batch}")
    assert [line.replace(f";batch={batch}", "") for line in lines] == said[2:]
    third = re.search(r"msgid=(\w+)", said[2])
    assert third
    for subcommand, wanted in [("BEFORE", "01"), ("AFTER", "34"), ("AROUND", "123")]:
        limit = 3
        found = wiz.ask(f"CHATHISTORY {subcommand} #a msgid={third[1]} {limit}")[1:-1]
        assert "".join(line[-1] for line in found) == wanted
    assert (
        bob.ask(
            "CHATHISTORY TARGETS timestamp=2000-01-01T00:00:00.000Z timestamp=2100-01-01T00:00:00.000Z 9"
        )[-1]
        == f":irc.localhost CHATHISTORY TARGETS #a {TIME}"
    )


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("CHATHISTORY", "461 eve CHATHISTORY :Not enough parameters"),
        ("CHATHISTORY WHAT #a * 1", "FAIL CHATHISTORY INVALID_PARAMS WHAT :Unknown subcommand"),
        ("CHATHISTORY LATEST #a", "FAIL CHATHISTORY NEED_MORE_PARAMS LATEST :Missing parameters"),
        ("CHATHISTORY LATEST #a * x", "FAIL CHATHISTORY INVALID_PARAMS LATEST x :The limit is a number"),
        (
            "CHATHISTORY LATEST #a * 1",
            "FAIL CHATHISTORY INVALID_TARGET LATEST #a :Messages could not be retrieved",
        ),
        (
            "CHATHISTORY BEFORE bob yesterday 1",
            "FAIL CHATHISTORY INVALID_PARAMS BEFORE yesterday :Write timestamp=… or msgid=…",
        ),
    ],
)
def test_history_is_for_members(pair: tuple[Irc, Irc], connect: Connect, line: str, failure: str) -> None:
    """Others get nothing, and what is no request is told what is wrong with it."""
    assert connect("eve").ask(line) == [f":irc.localhost {failure}"]


def test_a_nick_inherits_no_conversation(connect: Connect) -> None:
    """What was said to a user in private is not for whoever has the nick later."""
    wiz, bob = connect("wiz"), connect("bob")
    wiz.ask("PRIVMSG bob :secret")
    assert len(bob.ask("CHATHISTORY LATEST wiz * 9")) == 2
    bob.send("QUIT")
    bob.rest()
    heir = connect("bob")
    assert heir.ask("CHATHISTORY LATEST wiz * 9") == []
