"""``python -m servers.keyvalue``: run the key-value store, or ``check`` its folder."""

import sys

from servers.keyvalue.maintenance import TASKS
from servers.keyvalue.server import program
from servers.keyvalue.settings import Settings
from shared.run import main

if __name__ == "__main__":
    task = TASKS.get(sys.argv[1]) if len(sys.argv) > 1 else None
    sys.exit(main("keyvalue", Settings, program) if task is None else task(sys.argv[2:]))
