import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A server of nothing but the framework's loop, whose signals come from within: no waiting, no races.
PROGRAM = """
import os, signal, sys
from framework import BaseRequestHandler, TCPServer
from shared.run import run

class Server(TCPServer):
    def banner(self):
        return ""
    def serve_forever(self, poll_interval=None):
        {early}
        super().serve_forever(poll_interval)
    def server_close(self):
        {late}
        print("closed", flush=True)
        super().server_close()

run(Server(("127.0.0.1", 0), BaseRequestHandler))
"""


def ran(early: str, late: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(early=early, late=late)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_at_any_time(number: signal.Signals) -> None:
    """A signal before the loop has begun, another a moment later and a third during the goodbye: one clean end."""
    kill = f"os.kill(os.getpid(), {number.value})"
    done = ran(f"{kill}; {kill}", kill)
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")


def test_a_loop_that_fails_still_says_goodbye() -> None:
    """Whatever ends the loop, the server is closed, and the reason is not lost."""
    done = ran("raise ZeroDivisionError", "pass")
    assert done.stdout == "closed\n"
    assert done.stderr.endswith("ZeroDivisionError\n")
    assert done.returncode == 1
