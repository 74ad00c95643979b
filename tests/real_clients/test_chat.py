"""People with the clients they already have meet on the chat server."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from framework import at
from framework.testing import running
from servers.chat.chat import Chat
from servers.chat.server import ChatServer, TLSChatServer
from servers.chat.settings import Settings
from tests.real_clients.irssi import Irssi, Terminals
from tests.real_clients.weechat import WeeChat


@pytest.fixture
def chat(tmp_path: Path) -> Chat:
    """Return a chat, and put the authority of its certificate beside it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    certificate = tmp_path / "server.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(certificate)
    )
    return Chat(Settings(port=0, tls_port=0, show_addresses=True, certificate=str(certificate)))


@pytest.fixture
def server(chat: Chat) -> Iterator[ChatServer]:
    """Serve chat."""
    with running(ChatServer(chat.settings, chat=chat)) as server:
        yield server


@pytest.fixture
def secure_server(chat: Chat) -> Iterator[TLSChatServer]:
    """Serve the same chat over TLS."""
    with running(TLSChatServer(chat.settings, at(chat.settings.tls_url), chat)) as server:
        yield server


@pytest.fixture
def irssi(server: ChatServer, tmp_path: Path) -> Iterator[Callable[[str], Irssi]]:
    """Start irssi, in a terminal each."""
    for program in ("irssi", "tmux"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    terminals = Terminals(tmp_path)
    yield lambda nick: Irssi(terminals, tmp_path, server.server_address, nick)
    terminals.close()


@pytest.fixture
def weechat(server: ChatServer, tmp_path: Path) -> Iterator[Callable[[str], WeeChat]]:
    """Start WeeChat, in #lobby each."""
    if shutil.which("weechat-headless") is None:
        pytest.skip("weechat-headless is not installed")
    with ExitStack() as stack:

        def start(nick: str) -> WeeChat:
            client = WeeChat(tmp_path, server.server_address, nick, "#lobby")
            stack.callback(client.close)
            return client

        yield start


def test_two_people_with_irssi(irssi: Callable[[str], Irssi]) -> None:
    """Two people with irssi meet, talk both ways, change topic and nick, and leave, and see each other do so."""
    anna, bob = irssi("anna"), irssi("bob")
    for client in (anna, bob):
        client.sees(f"Welcome to the Chat network, {client.nick}!{client.nick}@127.0.0.1")
    anna.type("/join #lobby")
    anna.sees("anna [anna@127.0.0.1] has joined #lobby")
    # irssi asks for modes, members and bans on its own, and is content once all are answered.
    anna.sees("Join to #lobby was synced in")
    bob.type("/join #lobby")
    bob.sees("Join to #lobby was synced in")
    bob.sees("#lobby: Total of 2 nicks [1 ops, 0 halfops, 0 voices, 1 normal]")
    anna.sees("bob [bob@127.0.0.1] has joined #lobby")
    anna.type("Hello Bob, grüß dich")
    bob.sees("anna> Hello Bob, grüß dich")
    bob.type("Hello Anna")
    anna.sees("bob> Hello Anna")
    anna.type("/topic The weather")
    bob.sees("anna changed the topic of #lobby to: The weather")
    bob.type("/topic Mine")
    bob.sees("You're not channel operator")
    anna.type("/kick bob No more")
    bob.sees("bob was kicked from #lobby by anna [No more]")
    bob.type("/join #lobby")
    anna.type("/op bob")
    bob.sees("mode/#lobby [+o bob] by anna")
    bob.type("/nick robert")
    anna.sees("bob is now known as robert")
    bob.sees("You're now known as robert")
    anna.type("/msg robert psst")
    bob.sees("Act: ")
    anna.type("/whois robert")
    bob.type("/part #lobby It rains")
    anna.sees("robert [bob@127.0.0.1] has left #lobby [It rains]")
    bob.type("/join #lobby")
    anna.sees("robert [bob@127.0.0.1] has joined #lobby")
    bob.type("/quit Good night")
    anna.sees("robert [bob@127.0.0.1] has quit [Quit: Good night]")


def test_irssi_and_weechat(irssi: Callable[[str], Irssi], weechat: Callable[[str], WeeChat]) -> None:
    """Somebody with WeeChat and somebody with irssi do the same."""
    anna = irssi("anna")
    anna.sees("Welcome to the Chat network, anna!anna@127.0.0.1")
    anna.type("/join #lobby")
    anna.type("/topic The weather")
    anna.sees("anna changed the topic of #lobby to: The weather")
    wanda = weechat("wanda")
    wanda.sees("Welcome to the Chat network, wanda!")
    wanda.sees('Topic for #lobby is "The weather"')
    wanda.sees("Channel #lobby: 2 nicks")
    anna.sees("@127.0.0.1] has joined #lobby")
    anna.type("Hello Wanda")
    wanda.sees("anna\tHello Wanda")
    wanda.type("Hello Anna, grüß dich")
    anna.sees("wanda> Hello Anna, grüß dich")
    wanda.type("/topic The sea")
    wanda.sees("not channel operator")
    anna.type("/op wanda")
    wanda.sees("Mode #lobby [+o wanda] by anna")
    wanda.type("/topic The sea")
    anna.sees("wanda changed the topic of #lobby to: The sea")
    wanda.type("/nick wendy")
    anna.sees("wanda is now known as wendy")
    wanda.sees("You are now known as wendy")
    anna.type("/nick anke")
    wanda.sees("anna is now known as anke")
    wanda.type("/whois anke")
    wanda.sees("[anke] @#lobby")
    anna.type("/part #lobby")
    wanda.sees("anke (anna@127.0.0.1) has left #lobby")
    anna.type("/join #lobby")
    wanda.sees("(anna@127.0.0.1) has joined #lobby")
    wanda.type("/quit Good night")
    anna.sees("has quit [Quit: Good night]")
    assert wanda.wait() == 0


def test_over_tls(secure_server: TLSChatServer, irssi: Callable[[str], Irssi], tmp_path: Path) -> None:
    """Somebody who came over TLS, with the certificate checked, meets somebody who did not; each reconnects and goes on."""
    anna = irssi("anna")
    anna.sees("Welcome to the Chat network, anna!anna@127.0.0.1")
    anna.type("/join #lobby")
    port = secure_server.server_address[1]
    bob = irssi("bob")
    bob.sees("Welcome to the Chat network, bob!bob@127.0.0.1")
    bob.type("/clear")
    # By its name: irssi does not compare addresses with those in a certificate.
    bob.type(f"/connect -4 -tls_verify -tls_cafile {tmp_path / 'authority.pem'} localhost {port}")
    # Beside the first connection, which has the nick, and the screen it is still cleared from.
    bob.sees("Welcome to the Chat network, bob_!")
    bob.type("/join #lobby")
    bob.sees("Join to #lobby was synced in")
    bob.type("Hello from behind a lock")
    anna.sees("> Hello from behind a lock")
    bob.type("/clear")
    bob.type("/reconnect")
    anna.sees("has quit [")
    # irssi joins its channels again by itself.
    bob.sees("Join to #lobby was synced in")
    anna.type("Welcome back for good")
    bob.sees("anna> Welcome back for good")
