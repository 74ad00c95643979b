"""WeeChat without a screen: commands go in by its FIFO, and what a person would see comes out by its logs."""

import shutil
import subprocess
from pathlib import Path

from tests.real_clients.waiting import wait_for


class WeeChat:
    """One WeeChat, connected and in a channel."""

    def __init__(self, folder: Path, address: tuple[str, int], nick: str, channel: str) -> None:
        self._folder = folder / nick
        host, port = address
        # The last argument is what the server's banner tells people to type.
        self._program = subprocess.Popen(
            [
                shutil.which("weechat-headless") or "weechat-headless",
                *("--dir", str(self._folder), "--no-script"),
                *("--run-command", "/set logger.file.flush_delay 0"),
                # It holds back commands, for servers that punish haste; 2 s each would be a long test.
                *("--run-command", "/set irc.server_default.anti_flood_prio_high 0"),
                *("--run-command", "/set irc.server_default.anti_flood_prio_low 0"),
                f"irc://{nick}@{host}:{port}/{channel}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._server = f"irc.server.{host}"
        self._channel = f"irc.{host}.{channel}"
        wait_for(lambda: " ".join(path.name for path in self._folder.glob("weechat_fifo_*")), "weechat_fifo_")

    def type(self, line: str) -> None:
        """Type a line into the channel's window."""
        (fifo,) = self._folder.glob("weechat_fifo_*")
        with fifo.open("w") as file:
            file.write(f"{self._channel} *{line}\n")

    def screen(self) -> str:
        """Return everything that the windows of the server and the channel have shown."""
        logs = (self._folder / "logs" / f"{name}.weechatlog" for name in (self._server, self._channel))
        return "".join(path.read_text() for path in logs if path.exists())

    def sees(self, wanted: str) -> None:
        """Wait until one of the windows has shown the text."""
        wait_for(self.screen, wanted)

    def wait(self) -> int:
        """Wait until it has ended, and return its exit status."""
        return self._program.wait(timeout=20)

    def close(self) -> None:
        """End it, if it has not ended yet."""
        self._program.kill()
        self._program.wait()
