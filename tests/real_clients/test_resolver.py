"""The clients that people have, dig, kdig and drill, ask the resolver, in the ways in which they do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.resolver.client import PATIENCE, Running

ZONE = "$TTL 60\n@ SOA ns h 1 2 3 4 30\n@ NS ns\nns A 192.0.2.1\nwww CNAME web\nweb A 192.0.2.2\nweb AAAA 2001:db8::2\n"
ZONE += "".join(f'large TXT "{n} {"x" * 200}"\n' for n in range(20))


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[Running]:
    """Serve a zone."""
    with Running({"example.org.": ZONE}, tmp_path, nsid="here", version="resolver") as running:
        yield running


def run(program: str, *arguments: str) -> str:
    """Run a client, and return what it shows."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    shown = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return shown.stdout + shown.stderr


@pytest.mark.parametrize("program", ["dig", "kdig"])
@pytest.mark.parametrize("tcp", [False, True])
def test_dig_and_kdig(resolver: Running, program: str, tcp: bool) -> None:
    """Names, types and transports; what does not fit comes by a connection without being asked for."""
    port = (resolver.tcp if tcp else resolver.udp).server_address[1]
    where = ("@127.0.0.1", "-p", str(port), "+tcp" if tcp else "+ignore")
    assert "192.0.2.2" in run(program, *where, "www.example.org")
    shown = run(program, *where, "nothing.example.org", "MX")
    assert "NXDOMAIN" in shown
    assert "SOA" in shown
    shown = run(program, *where, "+nsid", "WWW.example.org", "AAAA")
    assert "here" in shown or "68657265" in shown.replace(" ", "")
    assert "WWW.example.org." in (shown if program == "dig" else shown.replace("www.", "WWW."))
    shown = run(program, *where, "large.example.org", "TXT")
    assert ("ANSWER: 20" in shown) == tcp
    assert " tc" in shown or tcp


def test_cookies_of_dig(resolver: Running) -> None:
    """Dig finds the cookie good, by the long way and by the short one."""
    where = ("@127.0.0.1", "-p", str(resolver.udp.server_address[1]))
    for _ in range(2):
        shown = run("dig", *where, "web.example.org")
        assert "(good)" in shown
        assert "Warning" not in shown


def test_drill(resolver: Running) -> None:
    """Drill gets the answer."""
    assert "192.0.2.2" in run(
        "drill", "-p", str(resolver.udp.server_address[1]), "www.example.org", "@127.0.0.1"
    )


def test_batches_of_dig(resolver: Running, tmp_path: Path) -> None:
    """Many questions on one connection of dig are all answered."""
    (tmp_path / "batch").write_text("www.example.org\nweb.example.org AAAA\nnothing.example.org\n" * 20)
    where = ("@127.0.0.1", "-p", str(resolver.tcp.server_address[1]), "+tcp", "+keepopen")
    shown = run("dig", *where, "-f", str(tmp_path / "batch"))
    assert shown.count("status: NOERROR") == 40
    assert shown.count("status: NXDOMAIN") == 20


def test_wire_formats(resolver: Running) -> None:
    """Dig finds nothing to warn of in what an unknown version, flag, option or opcode gets."""
    where = (
        "@127.0.0.1",
        "-p",
        str(resolver.udp.server_address[1]),
        "+noall",
        "+comments",
        "www.example.org",
    )
    assert "BADVERS" in run("dig", *where, "+edns=1", "+noednsneg")
    assert "NOERROR" in run("dig", *where, "+ednsflags=0x40", "+zflag", "+ednsopt=65001:00", "+dnssec", "+cd")
    assert "NOTIMP" in run("dig", *where, "+opcode=5")
    assert "FORMERR" in run("dig", *where, "+header-only", "+nocookie")
    assert "(good)" in run("dig", *where, "+header-only")
