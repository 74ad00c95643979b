"""irssi, driven as a person does: by keys, and by what the screen shows."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.real_clients.waiting import wait_for

# irssi holds back all but its first commands, for servers that punish haste; 2.2 s each would be a long test.
CONFIG = """
settings = {{
  core = {{ real_name = "{nick} of the tests"; user_name = "{nick}"; nick = "{nick}"; }};
  "irc/core" = {{ cmd_queue_speed = "10msec"; }};
}};
"""


class Terminals:
    """A tmux server of our own, at a socket in the test's folder, with one terminal per program."""

    def __init__(self, folder: Path) -> None:
        self._tmux = ("tmux", "-S", str(folder / "tmux"), "-f", "/dev/null")
        self._environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "HOME": str(folder)}

    def tmux(self, *arguments: str) -> str:
        """Run a command of tmux, and return its output."""
        done = subprocess.run(
            [*self._tmux, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        return done.stdout

    def close(self) -> None:
        """End tmux, and with it every program in it."""
        subprocess.run([*self._tmux, "kill-server"], env=self._environment, capture_output=True, check=False)


class Irssi:
    """One irssi in one terminal, connected to ``address`` if there is one."""

    def __init__(
        self, terminals: Terminals, folder: Path, address: tuple[str, int] | None, nick: str
    ) -> None:
        self._terminals = terminals
        self.nick = nick
        home = folder / nick
        home.mkdir()
        (home / "config").write_text(CONFIG.format(nick=nick))
        irssi = [shutil.which("irssi") or "irssi", "--home", str(home), "-n", nick]
        irssi += ["--noconnect"] if address is None else ["-c", address[0], "-p", str(address[1])]
        terminals.tmux("new-session", "-d", "-s", nick, "-x", "100", "-y", "40", *irssi)

    def type(self, line: str) -> None:
        """Type a line."""
        self._terminals.tmux("send-keys", "-t", self.nick, "-l", line)
        self._terminals.tmux("send-keys", "-t", self.nick, "Enter")

    def screen(self) -> str:
        """Return what the terminal shows."""
        return self._terminals.tmux("capture-pane", "-p", "-t", self.nick)

    def sees(self, wanted: str) -> None:
        """Wait until the terminal shows the text."""
        wait_for(self.screen, wanted)
