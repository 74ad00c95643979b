"""The standard library's XML-RPC server; it ends when a client calls `end`."""

from typing import Any
from xmlrpc.server import SimpleXMLRPCServer

import framework

assert framework.TCPServer in SimpleXMLRPCServer.__mro__

if __name__ == "__main__":
    with SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False, allow_none=True) as server:
        server.register_introspection_functions()
        server.register_multicall_functions()

        def power(base: Any, exponent: Any) -> Any:
            """Compute something."""
            return base**exponent

        def end() -> None:
            """Stop the loop from inside, as programs do."""
            server._BaseServer__shutdown_request = True  # type: ignore[attr-defined]

        server.register_function(power)
        server.register_function(end)
        print(f"127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()
    print("ended")
