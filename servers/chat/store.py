"""What lasts: accounts, registered channels and what was said there, in SQLite.

Rules:

1. To write is to append to a queue; nobody who holds a lock waits for a disk. One thread takes all there is at a
   time, writes it in one transaction, and syncs once (group commit).
2. Whoever told a client that something is stored has waited for that transaction (``wait()``). With a journal of its
   own (WAL) and ``synchronous=FULL`` it is there after a kill -9, and after a power cut.
3. One process at a time: a second one is refused.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from servers.chat.channel import LISTS, Channel, Entry, Topic
from servers.chat.protocol import ACCOUNT, TAGS, TIME, fold, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers.chat.protocol import Message

__all__ = ["Store", "StoreTakenError"]

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (folded TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS channels (folded TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (number INTEGER PRIMARY KEY, folded TEXT NOT NULL, line BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS history_of ON history (folded, number);
"""
_TRIM = """
DELETE FROM history WHERE folded = ?1 AND number <= (
    SELECT number FROM history WHERE folded = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)
"""
_MANY = 1000
"""Writes of one transaction at most, so that whoever waits for the first does not wait for a flood."""

_MOST = 100_000
"""Writes that wait for a disk that is full; what comes then is lost, and nobody was told otherwise."""


class StoreTakenError(OSError):
    """Another process has it."""


class Store:
    """The database, and the thread that writes it.

    Args:
        folder: where it is, or is to be.

    Raises:
        OSError: it cannot be opened; ``StoreTakenError``: another process has it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                folder / "chat.sqlite", timeout=1, isolation_level=None, check_same_thread=False
            )
            # Before the journal: then WAL needs no shared memory, and nobody else gets in.
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
                self._database.execute(f"PRAGMA {pragma}")
            self._database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            self.secret = self._load_secret()
        except sqlite3.Error as error:
            taken = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            raise (StoreTakenError if taken else OSError)(f"{folder}: {error}") from error
        self._news = threading.Condition()
        self._queue: list[tuple[str, tuple[object, ...]]] = []
        self._taken = 0
        self._done = 0
        self._failed: OSError | None = None
        self._closing = False
        self._stored_channels = {
            folded for (folded,) in self._database.execute("SELECT folded FROM channels")
        }
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def _load_secret(self) -> bytes:
        self._database.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_bytes(32),))
        ((value,),) = self._database.execute("SELECT value FROM meta WHERE name = 'secret'")
        return bytes(value)

    # -- reading, at the start -----------------------------------------------------------------------------------

    def accounts(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield each account: what all spellings of its name have in common, its name, its password's hash."""
        for folded, name, hashed in self._database.execute("SELECT folded, name, hash FROM accounts"):
            yield folded, (name, hashed)

    def channels(self, length: int) -> Iterator[Channel]:
        """Yield each registered channel, with up to ``length`` of its messages."""
        for folded, state in self._database.execute("SELECT folded, state FROM channels").fetchall():
            channel = _channel(json.loads(state), length)
            lines = self._database.execute(
                "SELECT line FROM history WHERE folded = ? ORDER BY number DESC LIMIT ?", (folded, length)
            ).fetchall()
            for (line,) in reversed(lines):
                channel.history.append(parse(line.rstrip(b"\r\n")))
            yield channel

    # -- writing: these append, and return what to wait for ------------------------------------------------------

    def add_account(self, folded: str, name: str, hashed: str) -> int:
        """Add an account."""
        return self._write("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?)", folded, name, hashed)

    def save_channel(self, channel: Channel) -> int:
        """Add or replace a registered channel, or remove one that is so no more, with what was said there.

        Returns:
            0 where there is nothing to wait for.
        """
        folded = fold(channel.name)
        if channel.founder:
            self._stored_channels.add(folded)
            state = json.dumps(_state(channel))
            return self._write("INSERT OR REPLACE INTO channels VALUES (?, ?)", folded, state)
        if folded not in self._stored_channels:
            return 0
        self._stored_channels.discard(folded)
        self._write("DELETE FROM channels WHERE folded = ?", folded)
        return self._write("DELETE FROM history WHERE folded = ?", folded)

    def add_message(self, channel: Channel, message: Message) -> int:
        """Add a message to a channel's history."""
        folded = fold(channel.name)
        number = self._write(
            "INSERT INTO history (folded, line) VALUES (?, ?)", folded, message.encode(TIME | TAGS | ACCOUNT)
        )
        if channel.length and number % channel.length == 0:
            self._write(_TRIM, folded, channel.length)
        return number

    def _write(self, statement: str, *params: object) -> int:
        with self._news:
            if self._failed is not None and len(self._queue) >= _MOST:
                return self._taken + 1  # for which nobody can wait: the disk has been full for long
            self._queue.append((statement, params))
            self._taken += 1
            self._news.notify_all()
            return self._taken

    def has(self, number: int) -> bool:
        """Tell whether everything up to ``number`` is stored."""
        return self._done >= number

    def wait(self, number: int) -> None:
        """Wait until everything up to ``number`` is stored.

        Raises:
            OSError: it could not be.
        """
        with self._news:
            self._news.wait_for(lambda: self._done >= number or self._failed is not None)
            if self._done < number and self._failed is not None:
                raise self._failed

    def close(self) -> None:
        """Write what is left, and close."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join()
        self._database.close()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                batch, self._queue = self._queue[:_MANY], self._queue[_MANY:]
            failed = self._commit(batch)
            with self._news:
                self._failed = failed
                if failed is None:
                    self._done += len(batch)
                else:
                    # In their order, or a message could be there without those before it.
                    self._queue[:0] = batch
                self._news.notify_all()
                if failed is not None and not self._closing:
                    self._news.wait_for(lambda: self._closing, timeout=1)
                elif failed is not None:
                    return

    def _commit(self, batch: list[tuple[str, tuple[object, ...]]]) -> OSError | None:
        try:
            self._database.execute("BEGIN")
            for statement, params in batch:
                self._database.execute(statement, params)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._failed is None:  # the edge, once
                _log.exception("cannot store; clients that wait for it are told, and it is tried again")
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            return OSError(str(error))
        if self._failed is not None:
            _log.warning("storing again")
        return None


def _state(channel: Channel) -> dict[str, object]:
    return {
        "name": channel.name,
        "created": channel.created,
        "founder": channel.founder,
        "topic": channel.topic,
        "flags": sorted(channel.flags),
        "key": channel.key,
        "limit": channel.limit,
        "lists": channel.lists,
    }


def _channel(state: dict[str, Any], length: int) -> Channel:
    """Return the channel of a ``_state()``: JSON, which has no types but is written by nobody else."""
    channel = Channel(state["name"], state["created"], length)
    channel.founder = state["founder"]
    channel.topic = Topic(*state["topic"]) if state["topic"] else None
    channel.flags = set(state["flags"])
    channel.key = state["key"]
    channel.limit = state["limit"]
    for mode in LISTS:
        channel.lists[mode] = {mask: Entry(*entry) for mask, entry in state["lists"].get(mode, {}).items()}
    return channel
