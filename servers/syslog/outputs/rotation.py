"""``Rotation``: when a file has had enough, and what becomes of it then.

``name`` becomes ``name-20261122T152259.000001Z`` by one rename(2), and ``name-20261122T152259.000001Z.gz`` in the
background. Names sort by age, so nothing is ever renamed twice. A program that died in between does the rest when it is
started again.
"""

from __future__ import annotations

import gzip
import logging
import re
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Rotation"]

_log = logging.getLogger(__name__)

_STAMP = re.compile(r"-[0-9]{8}T[0-9]{6}\.[0-9]{6}Z(\.gz)?")


class Rotation:
    """Rotates one file.

    Args:
        path: of the file.
        now: tells the time, with a zone; a day begins when it does there.
        size: octets at which a file has had enough; 0: any number.
        hours: hours after which it has, counted from midnight; 0: never.
        count: files kept beside the one that is written; the oldest are removed.
    """

    def __init__(
        self, path: str, now: Callable[[], datetime], *, size: int = 0, hours: int = 0, count: int = 10
    ) -> None:
        self._path = Path(path)
        self._now = now
        self._size = size
        self._hours = hours
        self._count = count
        began = (
            datetime.fromtimestamp(self._path.stat().st_mtime, now().tzinfo) if self._path.exists() else now()
        )
        self._period = self._period_of(began) if hours else (0, 0)
        self._tidier: threading.Thread | None = None
        self._tidy()

    def due(self, size: int, more: int) -> bool:
        """Tell whether a file of ``size`` octets is to be rotated before ``more`` are written."""
        period = self._period_of(self._now()) if self._hours else self._period
        if not size:
            self._period = period
            return False
        return period != self._period or (self._size > 0 and size + more > self._size)

    def rotate(self) -> None:
        """Rename the file, and see to the old ones in the background.

        Raises:
            OSError: it cannot be renamed.
        """
        now = self._now()
        self._path.rename(f"{self._path}-{now.astimezone(UTC):%Y%m%dT%H%M%S.%f}Z")
        self._tidy()

    def close(self) -> None:
        """Wait until the old files are seen to."""
        if self._tidier is not None:
            self._tidier.join()

    def _period_of(self, now: datetime) -> tuple[int, int]:
        return now.toordinal(), now.hour // self._hours

    def _tidy(self) -> None:
        before = self._tidier
        self._tidier = threading.Thread(
            target=self._compress, args=(before,), name=f"rotating {self._path}", daemon=True
        )
        self._tidier.start()

    def _compress(self, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        try:
            old = sorted(each for each in self._path.parent.iterdir() if self._is_old(each))
            for each in old[: max(0, len(old) - self._count)]:
                each.unlink()
            for each in old[max(0, len(old) - self._count) :]:
                if each.suffix != ".gz":
                    self._compress_one(each)
        except OSError as error:
            _log.error("%s: old files cannot be seen to (%s)", self._path, error)

    def _is_old(self, path: Path) -> bool:
        name = self._path.name
        return path.name.startswith(name) and _STAMP.fullmatch(path.name, len(name)) is not None

    def _compress_one(self, path: Path) -> None:
        # Under a name that is no old file's until it is complete.
        part = path.with_name(f"{path.name}.part")
        with path.open("rb") as plain, gzip.open(part, "wb") as packed:
            shutil.copyfileobj(plain, packed)
        shutil.copystat(path, part)
        part.rename(f"{path}.gz")
        path.unlink()
