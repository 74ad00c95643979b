"""What is counted, and who watches."""

from __future__ import annotations

import threading
from collections import Counter

from framework.events import ConnectionClosed, HandlerFailed
from framework.observers import Observer


class Counts:
    """How often each word was said."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._words: Counter[str] = Counter()

    def add(self, word: str) -> int:
        with self._guard:
            self._words[word] += 1
            return self._words[word]


class Watch(Observer):
    """Keeps why connections ended."""

    def __init__(self) -> None:
        self.endings: list[str] = []
        self.failures: list[BaseException] = []

    def connection_closed(self, event: ConnectionClosed) -> None:
        self.endings.append(event.reason.value)

    def handler_failed(self, event: HandlerFailed) -> None:
        self.failures.append(event.error)
