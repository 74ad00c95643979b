"""What a process and its children have used, as the kernel counts it."""

import os
import time
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
# Of a thread, on x86-64 and arm64 (THREAD_SIZE in the kernel's sources).
_KERNEL_STACK = 16


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process and its children, those that have ended included."""
    ended = sum(int(ticks) for ticks in _stat(pid)[15:17]) * _TICK
    return ended + sum(_clock(each) for each in _tree(pid))


def memory(pid: int) -> float:
    """Return the KiB that a process and its children occupy, in user space and in the kernel.

    In user space what is shared is divided among those who share it (``Pss`` in proc(5)). In the kernel it is an
    estimate: page tables and thread stacks. The sockets themselves are left out: they cost every server the same.
    """
    total = 0
    for each in _tree(pid):
        folder = Path(f"/proc/{each}")
        fields = {}
        for line in ((folder / "smaps_rollup").read_text() + (folder / "status").read_text()).splitlines():
            key, _, value = line.partition(":")
            fields[key] = value.split()
        total += int(fields["Pss"][0]) + int(fields["VmPTE"][0]) + _KERNEL_STACK * int(fields["Threads"][0])
    return total


def _clock(pid: int) -> float:
    # The CPU clock of any process has this number: clock_getcpuclockid(3) computes it so, and Python has it for
    # threads only. /proc/PID/stat counts in hundredths of a second, which is too coarse.
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0  # it has ended meanwhile


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat, each at its number in proc(5) minus one; the first two are left empty."""
    return ["", "", *Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()]


def _tree(pid: int) -> list[int]:
    """Return the process and its children's, all the way down."""
    found = [pid]
    for each in found:
        try:
            for children in Path(f"/proc/{each}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        except OSError:
            continue  # it has ended meanwhile
    return found
