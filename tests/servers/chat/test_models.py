"""The same conversations, whichever mix-in runs them, over plain TCP and over TLS."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from framework import InetAddress, TCPServer, ThreadingMixIn, at
from framework.greenlets import GreenletMixIn
from framework.testing import running
from servers.chat.chat import Chat
from servers.chat.server import ChatMixIn, ChatServer, TLSChatServer
from servers.chat.settings import Settings
from tests.servers.chat.conftest import NOW
from tests.servers.chat.irc import Irc


class Threads(ChatMixIn, ThreadingMixIn[socket.socket, InetAddress], TCPServer[socket.socket, InetAddress]):
    """A thread for each conversation."""


class Greenlets(ChatMixIn, GreenletMixIn[socket.socket, InetAddress], TCPServer[socket.socket, InetAddress]):
    """A greenlet for each conversation."""


SETTINGS = Settings(port=0, tls_port=0, show_addresses=True)


@pytest.fixture(params=[Threads, Greenlets])
def kind(request: pytest.FixtureRequest) -> type[ChatMixIn]:
    """Return each of the models."""
    found: type[ChatMixIn] = request.param
    return found


@contextmanager
def serving(kind: type[ChatMixIn], **changes: object) -> Iterator[ChatMixIn]:
    """Serve by a model."""
    with running(kind(replace(SETTINGS, **changes), lambda: NOW)) as server:  # type: ignore[arg-type] # any of them
        yield server


def test_a_conversation(kind: type[ChatMixIn]) -> None:
    """Users talk, log in, read what was said, and leave, as they do by default."""
    with (
        serving(kind) as server,
        Irc(server.server_address, "anna") as anna,
        Irc(server.server_address, "bob") as bob,
    ):
        for client in (anna, bob):
            client.ask("JOIN #a")
        assert anna.ask("REGISTER * * sesame")[-2:-1] == [
            ":irc.localhost REGISTER SUCCESS anna :The account is yours"
        ]
        anna.ask("PRIVMSG #a :hi")
        assert bob.ask() == [":anna!anna@127.0.0.1 PRIVMSG #a hi"]
        assert bob.ask("CHATHISTORY LATEST #a * 5") == [":anna!anna@127.0.0.1 PRIVMSG #a hi"]
        anna.send("QUIT :bye")
        assert anna.rest() == ["ERROR :Closing link: 127.0.0.1 (Quit: bye)"]
        assert bob.line() == ":anna!anna@127.0.0.1 QUIT :Quit: bye"


def test_a_flood_waits(kind: type[ChatMixIn]) -> None:
    """Lines above what a client may send at once are obeyed, but later; others notice nothing."""
    with (
        serving(kind, flood_rate=50, flood_burst=5) as server,
        Irc(server.server_address, "anna") as anna,
        Irc(server.server_address, "bob") as bob,
    ):
        bob.ask("JOIN #a")
        anna.ask("JOIN #a")
        anna.send(*(f"PRIVMSG #a :{number}" for number in range(20)))
        assert ":bob!bob@127.0.0.1 PRIVMSG bob mine" in bob.ask("PRIVMSG bob :mine")
        bob.expect("PRIVMSG #a 19")


def test_shutting_down(kind: type[ChatMixIn]) -> None:
    """Every client is told that the server ends."""
    with ExitStack() as stack:
        with serving(kind) as server:
            clients = [stack.enter_context(Irc(server.server_address, f"n{number}")) for number in range(5)]
        for client in clients:
            assert client.rest() == ["ERROR :Closing link: 127.0.0.1 (Server shutting down)"]


def test_one_chat_with_two_doors(folder: Path) -> None:
    """Who comes over TLS and who comes without meet in one channel; only the former is said to be secure."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "pem"))
    chat = Chat(replace(SETTINGS, certificate=str(folder / "pem")))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        running(ChatServer(chat.settings, chat=chat)) as plain,
        running(TLSChatServer(chat.settings, at(chat.settings.tls_url), chat)) as secure,
        Irc(plain.server_address, "anna") as anna,
        Irc(secure.server_address, "bob", context=context) as bob,
    ):
        for client in (anna, bob):
            client.ask("JOIN #a")
        anna.ask()
        for number in range(50):
            anna.send(f"PRIVMSG #a :from anna {number}")
            bob.send(f"PRIVMSG #a :from bob {number}")
        anna.expect("from bob 49")
        bob.expect("from anna 49")
        secured = ":irc.localhost 671 anna bob :is using a secure connection"
        assert secured in anna.ask("WHOIS bob")
        assert not any(" 671 " in line for line in anna.ask("WHOIS anna"))
        bob.send("QUIT")
        assert bob.rest()[-1].startswith("ERROR ")
        assert anna.expect("QUIT").startswith(":bob!bob@127.0.0.1 QUIT ")
