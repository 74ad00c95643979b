"""``python -m servers.syslog``: run the log sink; ``python -m servers.syslog query``: ask what its database holds."""

import sys

from servers.syslog import query
from servers.syslog.server import program
from servers.syslog.settings import Settings
from shared.run import main

if __name__ == "__main__":
    if sys.argv[1:2] == ["query"]:
        sys.exit(query.main(sys.argv[2:]))
    sys.exit(main("syslog", Settings, program))
