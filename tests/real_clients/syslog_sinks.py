"""rsyslogd and syslog-ng beside the sink: each with a configuration, a socket and a file of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from framework.testing import PATIENCE, eventually
from tests.servers.syslog.program import Program

# Both daemons write raw what is not escaped, so the last field may have anything in it.
FIELDS = ("facility", "severity", "program", "procid", "message")


@dataclass(frozen=True)
class Stored:
    """What a sink made of a message."""

    facility: str
    severity: str
    program: str
    procid: str
    message: str


class Sink:
    """A sink that runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "log.sock"
        self.out = folder / "out"

    def lines(self) -> list[bytes]:
        """Return what is in its file."""
        return self.out.read_bytes().split(b"\n")[:-1] if self.out.exists() else []

    def stored(self, count: int) -> list[Stored]:
        """Wait until so many messages are in its file, and return them."""
        eventually(lambda: len(self._stored()) >= count, patience=PATIENCE)
        return self._stored()

    def _stored(self) -> list[Stored]:
        found: list[Stored] = []
        for line in self.lines():
            fields = [
                field if field != "-" else "" for field in line.decode("utf-8", "replace").split("|", 4)
            ]
            if len(fields) == len(FIELDS):
                found.append(Stored(*fields))
            else:  # of a sink that writes line ends as they are
                found[-1] = replace(found[-1], message=f"{found[-1].message}\n{line.decode()}")
        return found


class Ours(Sink):
    """This one."""

    def __init__(self, folder: Path, *more: str) -> None:
        super().__init__(folder)
        template = "{facility}|{severity}|{program}|{procid}|{message}"
        bind = ["--bind", f"unixgram:{self.socket}"]
        json = ["--json", str(folder / "json")]
        self.program = Program(*bind, "--text", str(self.out), "--format", template, *json, *more)

    def close(self) -> None:
        """End it."""
        assert self.program.end() == 0, self.program.log
        assert "Traceback" not in self.program.log


class Daemon(Sink):
    """Another one."""

    def start(self, command: list[str]) -> None:
        """Start it; return once it listens."""
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        self.process = subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(lambda: self._listens() or self.process.poll() is not None, patience=PATIENCE)
        assert self.process.poll() is None, f"{command[0]} has ended"

    def _listens(self) -> bool:
        return self.socket.exists()

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(PATIENCE)


class Rsyslog(Daemon):
    """rsyslogd with imuxsock, which parses as its manual advises for a socket of all kinds of senders."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "conf").write_text(f"""
            global(workDirectory="{folder}" maxMessageSize="64k")
            module(load="imuxsock" SysSock.Use="off")
            template(name="t" type="string" string="%syslogfacility-text%|%syslogseverity-text%|%programname%|%procid%|%msg%\\n")
            ruleset(name="all") {{ action(type="omfile" file="{self.out}" template="t") }}
            input(type="imuxsock" Socket="{self.socket}" ruleset="all" RateLimit.Interval="0" UseSpecialParser="off"
                  ParseHostname="off")
        """)
        self.start(["rsyslogd", "-n", "-f", str(folder / "conf"), "-i", str(folder / "pid")])


class SyslogNg(Daemon):
    """syslog-ng with unix-dgram."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "conf").write_text(f"""@version: 3.38
            source s {{ unix-dgram("{self.socket}" flags(syslog-protocol)); }};
            destination d {{
                file("{self.out}" template("${{FACILITY}}|${{LEVEL}}|${{PROGRAM}}|${{PID}}|${{MSG}}\\n"));
            }};
            log {{ source(s); destination(d); }};
        """)
        files = ["-R", str(folder / "persist"), "-p", str(folder / "pid"), "-c", str(folder / "ctl")]
        self.start(["syslog-ng", "-F", "--no-caps", "-f", str(folder / "conf"), *files])


class Collector(Daemon):
    """rsyslogd with imtcp, which can be killed and started again."""

    def __init__(self, folder: Path, port: int, tls: tuple[Path, Path, Path] | None = None) -> None:
        super().__init__(folder)
        self.port = port
        options, mode = "", ""
        if tls is not None:
            authority, certificate, key = tls
            options = (
                f'DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile="{authority}" '
                f'DefaultNetstreamDriverCertFile="{certificate}" DefaultNetstreamDriverKeyFile="{key}"'
            )
            mode = 'StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"'
        (folder / "conf").write_text(f"""
            global(workDirectory="{folder}" {options})
            module(load="imtcp" {mode})
            template(name="t" type="string" string="%hostname%|%programname%|%procid%|%msg%\\n")
            ruleset(name="all") {{ action(type="omfile" file="{self.out}" template="t") }}
            input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="all")
        """)
        self.run()

    def run(self) -> None:
        """Start it, anew maybe."""
        self.start(["rsyslogd", "-n", "-f", str(self.folder / "conf"), "-i", str(self.folder / "pid")])

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait(PATIENCE)
        (self.folder / "pid").unlink(missing_ok=True)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
