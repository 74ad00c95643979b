"""NSD, started for a test on ports of its own, in a folder of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real_clients.waiting import wait_for

SERVER = """
server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  pidfile: "{folder}/nsd.pid"
  logfile: "{folder}/nsd.log"
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
  zonelistfile: "{folder}/zone.list"
  database: ""
  rrl-ratelimit: 0
  ipv4-edns-size: 1232
  refuse-any: yes
  minimal-responses: yes
remote-control:
  control-enable: no
"""


def find() -> str | None:
    """Return where the program is."""
    return shutil.which("nsd") or shutil.which("nsd", path="/usr/sbin")


def free_port() -> int:
    """Return a port that is free for both transports."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def running(folder: Path, port: int, zones: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run NSD with the clauses ``zones`` in its configuration until the block ends."""
    config = folder / "nsd.conf"
    config.write_text(SERVER.format(port=port, folder=folder) + zones)
    program = subprocess.Popen([find() or "nsd", "-d", "-c", str(config)], stdin=subprocess.DEVNULL)
    try:
        wait_for(
            lambda: (folder / "nsd.log").read_text() if (folder / "nsd.log").exists() else "", "nsd started"
        )
        yield program
    finally:
        program.terminate()
        try:
            program.wait(5)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
