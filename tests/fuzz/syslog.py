"""Random octets and mutated messages, as datagrams, to the log sink: ``python -m tests.fuzz.syslog --seconds 600``.

Each datagram that is not empty must be in both outputs exactly once, in order; what is stored of it must be its end, and
the outputs valid UTF-8, valid JSON and a line each. Memory must not grow. Each round ends by a rotation.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import signal
import socket
import tempfile
import time
from pathlib import Path

from framework.testing import eventually
from servers.syslog.escape import unescape
from tests.servers.syslog.program import Program

SEEDS = (
    b"<13>Nov 22 15:22:59 program[42]: a message",
    b"<13>Nov 22 15:22:59 host program[42]: a message",
    b"<13>2026-11-22T15:22:59.003+02:00 host program[42]: a message",
    b'<165>1 2003-10-11T22:14:15.003Z host program 42 ID47 [a@1 b="c" d="\\"\\]"][e] \xef\xbb\xbfa message',
    "<14>program: grüß dich \u202e\u2028\x1b[2J\0".encode(),
    b"<191>\n\0",
)
PIECES = (
    b"<",
    b">",
    b"[",
    b"]",
    b'"',
    b"\\",
    b":",
    b" ",
    b"-",
    b"1 ",
    b"\n",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
)
MOST = 2000
# Small, so that what waits in it is not taken for growth.
QUEUE = ("--queue", "1048576")
# Caches and the allocator settle in the first rounds; after that, so many KiB are no growth.
SETTLING, SLACK = 5, 8 * 1024


def datagram(chance: random.Random) -> bytes:
    """Make a datagram."""
    kind = chance.random()
    if kind < 0.02:
        return b""
    if kind < 0.3:
        return chance.randbytes(chance.randrange(1, 80))
    octets = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randrange(6)):
        place = chance.randrange(len(octets) + 1)
        match chance.randrange(5):
            case 0:
                octets[place:place] = chance.choice(PIECES)
            case 1:
                del octets[place : place + chance.randrange(1, 8)]
            case 2:
                octets[place : place + 1] = chance.randbytes(1)
            case 3:
                octets[place:place] = octets[chance.randrange(len(octets) + 1) :]
            case _:
                octets[place:place] = chance.choice(PIECES) * chance.randrange(1, MOST)
    return bytes(octets)


class Fuzz:
    """A sink that is fuzzed, round by round."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder = folder
        self._chance = chance
        self._text, self._json = folder / "text", folder / "json"
        arguments = ["--text", str(self._text), "--format", "{message}", "--json", str(self._json), *QUEUE]
        self.program = Program("--bind", f"unixgram:{folder}/log.sock", *arguments)
        self._client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._client.connect(str(folder / "log.sock"))

    def round(self, count: int) -> int:
        """Send so many datagrams, and check what became of them; return how many were not empty."""
        sent: list[bytes] = []
        for _ in range(count):
            octets = datagram(self._chance)
            self._client.send(octets)
            if octets:
                sent.append(octets)
        eventually(lambda: all(_lines(path) >= len(sent) for path in (self._text, self._json)))
        done = [path.rename(path.with_suffix(".done")) for path in (self._text, self._json)]
        self.program.tell(signal.SIGHUP)
        eventually(lambda: self._text.exists() and self._json.exists())
        texts, objects = (path.read_text("utf-8").split("\n") for path in done)
        assert texts.pop() == objects.pop() == ""
        assert len(texts) == len(objects) == len(sent)
        for octets, text, line in zip(sent, texts, objects, strict=True):
            check(octets, text, line)
        return len(sent)

    def memory(self) -> int:
        """Return the KiB that the sink occupies."""
        status = Path(f"/proc/{self.program.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    def close(self) -> None:
        """End the sink, which must do so as ever."""
        self._client.close()
        assert self.program.end() == 0, self.program.log
        assert "Traceback" not in self.program.log, self.program.log


def check(octets: bytes, text: str, line: str) -> None:
    """Look at what became of one datagram."""
    found = json.loads(line)
    kept = base64.b64decode(found["octets"]) if "octets" in found else found["message"].encode()
    assert octets.rstrip(b"\n\0").endswith(kept), (octets, line)
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in text + line), (
        octets,
        text,
    )
    assert unescape(text).encode("utf-8", "surrogateescape") == kept, (octets, text)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def run(seconds: float, seed: int, count: int = 5000) -> tuple[int, list[int]]:
    """Fuzz for so long; return how many datagrams were stored, and the memory after each round."""
    with tempfile.TemporaryDirectory(prefix="sl-") as name:
        fuzz = Fuzz(Path(name), random.Random(seed))
        try:
            stored, memory = 0, list[int]()
            end = time.monotonic() + seconds
            while time.monotonic() < end or len(memory) <= SETTLING:
                stored += fuzz.round(count)
                memory.append(fuzz.memory())
        finally:
            fuzz.close()
    assert max(memory[SETTLING:]) <= max(memory[:SETTLING]) + SLACK, memory
    return stored, memory


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.syslog", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    stored, memory = run(options.seconds, options.seed)
    print(
        f"{stored} datagrams, each stored once; memory in KiB: {memory[0]} first, {min(memory)} to {max(memory)}"
    )


if __name__ == "__main__":
    main()
