"""Packets of every kind but the good one: nothing raises, nothing answers an answer, and memory stays as it is.

``FUZZ_PACKETS=1000000`` is the long run.
"""

from __future__ import annotations

import logging
import os
import random
import tracemalloc
from pathlib import Path

import pytest

from servers.resolver.message import FormatError, Opt, parse, query
from servers.resolver.names import from_text
from servers.resolver.rdata import type_number
from servers.resolver.server import Service
from servers.resolver.settings import Settings, ZoneFile
from tests.servers.resolver.bigzone import ORIGIN, questions, zone

PACKETS = int(os.environ.get("FUZZ_PACKETS", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
# Tables of clients, cookies and answers fill, and are emptied when they are full: the peaks are what must not grow. They
# are made small, so that they are full early.
_TABLES = ("resolver.resolver", "resolver.cookies", "resolver.steps.access", "resolver.steps.rate")
_SAMPLES = 64
_LONG = 200_000
_ALLOWED_GROWTH = 2**20


@pytest.mark.timeout(3600)
def test_packets(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes, no fault of this program shows, an answer is never answered, and every reply is a message."""
    for name in _TABLES:
        monkeypatch.setattr(f"servers.{name}._REMEMBERED", 256)
    (tmp_path / "zone").write_text(zone())
    files = (ZoneFile(from_text(ORIGIN), tmp_path / "zone"),)
    resolver = Service(Settings(bind=(), zone=files, rate_limit=1000, nsid="fuzz")).resolver
    rng = random.Random(SEED)
    seeds = list(_seeds())
    replies: list[bytes | None] = []
    answered, used = 0, list[int]()
    tracemalloc.start()
    with caplog.at_level(logging.ERROR):
        for number in range(PACKETS):
            packet = _mutated(rng, rng.choice(seeds))
            client = f"192.0.2.{rng.randrange(256)}" if rng.random() < 0.5 else "127.0.0.1"
            stream = rng.random() < 0.2
            reply = None if stream else resolver.quickly(packet, client, number / 1000)
            if reply is None:
                replies.clear()
                resolver.receive(packet, client, replies.append, stream=stream)
                assert len(replies) == 1
                reply = replies[0]
            if reply:
                answered += 1
                _check(packet, reply, stream=stream)
            if number % (PACKETS // _SAMPLES) == 0:
                used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    half = len(used) // 2
    assert not caplog.records
    assert answered > PACKETS // 10
    # In a short run the tables are still filling.
    assert PACKETS < _LONG or max(used[half:]) < max(used[:half]) + _ALLOWED_GROWTH


def test_messages(tmp_path: Path) -> None:
    """Whatever an upstream server sends is a message or a ``FormatError``."""
    rng = random.Random(SEED)
    (tmp_path / "zone").write_text(zone())
    files = (ZoneFile(from_text(ORIGIN), tmp_path / "zone"),)
    resolver = Service(Settings(bind=(), zone=files, rate_limit=0)).resolver
    seeds: list[bytes] = []
    for packet in list(_seeds())[:200]:
        resolver.receive(packet, "127.0.0.1", lambda reply: seeds.append(reply or b""), stream=True)
    good = 0
    for _ in range(PACKETS):
        try:
            parse(_mutated(rng, rng.choice(seeds)))
            good += 1
        except FormatError:
            continue
    assert 0 < good < PACKETS


def _check(packet: bytes, reply: bytes, *, stream: bool) -> None:
    assert len(packet) >= 12
    assert not packet[2] & 0x80
    assert reply[2] & 0x80
    assert reply[:2] == packet[:2]
    assert len(reply) <= (65535 if stream else 1232)
    parse(reply)


def _seeds() -> list[bytes]:
    rng = random.Random(7)
    packets: list[bytes] = []
    options = (
        (10, bytes(8)),
        (10, bytes(24)),
        (3, b""),
        (12, bytes(20)),
        (8, b"\0\1\x18\0\1\2\3"),
        (65001, b"x"),
    )
    for name, kind in questions(600):
        opt = Opt(rng.choice((0, 512, 1232, 65535)), rng.choice((0, 0, 0, 1)), rng.random() < 0.5)
        if rng.random() < 0.5:
            opt = Opt(opt.payload, opt.version, opt.do, 0, tuple(rng.sample(options, rng.randrange(4))))
        chosen = rng.choice((None, opt))
        code = rng.choice(
            (type_number(kind) or 1, type_number(kind) or 1, 255, 252, 251, 250, 41, 249, 254, 0, 65535)
        )
        packets.append(
            query(
                rng.randrange(65536),
                from_text(name),
                code,
                flags=rng.choice((0, 0x100, 0x110, 0x120)),
                opt=chosen,
            )
        )
    return packets


def _mutated(rng: random.Random, packet: bytes) -> bytes:
    data = bytearray(packet)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 8))):
        if not data:
            break
        at = rng.randrange(len(data))
        match rng.randrange(7):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.choice((0, 1, 0x29, 0x3F, 0x40, 0x80, 0xC0, 0xFF, rng.randrange(256)))
            case 2:
                del data[at:]
            case 3:
                data += rng.randbytes(rng.randrange(40))
            case 4:
                data[at:at] = data[at : at + rng.randrange(30)]
            case 5:
                del data[at : at + rng.randrange(1, 6)]
            case _:
                data[at : at + 2] = bytes((0xC0 | rng.randrange(4), rng.randrange(256)))
    return bytes(data)
