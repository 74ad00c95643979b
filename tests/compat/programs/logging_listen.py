"""The standard library's receiver of logging configurations, ended in order when stdin ends."""

import logging
import logging.config
import sys

import framework

# The receiver's class is made inside listen().
assert framework.ThreadingTCPServer in vars(logging.config).values()

if __name__ == "__main__":
    receiver = logging.config.listen(0)
    receiver.start()
    receiver.ready.wait()  # type: ignore[attr-defined]
    print(f"127.0.0.1:{receiver.port}", flush=True)  # type: ignore[attr-defined]
    sys.stdin.read()
    logging.getLogger().warning("as configured")
    logging.config.stopListening()
    receiver.join()
    print("ended")
