"""Unbound and dnsmasq beside the resolver, in front of one upstream server that misbehaves: who answers, how soon."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from servers.resolver.message import Message, parse, query
from servers.resolver.names import ROOT, from_text
from servers.resolver.settings import Route
from tests.real_clients.nsd import free_port
from tests.servers.resolver.client import Running
from tests.servers.resolver.upstreams import EVIL, GOOD, Upstream

UNBOUND = """
server:
  interface: 127.0.0.1
  port: {port}
  num-threads: 1
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-not-query-localhost: no
  use-caps-for-id: yes
  module-config: "iterator"
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{upstream}
"""

# What the upstream server does, and what is right then: its address, or a failure.
RIGHT = ["good", "wrongid", "wrongname", "wrongtype", "noanswer", "truncated", "formerr", "poison"]
FAILS = ["servfail", "refused"]
# stub resolvers wait for five seconds (resolv.conf(5)).
PATIENCE = 5.0


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Run an upstream server."""
    with Upstream() as made:
        yield made


@pytest.fixture
def peers(tmp_path: Path, upstream: Upstream) -> Iterator[dict[str, int]]:
    """Run all three, and return their ports."""
    if _find("unbound") is None or _find("dnsmasq") is None:
        pytest.skip("unbound or dnsmasq is not installed")
    ports = {"unbound": free_port(), "dnsmasq": free_port()}
    config = tmp_path / "unbound.conf"
    config.write_text(UNBOUND.format(port=ports["unbound"], folder=tmp_path, upstream=upstream.address[1]))
    options = ["--no-resolv", "--no-hosts", "--cache-size=0", "--user=", "--pid-file=", "--bind-interfaces"]
    where = [
        f"--port={ports['dnsmasq']}",
        "--listen-address=127.0.0.1",
        f"--server=127.0.0.1#{upstream.address[1]}",
    ]
    commands = [
        [_find("unbound") or "", "-d", "-c", str(config)],
        [_find("dnsmasq") or "", "--keep-in-foreground", "--conf-file=/dev/null", *options, *where],
    ]
    with ExitStack() as stack:
        for command in commands:
            program = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            stack.callback(program.terminate)
        ours = stack.enter_context(Running(forward=(Route(ROOT, upstream.address),)))
        ports["resolver"] = ours.udp.server_address[1]
        for name, port in ports.items():
            assert _ask(port, f"good.{name}.example.", 20)[0] is not None
        yield ports


def _ask(port: int, name: str, patience: float = PATIENCE) -> tuple[Message | None, float]:
    """Ask until there is an answer, as a stub resolver does once a second, and return how long it took."""
    begin = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect(("127.0.0.1", port))
        while time.monotonic() < begin + patience:
            try:
                client.send(query(1, from_text(name), 1, flags=0x0100))
                return parse(client.recv(4096)), time.monotonic() - begin
            except OSError:
                continue
    return None, time.monotonic() - begin


def test_answers_in_front_of_one_that_misbehaves(peers: dict[str, int]) -> None:
    """The resolver gives the right answer or the failure wherever that can be known, and none of what is poisonous."""
    for how in [*RIGHT, *FAILS]:
        found = {name: _ask(port, f"{how}.x{port}.example.") for name, port in peers.items()}
        ours, seconds = found["resolver"]
        assert ours is not None, how
        if how in RIGHT:
            assert [each.rdatas for each in ours.answer] == [(GOOD,)], how
            assert not ours.authority
            assert not ours.additional
        else:
            assert (ours.rcode, ours.answer) == (2, ()), how
        # Nobody is quicker by more than one of our waits.
        others = [
            taken for name, (answer, taken) in found.items() if name != "resolver" and answer is not None
        ]
        assert seconds < min(others, default=PATIENCE) + 1.0, how
    for port in peers.values():
        victim, _ = _ask(port, "victim.example.net.")
        assert victim is None or all(EVIL not in each.rdatas for each in victim.answer)


def test_silence_is_told(peers: dict[str, int]) -> None:
    """Where the upstream server says nothing, the client is told so before it gives up; Unbound and dnsmasq let it wait."""
    found, seconds = _ask(peers["resolver"], "silent.example.")
    assert found is not None
    assert found.rcode == 2
    assert seconds < PATIENCE
