"""The standard library's WSGI server with its demonstration application."""

from wsgiref.simple_server import WSGIServer, demo_app, make_server

import framework

assert framework.TCPServer in WSGIServer.__mro__

if __name__ == "__main__":
    with make_server("127.0.0.1", 0, demo_app) as server:
        print(f"127.0.0.1:{server.server_port}", flush=True)
        for _ in range(2):
            server.handle_request()
    print("ended")
