"""The key-value store as a process of its own, to be killed."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from framework.testing import PATIENCE

__all__ = ["program"]


@contextmanager
def program(socket: Path, *options: str, wrapper: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Run ``python -m servers.keyvalue`` from when it serves to the end of the block, at which it is killed."""
    command = [*wrapper, sys.executable, "-m", "servers.keyvalue", "--bind", f"unix://{socket}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "serving" in line:
                    break
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE)
