"""Serve; or, as ``python -m tally check``, see that it would."""

from __future__ import annotations

import sys

from framework import serve

from tally.check import check
from tally.counts import Counts
from tally.servers import Tally, TallyDatagrams


def main() -> int:
    if sys.argv[1:] == ["check"]:
        check()
        return 0
    counts = Counts()
    return serve(Tally("tcp://127.0.0.1:7000", counts), TallyDatagrams("udp://127.0.0.1:7000", counts))


if __name__ == "__main__":
    sys.exit(main())
