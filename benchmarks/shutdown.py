"""How long shutdown() of an idle server takes."""

import importlib
import threading
import time
from typing import Any

from benchmarks.peers import LETTER
from benchmarks.report import Table


def measure(rounds: int) -> Table:
    """Shut a server of each peer down, at moments spread evenly over the original's poll interval."""
    table = Table("shutdown of an idle server", ("ms",))
    for number in range(rounds):
        for peer in LETTER:
            table.add(peer, 1000 * once(importlib.import_module(peer), 0.5 * (number + 0.5) / rounds))
    return table


def once(module: Any, idle: float) -> float:
    """Return the seconds that it took after that many seconds of idling."""
    with module.ThreadingTCPServer(("127.0.0.1", 0), module.BaseRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        time.sleep(idle)
        begin = time.perf_counter()
        server.shutdown()
        seconds = time.perf_counter() - begin
        thread.join()
    return seconds
