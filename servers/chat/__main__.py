"""``python -m servers.chat``: run the chat server."""

import sys

from servers.chat.server import program
from servers.chat.settings import Settings
from shared.run import main

if __name__ == "__main__":
    sys.exit(main("chat", Settings, program))
