"""Run the benchmarks and print a table for each."""

import argparse
from collections.abc import Callable

from benchmarks import rates, shutdown
from benchmarks.load import TASKS
from benchmarks.report import Table

BENCHMARKS: dict[str, Callable[[int], Table]] = {
    "shutdown": shutdown.measure,
    **{name: lambda rounds, name=name: rates.measure(name, rounds) for name in TASKS},  # type: ignore[misc]
}


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS)
    )
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each peer (default: 7)")
    options = parser.parse_args()
    for name in options.only or BENCHMARKS:
        BENCHMARKS[name](options.rounds).show()


if __name__ == "__main__":
    main()
