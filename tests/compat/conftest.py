import socketserver
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

import framework

Same: TypeAlias = Callable[[Callable[[Any], object]], Any]


@pytest.fixture
def same() -> Same:
    """Plays a scenario on the original and on the framework, and returns what both came to."""

    def play(scenario: Callable[[Any], object]) -> object:
        original, ours = scenario(socketserver), scenario(framework)
        assert ours == original
        return ours

    return play
