"""A client of a few lines, for the tests: it waits by reading, and never for longer than its socket's timeout."""

import socket
from types import TracebackType
from typing import Self


class Irc:
    """One connection to the server; with a nick it registers at once."""

    def __init__(
        self, address: tuple[str, int], nick: str = "", *, receive_buffer: int | None = None
    ) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.socket.settimeout(20)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(address)
        self._file = self.socket.makefile("rb")
        self.nick = nick
        if nick:
            self.send(f"NICK {nick}", f"USER {nick} 0 * :{nick} the tester")
            self.until(" 422 ", " 376 ")

    def send(self, *lines: str) -> None:
        """Send lines."""
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape"))

    def line(self) -> str:
        """Return the next line, or an empty string at the end of the connection."""
        return self._file.readline().decode("utf-8", "surrogateescape").removesuffix("\r\n")

    def until(self, *wanted: str) -> list[str]:
        """Return the lines up to the first that contains one of the wanted texts."""
        lines: list[str] = []
        while True:
            line = self.line()
            assert line, f"the server closed the connection instead of sending {wanted}: {lines}"
            lines.append(line)
            if any(text in line for text in wanted):
                return lines

    def expect(self, *wanted: str) -> str:
        """Return the first line that contains one of the wanted texts, and forget those before it."""
        return self.until(*wanted)[-1]

    def ask(self, *lines: str) -> list[str]:
        """Send lines and return everything that has come by the time the server has obeyed them."""
        self.send(*lines, "PING :that is all")
        return self.until("PONG irc.localhost :that is all")[:-1]

    def rest(self) -> list[str]:
        """Return the lines up to the end of the connection."""
        lines: list[str] = []
        while line := self.line():
            lines.append(line)
        return lines

    def close(self) -> None:
        """Close the connection without a word."""
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
