import errno
import gzip
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from servers.syslog.formats import line_format
from servers.syslog.outputs.file import FileOutput, Sync
from servers.syslog.outputs.rotation import Rotation
from tests.servers.syslog.conftest import record


def output(path: Path, sync: Sync = Sync.NEVER, rotation: Rotation | None = None) -> FileOutput:
    """Open a file for messages alone."""
    return FileOutput(str(path), line_format("{message}", "here"), sync, rotation)


@contextmanager
def disk_of(octets: int) -> Iterator[None]:
    """Let no file grow beyond so many octets: write(2) then behaves as on a full disk, with EFBIG for ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("sync", list(Sync))
def test_lines(folder: Path, sync: Sync) -> None:
    """Each record is a line, after those that are there already; others cannot read them."""
    path = folder / "log"
    path.write_text("before\n")
    path.unlink()
    file = output(path, sync)
    file.write([record("one"), record("two\nlines")])
    file.write([record("three")])
    file.close()
    assert path.read_text() == "one\ntwo\\nlines\nthree\n"
    assert path.stat().st_mode & 0o777 == 0o640 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(("sync", "count"), [(Sync.NEVER, 0), (Sync.BATCH, 1), (Sync.ALWAYS, 3)])
def test_sync(folder: Path, sync: Sync, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is put on the disk never, once for all that came together, or for each record."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    file = output(folder / "log", sync)
    file.write([record("one"), record("two"), record("three")])
    assert len(synced) == count
    file.close()


def test_a_full_disk(folder: Path) -> None:
    """What there is room for is kept, in whole lines; the rest follows once there is room, and nothing twice."""
    path = folder / "log"
    file = output(path)
    with disk_of(1000):
        with pytest.raises(OSError, match="File too large") as caught:
            file.write([record(f"{number:099}") for number in range(20)])
        assert caught.value.errno == errno.EFBIG
        assert path.read_text() == "".join(f"{number:099}\n" for number in range(10))
    file.write(())
    assert path.read_text() == "".join(f"{number:099}\n" for number in range(20))
    file.close()


def test_a_full_disk_amid_a_line(folder: Path) -> None:
    """A line for which there is no room is left out as a whole, so that it can go into another file."""
    path = folder / "log"
    file = output(path)
    with disk_of(1050):
        with pytest.raises(OSError, match="No space left on device"):
            file.write([record(f"{number:099}") for number in range(12)])
        assert path.read_text() == "".join(f"{number:099}\n" for number in range(10))
        path.rename(folder / "old")
        file.reopen()
        file.write(())
    assert path.read_text() == f"{10:099}\n{11:099}\n"
    file.close()


def test_logrotate(folder: Path) -> None:
    """A renamed file is left as it is when the output is opened anew."""
    path = folder / "log"
    file = output(path)
    file.write([record("one")])
    path.rename(folder / "log.1")
    file.write([record("two")])
    file.reopen()
    file.write([record("three")])
    file.close()
    assert (folder / "log.1").read_text() == "one\ntwo\n"
    assert path.read_text() == "three\n"


def test_half_a_line(folder: Path) -> None:
    """A line that a dying machine left without its end is not mixed with the next."""
    path = folder / "log"
    path.write_text("whole\nhal")
    file = output(path)
    file.write([record("next")])
    file.close()
    assert path.read_text() == "whole\nhal\nnext\n"


class Clock:
    """Tells a time that moves on by a second with each look."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, 22, 58, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Tell it."""
        self.time += timedelta(seconds=1)
        return self.time


def old_files(folder: Path) -> list[str]:
    """Return the contents of all files but the one that is written, oldest first."""
    return [
        gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
        for path in sorted(folder.iterdir())
        if path.name != "log"
    ]


def test_rotation_by_size(folder: Path) -> None:
    """A file that would grow too large makes way for the next, is compressed, and so many are kept."""
    path = folder / "log"
    (folder / "log-notes").write_text("not of the rotation")
    file = output(path, rotation=Rotation(str(path), Clock(), size=20, count=3))
    for number in range(10):
        file.write([record(f"{number} {'x' * 10}")])
    file.close()
    assert path.read_text() == "9 xxxxxxxxxx\n"
    assert old_files(folder) == [*[f"{number} xxxxxxxxxx\n" for number in (6, 7, 8)], "not of the rotation"]
    assert sum(each.suffix == ".gz" for each in folder.iterdir()) == 3


def test_rotation_by_time(folder: Path) -> None:
    """A file has had enough when its hours are over; an empty one stays."""
    clock = Clock()
    path = folder / "log"
    file = output(path, rotation=Rotation(str(path), clock, hours=1))
    clock.time += timedelta(hours=1)
    file.write([record("first")])
    file.write([record("same hour")])
    clock.time += timedelta(hours=1)
    file.write([record("next")])
    file.close()
    assert old_files(folder) == ["first\nsame hour\n"]
    assert path.read_text() == "next\n"


def test_rotation_goes_on_where_it_was_killed(folder: Path) -> None:
    """What an earlier life of the program did not get to compress is compressed at the start."""
    path = folder / "log"
    left = folder / "log-20261122T152259.000001Z"
    left.write_text("old\n")
    (folder / f"{left.name}.part").write_bytes(b"half")
    Rotation(str(path), Clock(), size=1).close()
    assert [each.name for each in folder.iterdir()] == [f"{left.name}.gz"]
    assert old_files(folder) == ["old\n"]


def test_a_rotation_that_fails(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that cannot be renamed goes on to grow, which is said."""
    path = folder / "log"
    rotation = Rotation(str(path), Clock(), size=10)
    file = output(path, rotation=rotation)
    file.write([record("one" * 5)])
    path.unlink()
    file.write([record("two")])
    file.close()
    assert "cannot be rotated ([Errno 2] No such file or directory" in caplog.text


def test_standard_output(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A dash is standard output, which is never opened anew."""
    file = FileOutput("-", line_format("{message}", "here"), Sync.BATCH)
    file.write([record("one")])
    file.reopen()
    file.write([record("two")])
    file.close()
    assert capfd.readouterr().out == "one\ntwo\n"
