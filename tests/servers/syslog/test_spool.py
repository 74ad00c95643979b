import errno
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servers.syslog.outputs.spool import Position, Spool

LIMIT = 1 << 20


def rest(spool: Spool, most: int = LIMIT) -> list[bytes]:
    """Return all that may not have arrived, read in pieces."""
    found: list[bytes] = []
    position = spool.acknowledged
    while True:
        frames, position = spool.read(position, most)
        if not frames:
            return found
        found += frames


def test_frames_outlive_the_program(folder: Path) -> None:
    """What was appended and not acknowledged is there in the next life, in order."""
    spool = Spool(folder, LIMIT)
    spool.append([b"one", b"two"])
    spool.append([b"three"])
    _, position = spool.read(spool.acknowledged, 1)
    spool.acknowledge(position)
    spool.close()
    spool = Spool(folder, LIMIT)
    assert rest(spool) == [b"two", b"three"]
    spool.append([b"four"])
    assert rest(spool, 1) == [b"two", b"three", b"four"]
    spool.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.lists(st.lists(st.binary(max_size=100), max_size=5), max_size=20),
    st.integers(1, 300),
    st.integers(0, 40),
)
def test_any_frames(folder: Path, batches: list[list[bytes]], most: int, arrived: int) -> None:
    """Whatever the frames are, over however many segments, they come back; what has arrived does not."""
    for path in folder.iterdir():
        path.unlink()
    spool = Spool(folder, LIMIT, segment=200)
    for batch in batches:
        spool.append(batch)
    expected = [frame for batch in batches for frame in batch]
    seen = 0
    position = spool.acknowledged
    while seen < min(arrived, len(expected)):
        frames, position = spool.read(position, 1)
        seen += len(frames)
    spool.acknowledge(position)
    assert rest(spool, most) == expected[seen:]
    spool.close()
    spool = Spool(folder, LIMIT, segment=200)
    assert rest(spool, most) == expected[seen:]
    spool.close()


def test_segments_that_have_arrived_are_removed(folder: Path) -> None:
    """The disk holds no more than what has not arrived, and a segment."""
    spool = Spool(folder, LIMIT, segment=1000)
    for _ in range(100):
        spool.append([b"x" * 500])
        spool.acknowledge(spool.read(spool.acknowledged, LIMIT)[1])
    assert len(list(folder.glob("*.segment"))) <= 2
    assert spool.size() <= 2000
    spool.close()


def test_a_limit(folder: Path) -> None:
    """Beyond its limit the spool takes nothing, until something has arrived."""
    spool = Spool(folder, 2500, segment=500)
    spool.append([b"x" * 900])
    spool.append([b"y" * 900])
    with pytest.raises(OSError, match="the spool has reached its limit") as caught:
        spool.append([b"z" * 900])
    assert caught.value.errno == errno.ENOSPC
    spool.append([b"small"])
    spool.acknowledge(Position(1, 0))
    spool.append([b"z" * 900])
    assert rest(spool) == [b"y" * 900, b"small", b"z" * 900]
    spool.close()


def test_a_torn_end(folder: Path) -> None:
    """A frame that the machine's end has torn is cut off, and what follows is whole."""
    spool = Spool(folder, LIMIT)
    spool.append([b"one", b"two"])
    spool.close()
    (path,) = folder.glob("*.segment")
    path.write_bytes(path.read_bytes()[:-1])
    spool = Spool(folder, LIMIT)
    spool.append([b"three"])
    assert rest(spool) == [b"one", b"three"]
    spool.close()


def test_a_damaged_segment(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A segment that is damaged in its midst costs its rest, which is said, and not the segments after it."""
    spool = Spool(folder, LIMIT, segment=1)
    for frame in (b"one", b"two", b"three"):
        spool.append([frame, frame.upper()])
    path = sorted(folder.glob("*.segment"))[1]
    data = bytearray(path.read_bytes())
    data[9] ^= 1
    path.write_bytes(data)
    assert rest(spool) == [b"one", b"ONE", b"three", b"THREE"]
    assert "damaged at octet 0: the rest of it is lost" in caplog.text
    spool.close()


def test_an_unreadable_acknowledgement(folder: Path) -> None:
    """If it cannot be told what has arrived, all is sent again."""
    spool = Spool(folder, LIMIT)
    spool.append([b"one"])
    spool.acknowledge(spool.read(spool.acknowledged, 1)[1])
    spool.close()
    (folder / "acknowledged").write_text("nonsense")
    spool = Spool(folder, LIMIT)
    assert rest(spool) == [b"one"]
    spool.close()


def test_a_spool_in_use(folder: Path) -> None:
    """A second program is kept out of a spool."""
    spool = Spool(folder, LIMIT)
    with pytest.raises(OSError, match="another program has this spool"):
        Spool(folder, LIMIT)
    spool.close()
    Spool(folder, LIMIT).close()
