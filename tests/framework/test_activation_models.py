"""What ``serve()`` owes every model: processes, pools, greenlets, TLS, beside four servers of other kinds."""

from __future__ import annotations

import json
import signal
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from tests.framework.certificates import authority, client_context
from tests.framework.load import Load, Target
from tests.framework.program import Program, ended

MODELS = ["Forking", "Prefork", "PreforkDatagrams", "Pool", "Greenlets", "Secure"]

each_model = pytest.mark.parametrize("kind", MODELS)


def certify(folder: Path) -> bytes:
    """Write a new certificate for the program; return it as clients see it."""
    certificate = authority().issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "certificate.pem"))
    return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())


def start(program: Program, kind: str) -> Target:
    """Start the program with that model, too; return where to find it."""
    certify(program.folder)
    program.make("patient")
    program.environ["TEST_MORE"] = kind
    program.start()
    target = program.targets[4]
    return replace(target, context=client_context()) if kind == "Secure" else target


@each_model
def test_a_restart_loses_nobody(program: Program, kind: str) -> None:
    """SIGUSR2 under load, twice in a row: every client is answered, by one program or the other."""
    target = start(program, kind)
    with Load([target] * 4) as load:
        load.more(50)
        for _ in range(2):
            before = set(load.served_by)
            program.restart()
            load.more(50)
            assert load.served_by - before
    assert load.lost_nobody(), load.counts
    assert program.wait() == 0
    program.signal(signal.SIGTERM)
    ended(program.main)
    assert " 0 forced, 0 abandoned" in program.told()
    assert "no server of this program listens" not in program.told()


@pytest.mark.parametrize("kind", [kind for kind in MODELS if "Datagrams" not in kind])
def test_an_end_under_load_forces_nobody(program: Program, kind: str) -> None:
    """SIGTERM in the midst of it: whatever has begun comes to its end, and the status says so."""
    target = start(program, kind)
    with Load([target] * 4) as load:
        load.more(50)
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    drained = [line for line in program.told().splitlines() if " drained: " in line]
    assert drained
    assert all(line.endswith(" 0 forced, 0 abandoned") for line in drained)
    if kind in {"Pool", "Greenlets"}:  # of which this process knows all
        assert program.process.stdout is not None
        counts = json.loads(program.process.stdout.read())
        assert counts["opened"] == counts["answered"] == load.counts["answered"]


def test_a_reload_renews_the_workers(program: Program) -> None:
    """SIGHUP under load: new workers serve, and nobody is lost."""
    target = start(program, "Prefork")
    with Load([target] * 4) as load:
        load.more(50)
        before = set(load.served_by)
        program.signal(signal.SIGHUP)
        for pid in before:
            ended(pid)
        load.more(50)
        assert load.served_by - before
    assert load.lost_nobody(), load.counts


def test_a_reload_renews_the_certificate(program: Program) -> None:
    """SIGHUP: who connects from then on is shown the new certificate, and who is connected stays so."""

    def connect() -> ssl.SSLSocket:
        return client_context().wrap_socket(target.connect(), server_hostname="localhost")

    target = start(program, "Secure")
    with connect() as old:
        first = old.getpeercert(binary_form=True)
        second = certify(program.folder)
        program.signal(signal.SIGHUP)
        program.hear("RELOADING=1")
        program.hear("READY=1")
        with connect() as new:
            assert new.getpeercert(binary_form=True) == second != first
        old.sendall(b"still here\n")
        assert old.recv(99) == b"%d still here\n" % program.main
