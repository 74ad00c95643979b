"""prometheus_client's exposition of metrics, ended in order when stdin ends."""

import sys

from prometheus_client import Counter, start_http_server
from prometheus_client.exposition import ThreadingWSGIServer

import framework

assert framework.ThreadingMixIn in ThreadingWSGIServer.__mro__

if __name__ == "__main__":
    Counter("requests", "Counted.").inc(3)
    server, thread = start_http_server(0, "127.0.0.1")
    print(f"127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()
    server.shutdown()
    server.server_close()
    thread.join()
    print("ended")
