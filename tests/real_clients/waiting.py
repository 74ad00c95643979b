"""Waiting for what another program shows."""

import time
from collections.abc import Callable

PATIENCE = 20.0


def wait_for(look: Callable[[], str], wanted: str) -> str:
    """Look until ``wanted`` is there, and return what was seen.

    A program that draws on a terminal or writes to a file tells nobody when it is done, so this is the one
    place where the tests look, pause and look again.
    """
    deadline = time.monotonic() + PATIENCE
    while wanted not in (seen := look()):
        assert time.monotonic() < deadline, f"not seen within {PATIENCE:g} s: {wanted!r}, but:\n{seen}"
        time.sleep(0.02)
    return seen
