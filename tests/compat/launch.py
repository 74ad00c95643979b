"""Runs a program on the framework, or on the original to compare with: `launch.py ours|original PROGRAM ...`.

Like `python PROGRAM ...`, or `python -m NAME ...` where PROGRAM is `-m`. The framework takes the original's place before
anything else is imported. Runs under any Python from 3.11 on, so it needs the standard library only.
"""

import runpy
import signal
import sys
from pathlib import Path


def take_place() -> None:
    """Put the framework where programs find `socketserver`."""
    root = str(Path(__file__).parents[2])
    sys.path.insert(0, root)
    import framework

    # The program must find nothing else of the checkout.
    sys.path.remove(root)
    sys.modules["socketserver"] = framework


def main() -> None:
    """Do as the command line says."""
    _, which, *arguments = sys.argv
    assert "socketserver" not in sys.modules
    # Whoever runs the tests in the background may have told its children to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if which == "ours":
        take_place()
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
