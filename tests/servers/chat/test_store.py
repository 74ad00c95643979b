import os
import random
import re
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from servers.chat.channel import Channel, Entry, Topic
from servers.chat.protocol import Message
from servers.chat.store import Store
from tests.servers.chat.conftest import Connect, Serve
from tests.servers.chat.irc import Irc

ROOT = Path(__file__).parents[3]
KILLS = int(os.environ.get("CHAT_KILLS", "2"))
"""How often the server is killed: CHAT_KILLS=50 for an evening."""


def message(number: int) -> Message:
    """Return a message as history has it."""
    return Message("PRIVMSG", ("#a", str(number)), "me!me@here", {"time": f"{number}", "msgid": f"m{number}"})


def registered(length: int = 10) -> Channel:
    """Return a registered channel with something of everything."""
    channel = Channel("#A", 1.5, length)
    channel.founder = "Anna"
    channel.topic = Topic("about", "anna!a@b", 2.5)
    channel.flags = {"r", "s"}
    channel.key, channel.limit = "key", 7
    channel.lists["b"]["eve!*@*"] = Entry("anna!a@b", 3.5)
    return channel


def test_what_is_stored_is_there_again(folder: Path) -> None:
    """Accounts, and registered channels with their modes, lists and latest messages, outlive the store."""
    store = Store(folder)
    channel = registered()
    store.add_account("anna", "Anna", "hash")
    store.save_channel(channel)
    last = 0
    for number in range(25):
        last = store.add_message(channel, message(number))
    store.wait(last)
    assert store.has(last)
    store.close()
    again = Store(folder)
    assert again.secret == store.secret
    assert dict(again.accounts()) == {"anna": ("Anna", "hash")}
    (found,) = again.channels(10)
    for name in ("name", "created", "founder", "topic", "flags", "key", "limit", "lists"):
        assert getattr(found, name) == getattr(channel, name)
    assert [each.params[1] for each in found.history.before(None, 99)] == [
        str(each) for each in range(15, 25)
    ]
    found.founder = ""
    again.save_channel(found)
    again.close()
    last_time = Store(folder)
    assert list(last_time.channels(10)) == []
    last_time.close()


def test_history_on_disk_is_bounded(folder: Path) -> None:
    """However much is said, the file keeps little more than what is remembered of it."""
    store = Store(folder)
    channel = registered()
    store.save_channel(channel)
    for number in range(1000):
        store.add_message(channel, message(number))
    store.close()
    again = Store(folder)
    ((count,),) = again._database.execute("SELECT count(*) FROM history")
    again.close()
    assert count <= 20


def test_only_one_process_at_a_time(folder: Path) -> None:
    """A second store in the same folder is refused."""
    store = Store(folder)
    with pytest.raises(OSError, match="locked"):
        Store(folder)
    store.close()


def test_a_disk_that_is_full(folder: Path) -> None:
    """Who waits is told that nothing is stored; when there is room again, what came meanwhile is stored in its order."""
    store = Store(folder)
    channel = registered(1000)
    store.save_channel(channel)
    store.wait(1)
    # The least that SQLite allows: the file may not grow.
    store._database.execute("PRAGMA max_page_count=1")
    numbers = [store.add_message(channel, message(number)) for number in range(100)]
    with pytest.raises(OSError, match="full"):
        store.wait(numbers[-1])
    store._database.execute("PRAGMA max_page_count=1000000")
    room = threading.Thread(target=store.close)
    room.start()
    room.join(20)
    again = Store(folder)
    (found,) = again.channels(1000)
    again.close()
    assert [each.params[1] for each in found.history.before(None, 999)] == [str(each) for each in range(100)]


def test_a_registered_channel(serve: Serve, connect: Connect, folder: Path) -> None:
    """Who is logged in registers a channel by a mode; it is there after a restart, with its founder as operator."""
    server = serve(data=str(folder))
    wiz = connect("wiz", to=server)
    assert wiz.ask("JOIN #a", "MODE #a +r")[-1].startswith(":irc.localhost 696 wiz #a r * :Log in")
    wiz.ask("REGISTER * * sesame", "TOPIC #a :about", "CAP REQ echo-message")
    assert wiz.ask("MODE #a +rb eve", "PRIVMSG #a :to stay") == [
        ":wiz!wiz@127.0.0.1 MODE #a +rb eve!*@*",
        ":wiz!wiz@127.0.0.1 PRIVMSG #a :to stay",
    ]
    server.shutdown()
    server.server_close()
    wiz.rest()
    later = serve(data=str(folder))
    bob, wiz = connect("bob", to=later), connect("gandalf", to=later)
    assert ":irc.localhost 332 bob #a about" in bob.ask("JOIN #a")
    assert bob.ask("MODE #a")[0] == ":irc.localhost 324 bob #a +nrt"
    assert bob.ask("CHATHISTORY LATEST #a * 5") == [":wiz!wiz@127.0.0.1 PRIVMSG #a :to stay"]
    wiz.ask("AUTHENTICATE PLAIN", "AUTHENTICATE d2l6AHdpegBzZXNhbWU=")
    assert any(" 353 gandalf = #a :bob @gandalf" in line for line in wiz.ask("JOIN #a"))
    assert wiz.ask("MODE #a -r") == [":gandalf!gandalf@127.0.0.1 MODE #a -r"]


@pytest.mark.parametrize("seed", range(3))
def test_kill_minus_nine(folder: Path, seed: int) -> None:
    """Killed at any moment, the server opens again with every account, message, topic and ban that was confirmed."""
    chance = random.Random(seed)
    accounts: list[str] = []
    said: list[str] = []
    modes: dict[str, tuple[str, str]] = {}
    for life in range(KILLS + 1):
        with (
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "servers.chat", "--port", "0", "--data", str(folder)),
                    *("--flood-rate", "0", "--history-length", "100000", "--register-before-connect"),
                ],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as program,
            ExitStack() as stack,
        ):
            stack.callback(program.kill)
            assert program.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", program.stdout.readline())
            assert found
            with Irc(("127.0.0.1", int(found[1])), f"w{life}") as client:
                _check(client, accounts, said, modes)
                if life == KILLS:
                    program.kill()
                    return
                account = f"account{life}"
                client.ask(f"REGISTER {account} * sesame", "JOIN #a", "MODE #a +r", "CAP REQ echo-message")
                client.ask(f"JOIN #{life}", f"MODE #{life} +r")
                accounts.append(account)
                timer = threading.Timer(chance.random() / 4, os.kill, (program.pid, signal.SIGKILL))
                timer.start()
                _talk(client, said, modes, f"{life}")
                timer.join()
            program.wait()


def _talk(client: Irc, said: list[str], modes: dict[str, tuple[str, str]], life: str) -> None:
    """Say as much as possible until the end, and note whatever comes back."""
    number = 0
    try:
        while True:
            client.send(*(f"PRIVMSG #a {life}-{each}" for each in range(number, number + 5)))
            client.send(f"TOPIC #{life} {number}", f"MODE #{life} +l {number + 1}")
            number += 5
            for _ in range(7):
                line = client.line()
                if not line:
                    return
                value = line.rsplit(" ", 1)[1]
                if " PRIVMSG " in line:
                    said.append(value)
                else:
                    modes["TOPIC" if " TOPIC " in line else "MODE"] = (f"#{life}", value)
    except OSError:
        return


def _check(client: Irc, accounts: list[str], said: list[str], modes: dict[str, tuple[str, str]]) -> None:
    for account in accounts:
        assert client.ask(f"NICK {account}")[0].endswith(
            ":Nickname is reserved for its account: log in first"
        )
    for what, (name, value) in modes.items():
        numeric = " 332 " if what == "TOPIC" else " 324 "
        shown = next(line for line in client.ask(f"JOIN {name}", f"{what} {name}") if numeric in line)
        assert int(shown.rsplit(" ", 1)[1]) >= int(value)  # what came after was perhaps stored as well
    if not said:
        return
    client.ask("JOIN #a", "CAP REQ :message-tags batch")
    heard: list[str] = []
    start = "timestamp=2000-01-01T00:00:00.000Z"
    while True:
        _, *lines, _ = client.ask(f"CHATHISTORY AFTER #a {start} 100")
        if not lines:
            break
        heard += [line.rsplit(" ", 1)[1] for line in lines]
        found = re.search(r"msgid=(\w+)", lines[-1])
        assert found
        start = f"msgid={found[1]}"
    assert set(said) <= set(heard)
    assert len(heard) == len(set(heard))
    assert [each for each in heard if each in set(said)] == said
