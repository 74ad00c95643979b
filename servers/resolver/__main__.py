"""``python -m servers.resolver``: run the DNS server."""

import sys

from servers.resolver.server import program
from servers.resolver.settings import Settings
from shared.run import main

if __name__ == "__main__":
    sys.exit(main("resolver", Settings, program))
