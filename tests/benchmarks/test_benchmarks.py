from __future__ import annotations

import dataclasses
import math
import os
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import endurance, load, rates, shutdown, usage
from benchmarks.report import Table
from benchmarks.server import FailedError, Server
from benchmarks.subjects import SUBJECTS, Subject
from benchmarks.subjects.lasting import READ_TIMEOUT
from benchmarks.targets import TARGETS, Target
from benchmarks.workloads import WORKLOADS, Workload

SECONDS = 0.02

needs_cc = pytest.mark.skipif(
    shutil.which("cc") is None, reason="the load is written in C, and there is no cc"
)


def small(workload: Workload) -> Workload:
    """The same with few connections."""
    return dataclasses.replace(workload, connections=min(workload.connections, 5), idle=min(workload.idle, 5))


def subject_for(name: str) -> str:
    """A subject that is always there."""
    return "service-inline" if WORKLOADS[name].kind in {"packet", "sink"} else "service-threads"


def measured(name: str, subject: str, workload: Workload) -> Table:
    """Measure for as short a time as shows anything: of a moment, a busy machine may give a process nothing."""
    seconds = SECONDS
    while (table := rates.measure(name, 1, seconds, [subject], workload)).notes and seconds < 1:
        seconds *= 4
    return table


@needs_cc
@pytest.mark.parametrize("name", WORKLOADS)
def test_workload(name: str) -> None:
    """Each workload is measured in all of its columns, and no operation fails."""
    subject = subject_for(name)
    table = measured(name, subject, small(WORKLOADS[name]))
    assert table.notes == {}
    (row,) = table.rows[subject]
    unmeasured = {"p50 ms", "p99 ms", "p99.9 ms"} if name == "unix-datagrams" else set()
    assert row.keys() == set(table.columns) - unmeasured
    assert row["CPU µs"] > 0
    assert row["ops/s"] > 0
    assert row.get("p50 ms", 0) <= row.get("p99 ms", 0) <= row.get("p99.9 ms", 0)


@needs_cc
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_subject(subject: Subject) -> None:
    """Each subject answers, or says what it lacks."""
    if reason := subject.missing():
        pytest.skip(reason)
    name = next(name for name, workload in WORKLOADS.items() if subject.can(workload.kind, workload.kept))
    table = measured(name, subject.name, WORKLOADS[name])
    assert table.notes == {}
    assert table.rows[subject.name][0]["ops/s"] > 0


def test_shutdown() -> None:
    """The time of a shutdown is measured for the framework and the original."""
    table = shutdown.measure(1, ["stdlib-inline", "service-threads"])
    assert table.median("stdlib-inline", "ms") > table.median("service-threads", "ms") > 0


@needs_cc
def test_server_fails() -> None:
    """A server that does not start is told with what it complained of."""
    with pytest.raises(FailedError, match="ended too early: KeyError"), Server("stdlib-threads", nonsense()):
        pass


@needs_cc
def test_failure_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cannot do the work gets a note instead of a row, and the others are measured."""
    monkeypatch.setattr(Subject, "can", lambda *_: True)
    table = rates.measure(
        "ping-pong-1", 1, SECONDS, ["service-threads", "batch"], small(WORKLOADS["ping-pong-1"])
    )
    assert len(table.rows["service-threads"]) == 1
    assert table.rows["batch"] == []
    assert table.notes["batch"].startswith("round 1 failed: ")


def nonsense() -> Workload:
    """A workload that nobody knows."""
    return dataclasses.replace(WORKLOADS["ping-pong-1"], kind="nonsense")  # type: ignore[arg-type]


def test_missing_peer() -> None:
    """A peer that is not installed is left out with the reason."""
    subject = Subject("nobody", "bare", ("lines",), needs="no_such_module")
    assert subject.missing() == "left out, as there is no module no_such_module"


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a C compiler one line says so, and what to do."""
    monkeypatch.setattr(load, "ROOT", tmp_path)
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "shutdown"])
    load.program.cache_clear()
    with pytest.raises(SystemExit) as raised:
        command.main()
    assert str(raised.value) == (
        "the load is written in C, and there is no no-such-compiler: apt-get install gcc libc6-dev"
    )


def test_usage() -> None:
    """The CPU time and the memory of a process are those that it sees itself."""
    times = os.times()
    assert usage.cpu(os.getpid()) == pytest.approx(sum(times[:4]), abs=0.1)
    assert usage.memory(os.getpid()) > 1000


def table() -> Table:
    """Two subjects, three rounds."""
    rows: dict[str, list[dict[str, float]]] = {
        "one": [{"CPU µs": cost} for cost in (1, 2, 9)],
        "other": [{"CPU µs": 4.0}] * 3,
    }
    return Table("ping-pong-50", "title", ("CPU µs", "ops/s"), rows, {"third": "left out"})


def test_medians() -> None:
    """Medians are taken over the rounds, of ratios within each round, and are NaN where nothing was measured."""
    assert table().median("one", "CPU µs") == 2
    assert table().median("one", "CPU µs", "other") == 0.5
    assert math.isnan(table().median("one", "ops/s"))
    assert math.isnan(table().median("third", "CPU µs"))


@pytest.mark.parametrize(
    ("markdown", "lines"),
    [
        (
            False,
            [
                "",
                "ping-pong-50: title",
                "       CPU µs   min  ops/s",
                "one      2.00  1.00      -",
                "other    4.00  4.00      -",
                "  third: left out",
            ],
        ),
        (
            True,
            [
                "",
                "### title (`ping-pong-50`)",
                "",
                "|       | CPU µs |  min | ops/s |",
                "| ----- | -----: | ---: | ----: |",
                "| one   |   2.00 | 1.00 |     - |",
                "| other |   4.00 | 4.00 |     - |",
                "",
                "third: left out",
            ],
        ),
    ],
    ids=["text", "markdown"],
)
def test_table(capsys: pytest.CaptureFixture[str], markdown: bool, lines: list[str]) -> None:
    """A table has the median of each column and the minimum of the first."""
    table().show(markdown=markdown)
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize(
    ("target", "value", "says"),
    [
        (Target("pipelined", "pool", 0.5, "bare"), 0.5, "yes"),
        (Target("pipelined", "pool", 0.5, "bare"), 0.51, "NO"),
        (Target("pipelined", "pool", 2, "bare", at_least=True), 2.1, "yes"),
        (Target("pipelined", "pool", 2, "bare", at_least=True), 1.9, "NO"),
        (Target("pipelined", "pool", 2, "bare"), math.nan, "not measured"),
    ],
)
def test_targets(target: Target, value: float, says: str) -> None:
    """A target is reached, missed or not measured."""
    assert target.reached(value) == says


def test_targets_are_measured() -> None:
    """Each target is about what there is: a workload, subjects that can do it, and a column."""
    subjects = {subject.name: subject for subject in SUBJECTS}
    for target in TARGETS:
        if target.workload == "shutdown":
            assert target.column == "ms"
            continue
        workload = WORKLOADS[target.workload]
        assert target.column in (rates.IDLE_COLUMNS if workload.idle else rates.COLUMNS)
        for name in filter(None, (target.subject, target.reference)):
            assert subjects[name].can(workload.kind, workload.kept), (target.workload, name)


@needs_cc
def test_endurance() -> None:
    """Idle, dribbling and ending are measured, and nobody who was accepted is left without an answer."""
    assert endurance.idle("pool", 20)["all answer s"] > 0
    assert endurance.end("service-threads", 2, 2, SECONDS)["lost"] == 0


@needs_cc
@pytest.mark.timeout(120)
def test_dribblers_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers that dribble are cut at their deadline, not before, while others are served."""
    monkeypatch.setattr(endurance, "DRIBBLE", 0.1)
    row = endurance.dribble("service-threads", 5, SECONDS)
    assert row["ops/s beside"] > 0
    assert row["first cut s"] >= READ_TIMEOUT
