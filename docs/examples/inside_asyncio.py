"""A server inside an asyncio program: the event loop watches, threads run the blocking handlers."""

import asyncio
import contextlib

from framework import StreamRequestHandler, ThreadingTCPServer


class Upper(StreamRequestHandler):
    """A handler that may block: it runs in a thread."""

    def handle(self) -> None:
        """Answer each line until the client has no more."""
        for line in self.rfile:
            self.wfile.write(line.upper())


class UpperServer(ThreadingTCPServer):
    """Its threads end with the program."""

    daemon_threads = True


async def main() -> None:
    """Accept when the listener is readable, beside whatever else the program does."""
    with UpperServer(("127.0.0.1", 0), Upper) as server:
        asyncio.get_running_loop().add_reader(server, server.handle_request)
        print(f"try: nc 127.0.0.1 {server.server_address[1]}", flush=True)
        await asyncio.Event().wait()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
