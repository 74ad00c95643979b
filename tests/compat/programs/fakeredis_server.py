"""fakeredis' TCP server, ended in order when stdin ends."""

import sys
import threading

from fakeredis import TcpFakeServer

import framework

assert framework.ThreadingMixIn in TcpFakeServer.__mro__

if __name__ == "__main__":
    server = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    print(f"127.0.0.1:{server.server_address[1]}", flush=True)
    sys.stdin.read()
    server.shutdown()
    server.server_close()
    thread.join()
    print("ended")
