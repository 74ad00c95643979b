"""What holds for all tests."""

import signal

# A shell that runs the tests in the background has them, and so every program they start, ignore Ctrl-C; only a
# disposition of "ignore" survives execve(2), so whatever is set here gives those programs their default back.
signal.signal(signal.SIGINT, signal.default_int_handler)
