"""The program is killed, and the power goes: what was acknowledged is there, and nothing is there by half."""

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from framework.testing import PATIENCE, eventually
from servers.keyvalue.maintenance import check
from tests.servers.keyvalue.program import program
from tests.servers.keyvalue.wire import Wire

# More by hand: KEYVALUE_ROUNDS=20.
ROUNDS = int(os.environ.get("KEYVALUE_ROUNDS", "2"))
WRITERS = 8
ENOUGH = 300


class Writer:
    """Writes pairs of keys in transactions, and knows which were acknowledged."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.acknowledged = 0
        self._path = path
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        number = 0
        with Wire(self._path) as client:
            try:
                while True:
                    number += 1
                    client("MULTI")
                    client("SET", f"{self.name}:a", number)
                    client("SET", f"{self.name}:b", number)
                    client("RPUSH", f"{self.name}:all", number)
                    if not client("EXEC"):
                        return
                    self.acknowledged = number
            except OSError:
                return


def test_killed(tmp_path: Path, socket_folder: Path) -> None:
    """After each kill -9 all that eight writers were told of is there, and no transaction by half."""
    path, store = socket_folder / "kv.sock", f"log:{tmp_path}?fsync=always"
    base: dict[str, int] = {}
    for round_ in range(ROUNDS + 1):
        with program(path, "--store", store) as process:
            with Wire(path) as client:
                for name, least in base.items():
                    values = {part: client("GET", f"{name}:{part}").split(b"\r\n")[1] for part in "ab"}
                    every = [
                        int(item.split(b"\r\n")[1]) for item in client("LRANGE", f"{name}:all", 0, -1)[1]
                    ]
                    assert values["a"] == values["b"] == b"%d" % every[-1]
                    assert every == list(range(1, len(every) + 1))
                    assert len(every) >= least
            if round_ == ROUNDS:
                break
            writers = [Writer(path, f"{round_}.{number}") for number in range(WRITERS)]
            eventually(lambda writers=writers: sum(each.acknowledged for each in writers) > ENOUGH)  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            for writer in writers:
                writer.thread.join(PATIENCE)
            base |= {each.name: each.acknowledged for each in writers}
    assert check([str(tmp_path)]) == 0


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_reply_before_the_disk(tmp_path: Path, socket_folder: Path) -> None:
    """With fsync=always nothing is sent between a write to the log and the end of its fdatasync(2)."""
    path, trace = socket_folder / "kv.sock", tmp_path / "trace"
    wrapper = ["strace", "-f", "-e", "trace=pwrite64,fdatasync,sendto,kill", "-o", str(trace)]
    try:
        with program(path, "--store", f"log:{tmp_path}/data", wrapper=wrapper):
            writers = [Writer(path, f"{number}") for number in range(WRITERS)]
            eventually(lambda: sum(each.acknowledged for each in writers) > ENOUGH)
            with Wire(path) as client:
                client.send("SHUTDOWN")
                assert client.rest() == b""
            for writer in writers:
                writer.thread.join(PATIENCE)
    except PermissionError:
        pytest.skip("strace may not trace here")
    lines = trace.read_text().splitlines()
    # Only the thread of the hub: it writes, syncs and sends.
    hub = next(line.split()[0] for line in lines if "pwrite64" in line)
    unsafe, syncs, replies = False, 0, 0
    for line in lines:
        if not line.startswith(f"{hub} "):
            continue
        call = re.search(r"(pwrite64|fdatasync|sendto)\(", line) or re.search(r"<\.\.\. (\w+) resumed>", line)
        if call is None:
            continue
        if call[1] == "pwrite64":
            unsafe = True
        elif call[1] == "fdatasync" and "= 0" in line:
            unsafe, syncs = False, syncs + 1
        elif call[1] == "sendto" and "*3" in line:
            replies += 1
            assert not unsafe, line
    # Group commit: there are fewer syncs than transactions.
    assert replies > ENOUGH
    assert 0 < syncs < replies


def test_power_loss(tmp_path: Path, socket_folder: Path) -> None:
    """Whatever the disk made of what was not synced, all that was synced is there."""
    path, data = socket_folder / "kv.sock", tmp_path / "data"
    with program(path, "--store", f"log:{data}") as process, Wire(path) as client:
        for number in range(50):
            client("SET", f"k{number}", number)
        log = data / "00000001.log"
        synced = log.read_bytes().rstrip(b"\0")
        client.send("SET", "last", "x" * 5000)
        client.reply()
        process.kill()
    whole = log.read_bytes().rstrip(b"\0")
    tail = whole[len(synced) :]
    for spoiled in (b"", tail[:1], tail[:2000], b"\0" * 4096 + tail[4096:], tail[:-1], os.urandom(len(tail))):
        log.write_bytes(synced + spoiled)
        with program(path, "--store", f"log:{data}"), Wire(path) as client:
            assert client("DBSIZE") == b":50\r\n"
            assert client("GET", "k49") == b"$2\r\n49\r\n"


def test_full_disk(socket_folder: Path) -> None:
    """On a disk that is really full the program goes on serving, and goes on writing once there is room."""
    disk = socket_folder / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=12m tmpfs {disk} 2>/dev/null"):
        pytest.skip("only root can mount a small disk")
    try:
        path = socket_folder / "kv.sock"
        with program(path, "--store", f"log:{disk}/data"), Wire(path) as client:
            ballast = disk / "ballast"
            client("SET", "a", 1)
            acknowledged = 0
            while client("SET", f"k{acknowledged}", b"x" * 1_000_000) == b"+OK\r\n":
                acknowledged += 1
            assert acknowledged > 3
            assert client("SET", "a", b"y" * 1_000_000).startswith(b"-MISCONF ")
            assert client("GET", "a") == b"$1\r\n1\r\n"
            assert client("DBSIZE") == b":%d\r\n" % (acknowledged + 1)
            assert not ballast.exists()
            assert os.system(f"mount -o remount,size=40m {disk}") == 0
            assert client("SET", "a", b"y" * 1_000_000) == b"+OK\r\n"
        with program(path, "--store", f"log:{disk}/data"), Wire(path) as client:
            assert client("DBSIZE") == b":%d\r\n" % (acknowledged + 1)
            assert client("STRLEN", "a") == b":1000000\r\n"
    finally:
        os.system(f"umount {disk}")


def test_two_listeners(socket_folder: Path) -> None:
    """Clients of two listeners, which have a thread each, share the data, wait for each other, and hear each other."""
    first, second = socket_folder / "first.sock", socket_folder / "second.sock"
    options = ("--bind", f"unix://{second}", "--store", f"log:{socket_folder}/data")
    with program(first, *options), Wire(first) as one, Wire(second) as other:
        one("SET", "a", 1)
        assert other("GET", "a") == b"$1\r\n1\r\n"
        one.send("BLPOP", "list", 0)
        eventually(lambda: b"blocked_clients:1" in other("INFO", "clients"))
        other("RPUSH", "list", "x")
        assert one.reply()[1] == [b"$4\r\nlist\r\n", b"$1\r\nx\r\n"]
        one.send("SUBSCRIBE", "news")
        one.reply()
        assert other("PUBLISH", "news", "hello") == b":1\r\n"
        assert one.reply()[1][2] == b"$5\r\nhello\r\n"
        writers = [Writer(path, f"{number}") for number, path in enumerate([first, second] * 2)]
        eventually(lambda: sum(each.acknowledged for each in writers) > ENOUGH)
        other.send("SHUTDOWN")
        assert other.rest() == b""
        for writer in writers:
            writer.thread.join(PATIENCE)
    assert check([f"{socket_folder}/data"]) == 0


def test_second_program(socket_folder: Path) -> None:
    """A second program in the same folder is refused, and leaves the socket to the first."""
    path = socket_folder / "kv.sock"
    options = ("--store", f"log:{socket_folder}/data")
    with program(path, *options), Wire(path) as client:
        client("SET", "a", 1)
        with program(path, *options) as second:
            assert second.wait(PATIENCE) == 2
        with Wire(path) as another:
            assert another("GET", "a") == b"$1\r\n1\r\n"


@contextmanager
def restarting(process: subprocess.Popen[str]) -> Iterator[None]:
    """Have a program started anew by itself; the new one is killed at the end of the block."""
    process.send_signal(signal.SIGUSR2)
    assert process.stdout is not None
    while not (found := re.search(r"process (\d+) is starting", process.stdout.readline())):
        pass
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(int(found[1]), signal.SIGKILL)


def test_hot_restart(socket_folder: Path) -> None:
    """SIGUSR2 hands over the socket and the folder: whoever comes meanwhile waits, and finds all as it was."""
    path = socket_folder / "kv.sock"
    with (
        program(path, "--store", f"log:{socket_folder}/data") as process,
        Wire(path) as client,
        Wire(path) as waiter,
    ):
        client("SET", "a", 1)
        # Who waits for a key keeps the first program from ending for as long as a drain may take.
        waiter.send("BLPOP", "list", 0)
        eventually(lambda: b"blocked_clients:1" in client("INFO", "clients"))
        with restarting(process):
            assert client.rest() == b""
            with Wire(path) as another:
                assert another("GET", "a") == b"$1\r\n1\r\n"
                assert another("SET", "a", 2) == b"+OK\r\n"
                assert process.wait(PATIENCE) == 0
                assert waiter.rest() == b""
    eventually(lambda: check([f"{socket_folder}/data"]) == 0)


def test_folder_that_cannot_be_taken_over(socket_folder: Path) -> None:
    """A successor that finds the folder damaged says so, answers nobody, and ends."""
    path, data = socket_folder / "kv.sock", socket_folder / "data"
    with program(path, "--store", f"log:{data}") as process, Wire(path) as client, Wire(path) as waiter:
        for number in range(3):
            client("SET", f"key{number}", number)
        waiter.send("BLPOP", "list", 0)
        eventually(lambda: b"blocked_clients:1" in client("INFO", "clients"))
        with restarting(process):
            assert client.rest() == b""
            with Wire(path) as another:
                another.send("GET", "key0")
                log = data / "00000001.log"
                with log.open("r+b") as file:
                    file.seek(log.read_bytes().index(b"key0"))
                    file.write(b"X")
                assert waiter.rest() == b""
                assert another.rest() == b""
            assert process.stdout is not None
            assert "cannot be taken over, and the server ends" in process.stdout.read()
