"""Werkzeug's development server, with a thread or a process for each request: `threaded` or `processes`."""

import os
import sys
import threading

from werkzeug import Request, Response
from werkzeug.serving import ForkingWSGIServer, ThreadedWSGIServer, run_simple

import framework

assert framework.ThreadingMixIn in ThreadedWSGIServer.__mro__
assert framework.ForkingMixIn in ForkingWSGIServer.__mro__

MAIN = os.getpid()


@Request.application
def application(request: Request) -> Response:
    """Say what was asked for, and where it is answered."""
    thread = threading.current_thread() is not threading.main_thread()
    return Response(f"{request.method} {request.path} thread {thread} process {os.getpid() != MAIN}")


if __name__ == "__main__":
    if sys.argv[1] == "threaded":
        run_simple("127.0.0.1", 0, application, threaded=True)
    else:
        run_simple("127.0.0.1", 0, application, processes=2)
