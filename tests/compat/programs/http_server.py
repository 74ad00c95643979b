"""`python -m http.server`: the files of the current folder."""

import runpy
import sys
from http.server import ThreadingHTTPServer

import framework

assert framework.ThreadingMixIn in ThreadingHTTPServer.__mro__
assert framework.TCPServer in ThreadingHTTPServer.__mro__

if __name__ == "__main__":
    sys.argv = ["http.server", "0", "--bind", "127.0.0.1"]
    sys.modules.pop("http.server")
    runpy.run_module("http.server", run_name="__main__", alter_sys=True)
