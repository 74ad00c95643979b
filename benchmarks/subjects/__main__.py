"""Serve until the process ends: ``python -m benchmarks.subjects SUBJECT KIND [PATH]``. The address goes to stdout."""

import resource
import sys
from typing import cast

from benchmarks.subjects import SUBJECTS
from benchmarks.subjects.job import Job, Kind


def main() -> None:
    """Do as the command line says."""
    name, kind, *path = sys.argv[1:]
    (subject,) = (subject for subject in SUBJECTS if subject.name == name)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    subject.load().serve(name, Job(cast("Kind", kind), *path))


if __name__ == "__main__":
    main()
