"""Measure, and print a table for each workload."""

import argparse
import os
import sys

from benchmarks import load, rates, shutdown, targets
from benchmarks.server import CORES
from benchmarks.subjects import SUBJECTS
from benchmarks.workloads import WORKLOADS


def main() -> None:
    """Do as the command line says."""
    names = [*WORKLOADS, "shutdown"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--subject",
        action="append",
        choices=[subject.name for subject in SUBJECTS],
        metavar="NAME",
        help=", ".join(subject.name for subject in SUBJECTS),
    )
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each subject (default: 5)")
    parser.add_argument("--seconds", type=float, default=1, help="of each measurement (default: 1)")
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown")
    options = parser.parse_args()
    try:
        load.program()
    except load.NoCompilerError as error:
        sys.exit(str(error))
    busy = f"{os.getloadavg()[0]:.1f}"
    print(
        f"CPython {sys.version.split()[0]}, Linux {os.uname().release}, {len(CORES)} cores, {options.rounds} rounds of "
        f"{options.seconds:g} s"
    )
    tables = {}
    for name in options.only or names:
        if name == "shutdown":
            tables[name] = shutdown.measure(options.rounds, options.subject)
        else:
            tables[name] = rates.measure(name, options.rounds, options.seconds, options.subject)
        tables[name].show(markdown=options.markdown)
    targets.show(tables, markdown=options.markdown)
    # Two of it are ours: the server and its clients.
    print(f"\nLoad average: {busy} before the run, {os.getloadavg()[0]:.1f} at its end")


if __name__ == "__main__":
    main()
