import contextlib
import itertools
import random
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framework.testing import running
from servers.chat import commands
from servers.chat.server import ChatServer
from servers.chat.settings import Settings
from tests.servers.chat.conftest import Connect, Serve
from tests.servers.chat.irc import Irc

_numbers = itertools.count()

# What stands for something, what stands for nothing, and what should not stand there at all.
PARAMS = st.lists(
    st.sampled_from(
        ["anna", "#a", "#a,#b", "0", "*", "+b", ":", ":a b", ":#a b", ",", "#", "LS", "END", "x" * 60]
    )
    | st.binary(max_size=20).map(
        lambda data: data.translate(None, b"\r\n").decode("utf-8", "surrogateescape")
    ),
    max_size=4,
)


def test_a_client_that_never_reads(connect: Connect) -> None:
    """Whoever does not read is cut off and seen to quit, while the others exchange 10 MiB without a loss."""
    anna, bob = connect("anna"), connect("bob")
    victim = connect("victim", receive_buffer=4096)
    for client in (anna, bob, victim):
        client.ask("JOIN #a")
    quits = {anna: 0, bob: 0}
    text, batch = "x" * 440, 50
    for turn in range(500):
        speaker, listener = (anna, bob) if turn % 2 else (bob, anna)
        speaker.send(*(f"PRIVMSG #a :{turn} {number} {text}" for number in range(batch)))
        lines = listener.until(f" :{turn} {batch - 1} ")
        said = [re.findall(r"PRIVMSG #a :(\d+) (\d+) x{440}$", line) for line in lines if " PRIVMSG " in line]
        assert said == [[(str(turn), str(number))] for number in range(batch)]
        quits[listener] += ":victim!victim@127.0.0.1 QUIT :SendQ exceeded" in lines
    for client in (anna, bob):
        quits[client] += ":victim!victim@127.0.0.1 QUIT :SendQ exceeded" in client.ask()
    assert list(quits.values()) == [1, 1]
    assert len(b"".join(iter(lambda: victim.socket.recv(65536), b""))) < 512 * 1024


def test_many_who_talk_at_once(serve: Serve, connect: Connect) -> None:
    """Nobody who reads is cut off because more is said in one turn than a queue holds."""
    server = serve(sendq=32768)
    nicks = ["reader", *(f"n{number}" for number in range(20))]
    reader, *talkers = (connect(nick, to=server) for nick in nicks)
    reader.ask("JOIN #a", "MODE #a -n")
    with server.chat.lock:  # so that all of it is there when the first of them is heard
        for client in talkers:
            client.send(*["PRIVMSG #a :" + "x" * 440] * 16)
    for _ in range(20 * 16):
        assert reader.expect("PRIVMSG", "ERROR").endswith("PRIVMSG #a " + "x" * 440)


def test_the_queue_of_a_client_is_a_setting(serve: Serve, connect: Connect) -> None:
    """A smaller queue overflows sooner: what one read brings at once counts."""
    server = serve(sendq=4096)
    anna = connect("anna", to=server)
    victim = connect("victim", to=server)
    victim.ask("JOIN #a")
    anna.ask("JOIN #a")
    anna.send(*["PRIVMSG #a,victim,#A :" + "x" * 400] * 20)
    assert anna.expect("QUIT") == ":victim!victim@127.0.0.1 QUIT :SendQ exceeded"
    assert victim.rest()[-1] == "ERROR :Closing link: 127.0.0.1 (SendQ exceeded)"


def test_a_long_answer_waits_for_its_reader(serve: Serve, connect: Connect) -> None:
    """LIST, WHO and NAMES arrive whole, however much longer they are than the client's queue."""
    server = serve(sendq=4096)
    anna = connect("anna", to=server)
    for number in range(40):
        anna.ask(f"JOIN #{number}{'c' * 50}")
    for number in range(60):
        connect(f"n{number}{'n' * 28}", to=server).ask("JOIN #0" + "c" * 50)
    anna.ask()
    for _ in range(20):
        anna.send("LIST", "WHO *", "NAMES #0" + "c" * 50)
    for _ in range(20):
        assert len(anna.until(" 323 ")) == 40 + 2
        assert len(anna.until(" 315 ")) == 61 + 1
        assert sum(len(line.split(" :")[-1].split()) for line in anna.until(" 366 ")[:-1]) == 61


def test_many_answers_wait_for_their_reader(serve: Serve, connect: Connect) -> None:
    """Whoever asks for more than its queue holds, line by line, gets all of it, and is not cut off."""
    server = serve(sendq=4096)
    anna = connect("anna", to=server)
    anna.ask("JOIN #a", *(f"MODE #a +b {'x' * 60}{number}" for number in range(12)))
    anna.send(*["MODE #a b"] * 60)
    for _ in range(60):
        assert len(anna.until(" 368 ")) == 12 + 1


def test_one_client_too_many(serve: Serve, connect: Connect) -> None:
    """At the limit a newcomer is refused with a reason, and may come when somebody has left."""
    server = serve(max_clients=2)
    anna, _ = connect("anna", to=server), connect("bob", to=server)
    late = connect(to=server)
    assert late.rest() == ["ERROR :Closing link: 127.0.0.1 (Too many clients, try again later)"]
    anna.send("QUIT")
    anna.rest()
    # The server counts anna out a moment after she has seen the end.
    while any("Too many" in line for line in _greeting(connect(to=server))):
        pass


def _greeting(client: Irc) -> list[str]:
    client.send("PING x")
    try:
        return [client.line()]
    except ConnectionResetError:
        return ["Too many"]


def test_registration_has_a_deadline(serve: Serve, connect: Connect) -> None:
    """A client that does not register in time is cut off, however much it talks meanwhile."""
    client = connect(to=serve(registration_timeout=0.2))
    line = "never empty"
    while line and not line.startswith("ERROR"):
        # OSError: it has been cut off already, and the reason waits to be read.
        with contextlib.suppress(OSError):
            client.send("PING x")
        line = client.line()
    assert line == "ERROR :Closing link: 127.0.0.1 (Registration timed out)"


def test_silence_is_asked_about(serve: Serve, connect: Connect) -> None:
    """A silent client gets a PING, and as long as it answers it stays."""
    client = connect("wiz", to=serve(ping_after=0.05))
    for _ in range(2):
        assert client.line() == "PING irc.localhost"
        client.send("PONG irc.localhost")


def test_silence_after_a_ping_ends_it(serve: Serve, connect: Connect) -> None:
    """A client that does not answer a PING is cut off, and its neighbours are told why."""
    server = serve(ping_after=0.2, ping_timeout=2)
    bob, wiz = connect("bob", to=server), connect("wiz", to=server)
    bob.send("JOIN #a")
    wiz.send("JOIN #a")
    while "QUIT" not in (line := bob.expect("PING", "QUIT")):
        bob.send("PONG")
    assert re.fullmatch(r":wiz!wiz@127\.0\.0\.1 QUIT :Ping timeout: \d seconds", line)
    *_, ping, error = wiz.rest()
    assert ping == "PING irc.localhost"
    assert re.fullmatch(r"ERROR :Closing link: 127\.0\.0\.1 \(Ping timeout: \d seconds\)", error)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(lines=st.lists(st.tuples(st.sampled_from([*commands.COMMANDS, "BOGUS"]), PARAMS), max_size=8))
def test_nothing_that_clients_send_is_a_fault(
    server: ChatServer, caplog: pytest.LogCaptureFixture, lines: list[tuple[str, list[str]]]
) -> None:
    """Whatever a registered client asks for, it is answered or told goodbye, and no fault is logged."""
    # A nick of its own each time: the one before may not be free yet.
    with Irc(server.server_address, f"n{next(_numbers)}") as client:
        client.send("JOIN #a", *(" ".join([command, *params]) for command, params in lines), "PING :all")
        client.until("PONG irc.localhost all", "ERROR :Closing link: 127.0.0.1 (Quit: ")
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_leaves_nothing_behind(seed: int) -> None:
    """Users who come, talk, wander and go all at once get their answers, and the network is empty afterwards."""

    def live(number: int) -> None:
        chance = random.Random(seed * 100 + number)
        with Irc(server.server_address, f"n{number}") as client:
            for turn in range(60):
                channel, other = f"#{chance.randrange(3)}", f"n{chance.randrange(12)}"
                asked = f"JOIN {channel}|PART {channel}|PRIVMSG {channel},{other} x|TOPIC {channel} :{turn}|NICK m{number}"
                client.ask(
                    chance.choice(
                        f"{asked}|NICK n{number}|NAMES {channel}|WHO *|LIST|WHOIS {other}".split("|")
                    )
                )
            if chance.random() < 0.5:
                client.send("QUIT")
                client.rest()

    with (
        running(ChatServer(Settings(port=0, show_addresses=True, flood_rate=0))) as server,
        ThreadPoolExecutor(12) as crowd,
    ):
        for life in [crowd.submit(live, number) for number in range(12)]:
            life.result()
    network = server.chat.network
    assert (len(network.users), network.channels, server.chat.admission.clients) == (0, [], 0)


def test_a_fault_of_ours_ends_one_conversation(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A command that raises what it must not ends its client's conversation, is logged, and spares all others."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    bob, wiz = connect("bob"), connect("wiz")
    for client in (bob, wiz):
        client.ask("JOIN #a")
    monkeypatch.setitem(
        commands.COMMANDS, "VERSION", commands.Command("VERSION", "", commands.May.USERS, broken)
    )
    wiz.send("VERSION")
    assert wiz.rest() == ["ERROR :Closing link: 127.0.0.1 (Internal error)"]
    assert bob.expect("QUIT") == ":wiz!wiz@127.0.0.1 QUIT :Internal error"
    assert "ZeroDivisionError" in caplog.text
