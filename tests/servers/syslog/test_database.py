import json
import sqlite3
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.syslog import query
from servers.syslog.outputs.database import DatabaseOutput, record_of
from servers.syslog.protocol import parse
from servers.syslog.record import Peer, Record
from tests.servers.syslog.conftest import NOW
from tests.servers.syslog.test_protocol import MUTATED, RECORDS

SAID = [
    parse(octets, Peer(1, uid, uid), NOW + timedelta(minutes=minutes))
    for minutes, uid, octets in [
        (0, 0, b"<13>cron: job one began"),
        (1, 0, b"<11>cron: job one \x1b[31m failed"),
        (2, 7, b"<12>sshd: Failed password for root"),
        (3, 7, b"<10>sshd: fire"),
        (4, 7, b'<15>1 2026-11-22T15:34:00Z h app 1 m [a b="c"] gr\xfc\xdf'),
    ]
]


@pytest.fixture
def database(folder: Path) -> Path:
    """A database in which something is."""
    path = folder / "db"
    output = DatabaseOutput(str(path), safe=False)
    output.write(SAID)
    output.close()
    return path


def test_what_was_written_since(database: Path) -> None:
    """A new process finds how much the one before it had written from some place on."""
    output = DatabaseOutput(str(database), safe=False)
    place = output.place()
    output.write(SAID[:3])
    output.close()
    output = DatabaseOutput(str(database), safe=False)
    assert (output.since(place), output.since(output.place())) == (3, 0)
    output.close()


def ask(database: Path, capfd: pytest.CaptureFixture[str], *options: str) -> list[str]:
    """Return what the command prints."""
    capfd.readouterr()
    query.main([str(database), "--format", "{message}", *options])
    return capfd.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ([], [0, 1, 2, 3, 4]),
        (["--program", "cron"], [0, 1]),
        (["--program", "cron", "--program", "app"], [0, 1, 4]),
        (["--severity", "err"], [1, 3]),
        (["--uid", "7"], [2, 3, 4]),
        (["--since", "2026-11-22T15:32:00+00:00"], [2, 3, 4]),
        (["--until", "2026-11-22T15:32:00+00:00"], [0, 1]),
        (["--text", "failed"], [1, 2]),
        (["--text", "failed NOT root"], [1]),
        (["--text", '"job one"'], [0, 1]),
        (["--text", "job-one"], [0, 1]),
        (["--text", "fail*"], [1, 2]),
        (["--text", 'password: for "root'], [2]),
        (["--last", "2"], [3, 4]),
        (["--severity", "warning", "--program", "sshd", "--text", "fire"], [3]),
    ],
)
def test_questions(
    database: Path, capfd: pytest.CaptureFixture[str], options: list[str], numbers: list[int]
) -> None:
    """Each condition narrows what is found, which comes in the order in which it was said, escaped."""
    texts = ["job one began", r"job one \x1b[31m failed", "Failed password for root", "fire", r"gr\xfc\xdf"]
    assert ask(database, capfd, *options) == [texts[number] for number in numbers]


def test_json(database: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As JSON, everything is there."""
    assert query.main([str(database), "--json", "--last", "1"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["structured_data"], found["pid"], found["octets"]) == ({"a": {"b": "c"}}, 1, "Z3L83w==")


def test_colours(database: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What is severe is coloured if that is asked for; the message itself can colour nothing."""
    assert ask(database, capfd, "--colour", "always", "--program", "cron") == [
        "job one began",
        "\x1b[31mjob one \\x1b[31m failed\x1b[m",
    ]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--since", "yesterday"], "'yesterday' is no time: write 2026-11-22T15:30 or 90m"),
        (["--severity", "bad"], "invalid choice: 'bad'"),
        (["--format", "{bad}"], "no template"),
    ],
)
def test_wrong_questions(
    database: Path, capfd: pytest.CaptureFixture[str], options: list[str], complaint: str
) -> None:
    """What cannot be asked is refused in a line that says what can."""
    try:
        assert query.main([str(database), *options]) == 2
    except SystemExit as end:
        print(end, flush=True)
    assert complaint in "".join(capfd.readouterr())


def test_no_database(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where there is no database none is made, and finding nothing is told by the status."""
    assert query.main([str(folder / "none")]) == 2
    assert "unable to open database file" in capfd.readouterr().err
    assert list(folder.iterdir()) == []


def test_nothing_found(database: Path) -> None:
    """Finding nothing is told by the status."""
    assert query.main([str(database), "--program", "nobody"]) == 1


def test_following(database: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What is written while somebody follows is shown."""
    output = DatabaseOutput(str(database), safe=False)
    steps = [SAID[2:3], [], SAID[:1]]

    def sleep(_: float) -> None:
        if not steps:
            raise KeyboardInterrupt
        output.write(steps.pop())

    assert query.main([str(database), "--format", "{message}", "--last", "1", "--follow"], sleep) == 130
    assert capfd.readouterr().out.splitlines() == [r"gr\xfc\xdf", "job one began", "Failed password for root"]
    output.close()


@pytest.fixture(scope="module")
def rows() -> Iterator[DatabaseOutput]:
    """A database in memory."""
    output = DatabaseOutput(":memory:", safe=False)
    yield output
    output.close()


@given(RECORDS | st.builds(lambda octets: parse(octets, Peer(address="h"), NOW), st.binary() | MUTATED))
def test_everything_comes_back(rows: DatabaseOutput, record: Record) -> None:
    """Whatever a record says, the database gives it back as it was."""
    rows.write([record])
    row = rows._connection.execute("SELECT * FROM records ORDER BY id DESC LIMIT 1").fetchone()
    assert record_of(row) == record


def test_old_records_are_forgotten(folder: Path) -> None:
    """What is older than is to be kept goes as new records come, also from the index."""
    output = DatabaseOutput(str(folder / "db"), safe=False, keep=1)
    output.write(SAID[:3])
    later = [record._replace(received=NOW + timedelta(days=2), timestamp=None) for record in SAID[3:]]
    output.write(later)
    found = output._connection.execute("SELECT message FROM records").fetchall()
    assert len(found) == 2
    assert output._connection.execute("SELECT rowid FROM texts WHERE texts MATCH 'failed'").fetchall() == []
    output.close()


def test_a_database_in_use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program writes, the records wait, and are then written once."""
    monkeypatch.setattr("servers.syslog.outputs.database._PATIENCE", 0.01)
    path = folder / "db"
    output = DatabaseOutput(str(path), safe=True)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OSError, match="database is locked"):
        output.write(SAID[:1])
    other.execute("ROLLBACK")
    output.write(SAID[1:2])
    assert other.execute("SELECT count(*) FROM records").fetchone() == (2,)
    other.close()
    output.close()


def test_what_is_no_database(folder: Path) -> None:
    """A file that is something else is left alone."""
    path = folder / "db"
    path.write_bytes(b"something else" * 100)
    with pytest.raises(OSError, match="file is not a database"):
        DatabaseOutput(str(path), safe=False)
    assert path.read_bytes() == b"something else" * 100


def test_a_reader_sees_whole_batches(folder: Path) -> None:
    """Somebody who reads while it is written sees each batch as a whole or not at all."""
    path = folder / "db"
    output = DatabaseOutput(str(path), safe=False)

    def fill() -> None:
        for _ in range(50):
            output.write(SAID)

    writing = threading.Thread(target=fill)
    reader = sqlite3.connect(path)
    writing.start()
    counts = [reader.execute("SELECT count(*) FROM records").fetchone()[0] for _ in range(50)]
    writing.join()
    reader.close()
    output.close()
    assert {count % len(SAID) for count in counts} == {0}
